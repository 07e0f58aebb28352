"""Cameras that are mounted upside down or sideways, or see the robot itself; over DDS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from std_msgs.msg import Header

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.rotate import rotate_image
from depthformer_ros.messages.conversions import camera_info_of, rgb_to_image

from .robots import calibrated, depth_of, points_of

pytestmark = pytest.mark.slow

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
USED = np.ones((64, 96), np.bool_)
USED[40:, :30] = False


@pytest.fixture(scope="module")
def mounted(start_shared_robot: Callable[..., Any]) -> Iterator[Any]:
    robot = start_shared_robot(input__crop="none", points__edge_filter=0.0)
    robot.process.wait_for_log("waiting for images")
    yield robot
    robot.close()


def write_mask(path: Path, used: Any = USED) -> str:
    path.write_bytes(cv2.imencode(".png", np.where(used, np.uint8(255), np.uint8(0)))[1].tobytes())
    return str(path)


def test_depth_is_that_of_the_upright_camera_in_the_cameras_own_pixels(mounted: Any) -> None:
    mounted.calibrate(calibrated())
    image = mounted.image()
    upright = depth_of(mounted.prediction(image))
    rgb = image_to_rgb(image)
    for degrees in (90, 180, 270):
        mounted.reload(input__rotate=degrees)
        camera = CAMERA.rotated(-degrees)
        mounted.calibrate(camera_info_of(camera, Header(frame_id="eye")))
        turned = rgb_to_image(rotate_image(rgb, -degrees), Header())
        mounted.stamp(turned)
        depth = mounted.prediction(turned)
        np.testing.assert_array_equal(rotate_image(depth_of(depth), degrees), upright)
        # Intrinsics and frame are those of the image as it came.
        info = mounted.partner(turned, mounted.infos)
        assert (info.width, info.height) == (depth.width, depth.height)
        assert calibration_from_info(info).camera == camera
        cloud = mounted.partner(turned, mounted.clouds)
        assert cloud.header == turned.header
        points = camera.unproject(depth_of(depth))
        np.testing.assert_allclose(points_of(cloud)[..., :3], points, rtol=1e-5)
    refused = mounted.set(input__rotate=45)
    assert not refused.successful
    assert "input.rotate must be one of 0, 90, 180, 270, got 45" in refused.reason
    assert "unconfigured" in mounted.set(input__rotate=0).reason
    mounted.reload(input__rotate=0)


def test_there_is_no_depth_of_the_robot_itself(mounted: Any, tmp_path: Path) -> None:
    mounted.calibrate(calibrated())
    image = mounted.image()
    whole = depth_of(mounted.prediction(image))
    far = float(np.median(whole))
    mounted.reload(input__mask=write_mask(tmp_path / "mask.png"))
    mounted.calibrate(calibrated())
    assert mounted.set(points__clearing=True, depth__max=far).successful
    mounted.stamp(image)
    depth = depth_of(mounted.prediction(image))
    cloud = points_of(mounted.partner(image, mounted.clouds))
    np.testing.assert_array_equal(np.isnan(depth), ~USED)
    np.testing.assert_array_equal(depth[USED & (whole <= far)], whole[USED & (whole <= far)])
    # No point there, which would clear what a LiDAR sees, and no preview.
    np.testing.assert_array_equal(np.isnan(cloud[..., 2]), ~USED)
    preview = image_to_rgb(mounted.partner(image, mounted.colours))
    assert not preview[~USED].any()

    # The mask is of the image as the camera sends it.
    info = calibrated()
    info.d, info.k[2] = [-0.2, 0.05, 0.0, 0.0, 0.0], 44.0
    mounted.calibrate(info)
    mounted.stamp(image)
    depth = depth_of(mounted.prediction(image))
    hidden = ~calibration_from_info(info).rectify_mask(USED)
    assert (hidden != ~USED).any()
    assert np.isnan(depth[hidden]).all()
    assert not np.isnan(depth[~hidden]).any()
    assert mounted.set(points__clearing=False, depth__max=0.0).successful

    # Images of another size are rejected, and say why.
    other = mounted.image(64, 64)
    status = mounted.provoke(other, "rejected: input.mask")
    reason = "input rejected: input.mask is 96x64, images are 64x64"
    assert reason in status.message or mounted.diagnosed(lambda s: reason in s.message)
    mounted.stamp(image)
    mounted.prediction(image)
    mounted.diagnosed(lambda s: "input running" in s.message)

    mounted.reload(input__mask="")
    mounted.stamp(image)
    assert np.isfinite(depth_of(mounted.prediction(image))).mean() > 0.9


def test_a_bad_mask_leaves_the_node_unconfigured(mounted: Any, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.png"
    garbage.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    nowhere = tmp_path / "nowhere.png"
    assert mounted.change("deactivate")
    assert mounted.change("cleanup")
    for path, text in ((garbage, f"mask {garbage} is"), (nowhere, f"no mask at {nowhere}")):
        assert mounted.set(input__mask=str(path)).successful
        assert not mounted.change("configure")
        assert mounted.state == "unconfigured"
        assert f"configure failed: {text}" in mounted.process.log
        mounted.diagnosed(lambda s, text=text: f"configure failed: {text}" in s.message)
    assert "Traceback" not in mounted.process.log
    assert mounted.set(input__mask=write_mask(tmp_path / "mask.png")).successful
    assert mounted.change("configure")
    assert mounted.change("activate")
    assert np.isnan(depth_of(mounted.prediction(mounted.image()))).any()
