import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depthformer_core.camera import Camera
from depthformer_ros.conversions import camera_info_of
from depthformer_ros.latest_calibration import LatestCalibration

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
