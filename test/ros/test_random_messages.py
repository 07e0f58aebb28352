"""Random malformed messages; docs/reliability.md shows how to send ten thousand."""

import os
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

MESSAGES = int(os.environ.get("RANDOM_MESSAGES", "200"))
EXAMPLES = max(1, MESSAGES // 4)
EACH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # What a node makes of a message depends on those before it.
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + MESSAGES)]

# Seconds for a node to read a message before the next one takes its place.
LEAD = 0.01

uint32 = st.integers(0, 12) | st.integers(0, 2**32 - 1)
numbers = st.floats(width=64) | st.sampled_from([0.0, -1.0, 1e-300, 1e300, 80.0])
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)
encodings = texts | st.sampled_from(
    ["mono8", "mono16", "rgb8", "bgr16", "bgra8", "bayer_rggb8", "yuv422", "8UC3", "32FC1", ""]
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    header = Header(frame_id=draw(texts))
    header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    header.stamp.nanosec = draw(st.integers(0, 2**32 - 1))
    return header


@st.composite
def images(draw: st.DrawFn) -> Image:
    image = Image(header=draw(headers()), encoding=draw(encodings))
    image.height, image.width, image.step = draw(uint32), draw(uint32), draw(uint32)
    image.is_bigendian = draw(st.integers(0, 255))
    fitting = min(image.step * image.height, 10_000)
    image.data = bytes(draw(st.just(fitting) | st.integers(0, 2000)))
    return image


PICTURE = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
FILES = [bytes(cv2.imencode(kind, PICTURE)[1]) for kind in (".png", ".jpg")]


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    start = draw(st.sampled_from([b"", *FILES]))
    place = draw(st.integers(0, len(start)))
    inserted = draw(st.binary(max_size=40))
    data = start[:place] + inserted + start[place + len(inserted) * draw(st.integers(0, 1)) :]
    data = data[: draw(st.none() | st.integers(0, len(data)))]
    return CompressedImage(header=draw(headers()), format=draw(texts), data=data)


@st.composite
def camera_infos(draw: st.DrawFn) -> CameraInfo:
    info = CameraInfo(header=draw(headers()))
    info.width = draw(st.just(96) | uint32)
    info.height = draw(st.just(64) | uint32)
    info.distortion_model = draw(st.sampled_from(["plumb_bob", "rational_polynomial", ""]) | texts)
    info.d = draw(st.lists(numbers, max_size=9) | st.lists(numbers, min_size=5, max_size=5))
    for name, identity in (
        ("k", [80.0, 0.0, 48.0, 0.0, 80.0, 32.0, 0.0, 0.0, 1.0]),
        ("r", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        ("p", [80.0, 0.0, 48.0, 0.0, 0.0, 80.0, 32.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    ):
        values = list(identity)
        for index in draw(st.lists(st.integers(0, len(values) - 1), max_size=4)):
            values[index] = draw(numbers)
        setattr(info, name, values)
    info.binning_x, info.binning_y = draw(st.just(0) | uint32), draw(st.just(0) | uint32)
    roi = info.roi
    roi.x_offset, roi.y_offset = draw(st.just(0) | uint32), draw(st.just(0) | uint32)
    roi.width, roi.height = draw(st.just(0) | uint32), draw(st.just(0) | uint32)
    return info


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """An image as it goes over the wire, damaged there."""
    wire = bytearray(serialize_message(draw(images())))
    for _ in range(draw(st.integers(0, 6))):
        wire[draw(st.integers(0, min(len(wire), 120) - 1))] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.none() | st.integers(4, len(wire)))])


def is_predicted(robot: Any, good: Any) -> None:
    time.sleep(LEAD)
    robot.forget()
    depth = robot.prediction(good)
    assert np.isfinite(np.frombuffer(depth.data, np.float32)).all()
    assert robot.process.running


def bombard(robot: Any, messages: st.SearchStrategy[Any], send: Callable[[Any], None]) -> int:
    """Send many messages, each followed by a good image that is predicted.

    Returns:
        How many images the node rejected.
    """
    before = robot.values()

    @EACH
    @given(message=messages)
    def each(message: Any) -> None:
        send(message)

    each()
    after = robot.values()
    rejected = int(after["rejected"]) - int(before["rejected"])
    assert robot.process.running
    assert "Traceback" not in robot.process.log
    return rejected


def test_images(shared_robot: Any) -> None:
    def send(message: Image) -> None:
        shared_robot.send(message)
        is_predicted(shared_robot, shared_robot.image(12, 8))

    # They were no shots in the dark: the node saw and refused some. The rest it did not see, where
    # it was so slow that the good image took their place.
    assert bombard(shared_robot, images(), send) > 0


def test_damaged_wires(shared_robot: Any) -> None:
    def send(wire: bytes) -> None:
        shared_robot.send(Image(), wire=wire)
        is_predicted(shared_robot, shared_robot.image(12, 8))

    assert bombard(shared_robot, wires(), send) > 0


def test_camera_infos(shared_robot: Any) -> None:
    def send(message: CameraInfo) -> None:
        shared_robot.send_info(message)
        # One that the camera_info may fit, and one that it does not.
        is_predicted(shared_robot, shared_robot.image())
        is_predicted(shared_robot, shared_robot.image(12, 8))

    assert bombard(shared_robot, camera_infos(), send) == 0


def test_compressed_images(compressed_robot: Any) -> None:
    def send(message: CompressedImage) -> None:
        compressed_robot.send(message)
        good = CompressedImage(format="png", data=FILES[0])
        compressed_robot.stamp(good)
        is_predicted(compressed_robot, good)

    assert bombard(compressed_robot, compressed_images(), send) > 0
