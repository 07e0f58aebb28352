import sys
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import (
    camera_info_of,
    depth_to_image,
    mark_range,
    rgb_to_image,
)

HEADER = Header(frame_id="eye")
HEADER.stamp.sec = 7


def picture(height: int = 8, width: int = 10) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


# Encoding: channels of a pixel.
READ_AS_CV_BRIDGE_DOES = {
    **{"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4},
    **{"bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1},
}


@pytest.mark.parametrize("encoding", READ_AS_CV_BRIDGE_DOES)
def test_same_as_cv_bridge(encoding: str) -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="compares with cv_bridge")
    channels = READ_AS_CV_BRIDGE_DOES[encoding]
    samples = np.random.default_rng(0).integers(0, 256, (8, 10 * channels), np.uint8)
    image = Image(header=HEADER, height=8, width=10, encoding=encoding, step=10 * channels)
    image.data.frombytes(samples.tobytes())
    reference = cv_bridge.CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8")
    np.testing.assert_array_equal(image_to_rgb(image), reference)


def test_compressed_there_and_back() -> None:
    rgb = picture()
    image = CompressedImage(header=HEADER, format="png")
    image.data.frombytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(compressed_to_rgb(image), rgb)
    with pytest.raises(ConversionError, match="neither JPEG nor PNG"):
        compressed_to_rgb(CompressedImage(header=HEADER))


def pixels(image: Image, dtype: Any) -> Any:
    assert image.is_bigendian == (sys.byteorder == "big")
    assert image.step * image.height == len(image.data)
    return np.frombuffer(image.data, dtype).reshape(image.height, image.width)


def test_mark_range() -> None:
    depth = np.array([[1.0, 80.0, 80.1, -1.0, 0.0, np.nan, np.inf, -np.inf]], np.float32)
    marked = mark_range(depth, min_depth=0.0, max_depth=80.0)
    nan = np.nan
    np.testing.assert_array_equal(marked, [[1.0, 80.0, np.inf, nan, nan, nan, nan, nan]])
    marked = mark_range(depth, min_depth=1.5, max_depth=80.0)
    np.testing.assert_array_equal(marked, [[-np.inf, 80.0, np.inf, nan, nan, nan, nan, nan]])
    assert marked.dtype == np.float32


def test_depth_in_metres() -> None:
    depth = np.array([[0.5, np.nan, np.inf], [1.0, 2.0, 79.25]], np.float32)
    image = depth_to_image(depth, HEADER, encoding="32FC1")
    assert (image.encoding, image.height, image.width, image.step) == ("32FC1", 2, 3, 12)
    assert image.header == HEADER
    np.testing.assert_array_equal(pixels(image, np.float32), depth)


def test_depth_in_millimetres() -> None:
    depth = np.array([[0.0014, 1.2346, np.nan], [np.inf, 65.535, 65.54]], np.float32)
    image = depth_to_image(depth, HEADER, encoding="16UC1")
    assert (image.encoding, image.step) == ("16UC1", 6)
    np.testing.assert_array_equal(pixels(image, np.uint16), [[1, 1235, 0], [0, 65535, 0]])


def test_depth_in_another_encoding_is_refused() -> None:
    with pytest.raises(ConversionError, match="64FC1"):
        depth_to_image(np.ones((2, 2), np.float32), HEADER, encoding="64FC1")


def test_rgb_there_and_back() -> None:
    rgb = picture()
    image = rgb_to_image(rgb[:, ::-1], HEADER)
    assert (image.header, image.step) == (HEADER, 30)
    np.testing.assert_array_equal(image_to_rgb(image), rgb[:, ::-1])


def test_camera_info_there_and_back() -> None:
    camera = Camera(621, 188, 360.5, 361.5, 304.75, 86.25)
    made = camera_info_of(camera, HEADER)
    assert made.header == HEADER
    calibration = calibration_from_info(made)
    assert calibration.camera == camera
    assert calibration.is_rectified
