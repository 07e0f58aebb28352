"""Faults of a camera and its driver, sent over DDS by another process."""

import functools
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from depthformer_core.bags.image_messages import MAX_PIXELS
from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import camera_info_of

from .robots import depth_of


def is_good(image: Any) -> bool:
    return bool(np.isfinite(depth_of(image)).all())


def test_a_camera_that_stops_and_starts_again(robot: Any) -> None:
    robot.prediction(robot.image())
    robot.runs()
    before = robot.process.log
    robot.unplug()
    try:
        status = robot.diagnosed(lambda status: "input stale" in status.message)
        assert status.level == DiagnosticStatus.ERROR
    finally:
        robot.plug()
    assert is_good(robot.prediction(robot.image()))
    robot.runs()
    log = robot.process.log[len(before) :]
    assert "no image on " in log
    assert "images come on " in log


def mono16(robot: Any, *, bigendian: bool) -> Any:
    image = robot.image()
    # Nowhere black: there is no depth of that at an image's border.
    samples = 256 + np.arange(64 * 96).reshape(64, 96) * 10
    image.encoding, image.step, image.is_bigendian = "mono16", 2 * 96, int(bigendian)
    image.data = samples.astype(">u2" if bigendian else "<u2").tobytes()
    return image


def bayer(robot: Any) -> Any:
    image = robot.image()
    image.encoding, image.step = "bayer_rggb8", 96
    image.data = bytes([90]) * (64 * 96)
    return image


def padded(robot: Any) -> Any:
    image = robot.image()
    rows = np.frombuffer(image.data, np.uint8).reshape(64, -1)
    image.step = rows.shape[1] + 7
    image.data = np.pad(rows, ((0, 0), (0, 7))).tobytes()
    return image


def test_everything_changes_in_mid_stream(robot: Any) -> None:
    makers: tuple[Callable[[], Any], ...] = (
        lambda: robot.image(80, 60),
        lambda: mono16(robot, bigendian=True),
        lambda: robot.image(131, 47),
        lambda: bayer(robot),
        lambda: mono16(robot, bigendian=False),
        lambda: padded(robot),
        lambda: robot.image(),
    )
    for make in makers:
        image = make()
        depth = robot.prediction(image)
        assert (depth.height, depth.width) == (image.height, image.width)
        assert is_good(depth)
    for camera in (Camera(96, 64, 160.0, 161.0, 40.0, 30.0), Camera(96, 64, 80.0, 81.0, 47.0, 33)):
        robot.calibrate(camera_info_of(camera, Header(frame_id="eye")))
        image = robot.image()
        robot.prediction(image)
        made = robot.partner(image, robot.infos)
        assert (made.p[0], made.p[2]) == (camera.fx, camera.cx)
        assert robot.partner(image, robot.clouds).width == 96


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"step": 5}, "step", id="short step"),
        pytest.param({"step": 0}, "step", id="no step"),
        pytest.param({"step": 2**32 - 1}, "data", id="huge step"),
        pytest.param({"data": bytes(100)}, "data", id="short data"),
        pytest.param({"data": bytes(64 * 96 * 3 + 1)}, "data", id="long data"),
        pytest.param({"data": b""}, "data", id="no data"),
        pytest.param({"height": 0}, "height", id="no rows"),
        pytest.param({"width": 0}, "width", id="no columns"),
        pytest.param({"width": 2**32 - 1, "height": 2**32 - 1}, "width", id="huge"),
        pytest.param({"encoding": "nonsense"}, "encoding", id="unknown encoding"),
        pytest.param({"encoding": "32FC1"}, "encoding", id="depth encoding"),
        pytest.param({"encoding": "x\n" * 10**5}, "encoding", id="endless encoding"),
        pytest.param(
            {"encoding": "mono16", "is_bigendian": 7, "step": 288}, "is_bigendian", id="byte order"
        ),
    ],
)
def test_a_malformed_image_is_rejected_by_field(
    robot: Any, fields: dict[str, Any], field: str
) -> None:
    bad = robot.image()
    for name, value in fields.items():
        setattr(bad, name, value)
    status = robot.provoke(bad, f"rejected: {field}")
    assert status.level == DiagnosticStatus.ERROR
    assert f"input rejected: {field} " in status.message
    assert len(status.message) < 1000
    assert is_good(robot.prediction(robot.image()))
    robot.runs()


def test_bytes_that_are_no_message(robot: Any) -> None:
    wire = serialize_message(robot.image())
    for cut in (10, len(wire) // 2):
        robot.provoke(robot.image(), "rejected: message", wire=wire[:cut])
    assert is_good(robot.prediction(robot.image()))


@pytest.mark.slow
def test_the_log_names_the_field_now_and_then(robot: Any) -> None:
    bad = robot.image()
    bad.step = 5
    rejected, lines = robot.count("rejected"), robot.process.log.count("image rejected: ")
    for _ in range(5):
        for _ in range(20):
            robot.send(bad)
        robot.provoke(bad, "rejected: step")
    assert "image rejected: step 5 is less than " in robot.process.log
    # One a frame would bury everything else.
    new_lines = robot.process.log.count("image rejected: ") - lines
    assert new_lines < robot.count("rejected") - rejected
    robot.prediction(robot.image())


PICTURE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PNG, JPEG = (bytes(cv2.imencode(kind, PICTURE)[1]) for kind in (".png", ".jpg"))
FRAME = JPEG.index(b"\xff\xc0")


def compressed(robot: Any, data: bytes) -> Any:
    image = CompressedImage(format="jpeg", data=data)
    robot.stamp(image)
    return image


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        pytest.param(b"", "data", "neither JPEG nor PNG", id="nothing"),
        pytest.param(b"GIF89a" + bytes(99), "data", "neither JPEG nor PNG", id="gif"),
        pytest.param(JPEG[:400], "data", "cut off", id="truncated jpeg"),
        pytest.param(PNG[:400], "data", "cut off", id="truncated png"),
        pytest.param(JPEG[:2] + bytes(99), "data", "no frame header", id="fake jpeg"),
        pytest.param(PNG[:8] + bytes(99), "data", "no header", id="fake png"),
        pytest.param(PNG[:33] + bytes(20) + PNG[-12:], "data", "damaged", id="damaged png"),
        pytest.param(
            PNG[:16] + struct.pack(">II", 60000, 60000) + PNG[24:],
            "width",
            str(MAX_PIXELS),
            id="png bomb",
        ),
        pytest.param(
            JPEG[: FRAME + 5] + b"\xff\xff\xff\xff" + JPEG[FRAME + 9 :],
            "width",
            str(MAX_PIXELS),
            id="jpeg bomb",
        ),
    ],
)
def test_a_bad_jpeg_or_png_is_rejected(
    compressed_robot: Any, data: bytes, field: str, reason: str
) -> None:
    robot = compressed_robot
    status = robot.provoke(compressed(robot, data), f"rejected: {field}")
    assert reason in status.message
    for good in (PNG, JPEG):
        assert is_good(robot.prediction(compressed(robot, good)))


@pytest.fixture
def rectifying(robot: Any) -> Iterator[Any]:
    """The robot, its images to be rectified: then a calibration needs to be whole."""
    assert robot.set(input__rectify="always").successful
    yield robot
    assert robot.set(input__rectify="never").successful


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"k": [math.nan] * 9}, "k has a value that is not finite", id="nan"),
        pytest.param({"k": [0.0] * 9}, "focal length k[0]", id="zero"),
        pytest.param({"k": [-1.0] * 9}, "focal length k[0]", id="negative"),
        pytest.param({"p": [math.inf] * 12}, "p has a value that is not finite", id="p"),
        pytest.param({"d": [0.1] * 1000}, "d of 1000 terms has 0.1 at 5", id="too many terms"),
        pytest.param({"d": [math.nan] * 5}, "d has a value that is not finite", id="nan terms"),
        pytest.param({"r": [3.0] * 9}, "r is no rotation", id="no rotation"),
        pytest.param({"distortion_model": "fish" * 99}, "distortion_model", id="unknown model"),
        pytest.param(
            {"distortion_model": "equidistant", "d": [0.1] * 8}, "d of 8 terms", id="fisheye"
        ),
    ],
)
def test_a_bad_calibration_costs_the_cloud(
    rectifying: Any, wait_until: Callable[..., Any], fields: dict[str, Any], text: str
) -> None:
    robot = rectifying
    info = camera_info_of(Camera(96, 64, 80.0, 81.0, 47.0, 33.0), Header(frame_id="eye"))
    good_info = camera_info_of(Camera(96, 64, 80.0, 81.0, 47.0, 33.0), Header(frame_id="eye"))
    for name, value in fields.items():
        setattr(info, name, value)

    def noticed() -> Any:
        robot.send_info(info)
        return next((s for s in robot.statuses(0.5) if text in s.message), None)

    status = wait_until(noticed, f"diagnostics with {text!r}")
    assert "camera_info is unusable" in status.message
    image = robot.image()
    assert is_good(robot.prediction(image))
    robot.calibrate(good_info)
    good = robot.image()
    robot.prediction(good)
    robot.partner(good, robot.clouds)
    stamps = [item.header.stamp for item in [*robot.infos, *robot.clouds]]
    assert image.header.stamp not in stamps


STAMPS = {
    "zero": [(0, 0)],
    "before zero": [(-(2**31), 0)],
    "backwards": [(1000, 5), (999, 5), (10, 5)],
    "far future": [(2**31 - 1, 999_999_999)],
    "no nanoseconds": [(7, 2**32 - 1)],
    "bag in a loop": [(100, 0), (101, 0), (102, 0), (100, 0), (101, 0), (102, 0)],
    "standing still": [(50, 1), (50, 1), (50, 1)],
}


@pytest.mark.parametrize("stamps", STAMPS.values(), ids=STAMPS)
def test_predictions_keep_any_stamp_of_the_image(robot: Any, stamps: list[tuple[int, int]]) -> None:
    for seconds, nanoseconds in stamps:
        robot.forget()
        image = robot.image()
        image.header.stamp.sec, image.header.stamp.nanosec = seconds, nanoseconds
        assert is_good(robot.prediction(image))
        for received in (robot.infos, robot.clouds, robot.colours):
            assert robot.partner(image, received).header == image.header
    robot.runs()


@pytest.mark.slow
def test_the_time_of_a_simulation_jumps(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray
    from rosgraph_msgs.msg import Clock

    robot = start_robot(use_sim_time=True, input__crop="none")
    name = f"{robot.namespace}/depthformer: depth"
    robot.process.wait_for_log("waiting for images")
    clock = robot.peer.node.create_publisher(Clock, "/clock", 10)
    arrays = robot.peer.subscribe(DiagnosticArray, "/diagnostics")

    def published(seconds: int) -> bool:
        """Send the time, and an image, until the diagnostics carry it."""
        clock.publish(Clock(clock=Time(sec=seconds)))
        assert is_good(robot.prediction(robot.image()))
        if seconds < 0:
            return "callback failed: " in robot.process.log
        own = [array for array in arrays if array.status[0].name == name]
        return any(array.header.stamp.sec == seconds for array in own)

    # Forward, back as when a bag starts anew, to the start, and to what is no time at all.
    for seconds in (1000, 2000, 10, 0, -5, 3000):
        del arrays[:]
        wait_until(functools.partial(published, seconds), f"time {seconds}")
    assert robot.process.running
    assert robot.process.stop() == 0
