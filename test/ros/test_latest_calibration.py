import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import camera_info_of
from depthformer_ros.node.latest_calibration import LatestCalibration

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
GOOD = camera_info_of(CAMERA, Header())


def test_before_any_there_is_none() -> None:
    calibration = LatestCalibration()
    assert calibration.of_image(height=64, width=96) is None
    assert calibration.camera is None
    assert calibration.problems == ["no camera_info yet: no cloud"]
    assert str(calibration) == "no camera_info yet: no cloud"


def test_a_good_one_holds_for_images_of_its_size() -> None:
    calibration = LatestCalibration()
    assert calibration.update(GOOD) == ""
    found = calibration.of_image(height=64, width=96)
    assert found is not None
    assert found.camera == CAMERA == calibration.camera
    assert calibration.problems == []
    assert str(calibration) == "96x64, fx 80.00 fy 81.00 cx 47.00 cy 33.00"

    assert calibration.of_image(height=96, width=64) is None
    assert calibration.size_problem == "images are 64x96, camera_info is for 96x64"
    assert calibration.problems == [calibration.size_problem]
    calibration.restart()
    assert calibration.problems == []


def test_a_bad_one_is_news_once_and_takes_the_place_of_a_good_one() -> None:
    calibration = LatestCalibration()
    calibration.update(GOOD)
    news = calibration.update(CameraInfo(width=96, height=64))
    assert news.startswith("camera_info is unusable: focal length k[0]")
    assert calibration.update(CameraInfo(width=96, height=64)) == ""
    assert calibration.of_image(height=64, width=96) is None
    assert calibration.problems == [news]
    assert calibration.update(GOOD) == ""
    assert calibration.of_image(height=64, width=96) is not None


def lens(model: str, terms: list[float]) -> CameraInfo:
    info = camera_info_of(CAMERA, Header())
    info.distortion_model, info.d = model, terms
    return info


def test_images_that_are_rectified_need_no_lens() -> None:
    calibration = LatestCalibration()
    rectifies = False
    calibration.follow(lambda: rectifies, claimed=lambda: False)
    assert calibration.update(lens("mei", [0.1])) == ""
    assert calibration.problems == []
    assert calibration.camera == CAMERA
    found = calibration.of_image(height=64, width=96)
    assert found is not None
    assert found.is_rectified
    assert str(calibration).startswith("96x64, fx 80.00")

    # The same message, once the images are to be rectified.
    rectifies = True
    assert calibration.of_image(height=64, width=96) is None
    assert calibration.camera is None
    (problem,) = calibration.problems
    assert problem.startswith("camera_info is unusable: distortion_model 'mei' is not supported")
    assert str(calibration) == problem
    rectifies = False
    assert calibration.problems == []


def test_what_images_are_rectified_with_is_known_of_rectified_ones() -> None:
    calibration = LatestCalibration()
    calibration.update(lens("equidistant", [0.1, 0.0, 0.0, 0.0]))
    raw = calibration.of_image(height=64, width=96)
    assert raw is not None
    assert not raw.is_rectified
    calibration.follow(lambda: False, claimed=lambda: False)
    rectified = calibration.of_image(height=64, width=96)
    assert rectified is not None
    assert rectified.is_rectified
    assert rectified.source == raw


def test_black_borders_of_rectification_are_reported() -> None:
    calibration = LatestCalibration()
    info = camera_info_of(CAMERA, Header())
    info.k[0] = info.k[4] = 120.0
    calibration.update(info)
    # Before an image it is unknown whether there is one of that size.
    assert calibration.problems == []
    found = calibration.of_image(height=64, width=96)
    assert found is not None
    share = 1 - np.mean(found.seen)
    assert calibration.unseen_problem == (
        f"rectifying leaves {share:.0%} of the image black: if the images are rectified already, "
        "set input.rectify to never"
    )
    assert calibration.problems == [calibration.unseen_problem]
    calibration.follow(lambda: False, claimed=lambda: False)
    assert calibration.of_image(height=64, width=96) is not None
    assert calibration.problems == []

    calibration.follow(lambda: True, claimed=lambda: False)
    assert calibration.of_image(height=64, width=96) is not None
    assert calibration.of_image(height=96, width=64) is None
    assert calibration.problems == [calibration.size_problem]
    assert calibration.of_image(height=64, width=96) is not None
    calibration.restart()
    assert calibration.problems == []


def test_a_little_black_is_nothing_to_tell() -> None:
    calibration = LatestCalibration()
    info = camera_info_of(CAMERA, Header())
    info.k[0] = info.k[4] = 82.0
    calibration.update(info)
    found = calibration.of_image(height=64, width=96)
    assert found is not None
    assert 0 < found.unseen_share < 0.1
    assert calibration.problems == []


@pytest.mark.parametrize("terms", [[-0.3, 0.1, 0.0, 0.0, 0.0], [0.0] * 5])
def test_a_lens_that_distorts_beside_images_that_pass_for_rectified(terms: list[float]) -> None:
    calibration = LatestCalibration()
    calibration.update(lens("plumb_bob", terms))
    claimed = False
    calibration.follow(lambda: False, claimed=lambda: claimed)
    assert calibration.problems == []
    claimed = True
    problems = calibration.problems
    assert bool(problems) == any(terms)
    assert all("set input.rectify to auto" in problem for problem in problems)


def test_a_reader_sees_one_state_while_another_thread_changes_it() -> None:
    calibration = LatestCalibration()
    calibration.update(GOOD)
    calibration.of_image(height=96, width=64)
    before = calibration.problems
    assert before

    def change() -> bool:
        """Change the state in the middle of a read, as another thread may."""
        calibration.follow(lambda: True, claimed=lambda: False)
        calibration.update(CameraInfo(width=96, height=64))
        calibration.restart()
        return True

    calibration.follow(change, claimed=lambda: False)
    during = calibration.problems
    after = calibration.problems
    assert during in (before, after)
    assert before != after


def test_an_update_during_an_image_is_kept() -> None:
    calibration = LatestCalibration()

    def change() -> bool:
        calibration.follow(lambda: True, claimed=lambda: False)
        calibration.update(GOOD)
        return True

    calibration.follow(change, claimed=lambda: False)
    calibration.of_image(height=64, width=96)
    assert calibration.camera == CAMERA
