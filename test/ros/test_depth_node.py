import signal
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.device import resolve_precision
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.flying_pixels import flying_pixels
from depthformer_ros.messages.conversions import camera_info_of

from .robots import depth_of, points_of

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)


def offsets(cloud: Any, info: Any, *, stride: int = 1) -> Any:
    """Distances of points from the pixels they came from, pixels."""
    points = points_of(cloud)[..., :3].astype(float)
    valid = np.isfinite(points[..., 2])
    landed = calibration_from_info(info).camera.project(points[valid])
    rows, columns = np.nonzero(valid)
    return np.abs(landed - stride * np.stack((columns, rows), axis=-1))


def test_an_image_becomes_depth_and_cloud(robot: Any) -> None:
    image = robot.image()
    depth = robot.prediction(image)
    info = robot.partner(image, robot.infos)
    cloud = robot.partner(image, robot.clouds)
    colour = robot.partner(image, robot.colours)

    for message in (depth, info, cloud, colour):
        assert message.header == image.header
        assert (message.height, message.width) == (64, 96)
    assert calibration_from_info(info).camera == CAMERA
    metres = depth_of(depth)
    assert np.isfinite(metres).all()
    assert metres.min() > 0
    np.testing.assert_array_equal(points_of(cloud)[..., 2], metres)
    assert offsets(cloud, info).max() < 0.5
    packed = points_of(cloud)[..., 3].copy().view(np.uint32)
    np.testing.assert_array_equal(packed >> 16 & 255, image_to_rgb(image)[..., 0])
    assert image_to_rgb(colour).std() > 0
    assert robot.spreads == []


def test_stride_thins_the_cloud(robot: Any) -> None:
    assert robot.set(points__stride=5).successful
    try:
        image = robot.image()
        robot.prediction(image)
        cloud = robot.partner(image, robot.clouds)
    finally:
        assert robot.set(points__stride=1).successful
    assert (cloud.height, cloud.width) == (13, 20)
    assert offsets(cloud, robot.partner(image, robot.infos), stride=5).max() < 0.5


def test_millimetres(robot: Any) -> None:
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    assert robot.set(depth__encoding="16UC1").successful
    try:
        robot.stamp(image)
        depth = robot.prediction(image)
    finally:
        assert robot.set(depth__encoding="32FC1").successful
    assert depth.encoding == "16UC1"
    values = np.frombuffer(depth.data, np.uint16).reshape(64, 96)
    np.testing.assert_allclose(values, np.where(metres > 65.535, 0, 1000 * metres), atol=1.01)


def test_depth_beyond_the_limit_is_infinite(robot: Any) -> None:
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    limit = float(np.median(metres))
    assert robot.set(depth__max=limit).successful
    try:
        robot.stamp(image)
        depth = depth_of(robot.prediction(image))
        cloud = points_of(robot.partner(image, robot.clouds))
    finally:
        assert robot.set(depth__max=0.0).successful
    np.testing.assert_array_equal(np.isposinf(depth), metres > limit)
    assert np.isinf(depth).any()
    np.testing.assert_array_equal(np.isnan(cloud[..., 2]), np.isinf(depth))


def test_depth_below_the_limit_is_negative_infinity(robot: Any) -> None:
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    limit = float(np.median(metres))
    assert not robot.set(depth__min=limit, depth__max=limit).successful
    assert robot.set(depth__min=limit).successful
    try:
        robot.stamp(image)
        depth = depth_of(robot.prediction(image))
        cloud = points_of(robot.partner(image, robot.clouds))
        assert robot.set(depth__encoding="16UC1").successful
        robot.stamp(image)
        millimetres = np.frombuffer(robot.prediction(image).data, np.uint16).reshape(64, 96)
    finally:
        assert robot.set(depth__min=0.0, depth__encoding="32FC1").successful
    near = metres < limit
    assert near.any()
    np.testing.assert_array_equal(np.isneginf(depth), near)
    np.testing.assert_array_equal(depth[~near], metres[~near])
    np.testing.assert_array_equal(np.isnan(cloud[..., 2]), near)
    assert not millimetres[near].any()


def test_points_between_two_surfaces_are_left_out_of_the_cloud(robot: Any) -> None:
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    jumps = np.abs(np.diff(np.log(metres)))
    jump = float(np.median(jumps))
    flying = flying_pixels(metres, jump=jump)
    assert 0.1 < flying.mean() < 1
    assert robot.set(points__edge_filter=jump, points__stride=2).successful
    try:
        robot.stamp(image)
        np.testing.assert_array_equal(depth_of(robot.prediction(image)), metres)
        cloud = points_of(robot.partner(image, robot.clouds))
    finally:
        assert robot.set(points__edge_filter=0.0, points__stride=1).successful
    expected = np.where(flying, np.nan, metres)[::2, ::2]
    np.testing.assert_array_equal(cloud[..., 2], expected)
    np.testing.assert_array_equal(np.isnan(cloud[..., 0]), np.isnan(expected))


def test_a_region_of_interest_moves_the_intrinsics(robot: Any) -> None:
    info = camera_info_of(Camera(400, 300, 160.0, 160.0, 200.0, 150.0), robot.image().header)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 80, 192, 128
    info.binning_x = info.binning_y = 2
    robot.calibrate(info)
    image = robot.image(96, 64)
    robot.prediction(image)
    published = calibration_from_info(robot.partner(image, robot.infos)).camera
    assert published == Camera(96, 64, 80.0, 80.0, 50.0, 35.0)


def test_an_image_of_another_size_gets_depth_alone(robot: Any) -> None:
    image = robot.image(80, 60)
    assert robot.prediction(image).width == 80
    status = robot.diagnosed(lambda status: "images are 80x60" in status.message)
    assert status.level == DiagnosticStatus.WARN
    good = robot.image()
    robot.prediction(good)
    robot.partner(good, robot.clouds)
    stamps = [item.header.stamp for item in [*robot.infos, *robot.clouds]]
    assert image.header.stamp not in stamps


def test_an_unusable_calibration_costs_the_cloud(robot: Any) -> None:
    info = camera_info_of(CAMERA, robot.image().header)
    info.k, info.p = [0.0] * 9, [0.0] * 12
    robot.send_info(info)
    robot.diagnosed(lambda status: "focal length k[0]" in status.message)
    image = robot.image()
    assert np.isfinite(depth_of(robot.prediction(image))).all()
    assert image.header.stamp not in [item.header.stamp for item in robot.infos]


def test_a_bad_image_is_reported_and_the_next_one_predicted(robot: Any) -> None:
    bad = robot.image()
    bad.step = 5
    robot.prediction(robot.image())
    robot.send(bad)
    status = robot.diagnosed(lambda status: "rejected" in status.message)
    assert "step 5" in status.message
    assert status.level == DiagnosticStatus.ERROR
    assert "image rejected: step 5" in robot.process.log
    robot.runs()


def test_diagnostics(robot: Any) -> None:
    status = robot.runs()
    # Random weights are nothing to rely on.
    assert status.level == DiagnosticStatus.WARN
    assert "untrained" in status.message
    values = {item.key: item.value for item in status.values}
    assert (values["device"], values["precision"], values["checkpoint"]) == (
        "cpu",
        resolve_precision("auto", torch.device("cpu")),
        "debug",
    )
    assert values["attention"].startswith("portable: ")
    assert int(values["answered"]) > 0
    for stage in ("receive", "convert", "fit", "infer", "publish", "total"):
        p50, p95, p99 = (float(values[f"{stage} p{share} (ms)"]) for share in (50, 95, 99))
        assert 0 < p50 <= p95 <= p99
    assert float(values["total p99 (ms)"]) >= float(values["infer p50 (ms)"])
    stale = robot.diagnosed(lambda status: status.level == DiagnosticStatus.ERROR)
    assert "input stale" in stale.message
    robot.prediction(robot.image())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"points__stride": 0}, "points.stride", id="range"),
        pytest.param({"points__stride": "two"}, "", id="type"),
        pytest.param({"depth__encoding": "8UC1"}, "depth.encoding", id="choice"),
        pytest.param({"checkpoint": "small"}, "unconfigured", id="model"),
        pytest.param({"autostart": False}, "autostart", id="read only"),
        pytest.param({"unknown": 1}, "undeclared", id="unknown"),
        pytest.param({"depth__encoding": "16UC1", "points__stride": 99}, "points.stride", id="all"),
    ],
)
def test_bad_parameters_are_refused_whole(robot: Any, values: dict[str, Any], reason: str) -> None:
    result = robot.set(**values)
    assert not result.successful
    assert reason in result.reason
    assert robot.prediction(robot.image()).encoding == "32FC1"


def test_pause_and_resume(robot: Any) -> None:
    def is_paused(status: Any) -> bool:
        return bool(status.message.startswith("paused"))

    robot.prediction(robot.image())
    response = robot.enable(False)
    try:
        assert (response.success, response.message) == (True, "paused")
        robot.diagnosed(is_paused)
        image = robot.image()
        robot.provoke(image, "dropped: paused")
    finally:
        assert robot.enable(True).message == "enabled"
    robot.prediction(robot.image())
    assert image.header.stamp not in [item.header.stamp for item in robot.depths]


def test_impossible_transitions_are_refused(robot: Any) -> None:
    assert not robot.change("configure")
    assert not robot.change("activate")
    assert not robot.change("cleanup")
    assert robot.state == "active"
    robot.prediction(robot.image())


@pytest.mark.slow
def test_a_supervisor_drives_it(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    robot = start_robot(autostart=False, checkpoint="/no/such.safetensors")
    assert robot.state == "unconfigured"
    assert not robot.change("activate")
    assert not robot.change("configure")
    assert robot.state == "unconfigured"
    assert "configure failed: no checkpoint at /no/such.safetensors" in robot.process.log
    failed = robot.diagnosed(lambda status: "configure failed" in status.message)
    assert failed.level == DiagnosticStatus.ERROR

    assert robot.set(checkpoint="debug", flip=True).successful
    assert robot.change("configure")
    assert robot.state == "inactive"
    assert robot.change("activate")
    # Without camera_info there is only depth, and the reason.
    image = robot.image(1242, 375)
    depth = depth_of(robot.prediction(image))
    robot.diagnosed(lambda status: "no camera_info" in status.message)
    assert robot.infos == robot.clouds == []
    # The preset is trained on KITTI's crop.
    expected = np.zeros((375, 1242), bool)
    expected[23:, 13:1229] = True
    np.testing.assert_array_equal(np.isfinite(depth), expected)
    spread = depth_of(robot.partner(image, robot.spreads))
    np.testing.assert_array_equal(np.isfinite(spread), expected)
    assert np.nanmin(spread) >= 0

    robot.reload(image_transport="compressed", input__crop="none", flip=False)
    jpeg = CompressedImage(format="jpeg")
    jpeg.data.frombytes(bytes(cv2.imencode(".jpg", np.full((64, 96, 3), 90, np.uint8))[1]))
    robot.stamp(jpeg)
    assert np.isfinite(depth_of(robot.prediction(jpeg))).all()

    assert robot.change("deactivate")
    assert robot.change("cleanup")
    assert robot.state == "unconfigured"
    topics = [f"{robot.namespace}/{name}" for name in ("depth/image_rect", "points")]
    wait_until(
        lambda: not any(map(robot.peer.node.count_publishers, topics)), "end of the publishers"
    )
    assert robot.process.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_a_bad_parameter_at_the_start_is_one_clear_line(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(points__stride=0)
    assert robot.process.wait() == 1
    assert "points.stride" in robot.process.log
    assert "Traceback" not in robot.process.log
