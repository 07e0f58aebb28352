"""What comes from the camera: subscribed, read, checked and handed on."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthformer_core.data.camera_messages import (
    ConversionError,
    compressed_to_rgb,
    image_to_rgb,
)
from depthformer_ros.edge import LOG_PERIOD, Edge
from depthformer_ros.frame_statistics import FrameStatistics
from depthformer_ros.inference import Frame
from depthformer_ros.latest_calibration import LatestCalibration

# A camera's newest image is all that counts, and any publisher is compatible with best effort.
_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


def image_topic(node: Any, *, compressed: bool) -> str:
    """Topic the images come on, with the node's namespace and remappings."""
    return str(node.resolve_topic_name(_relative_topic(compressed)))


def _relative_topic(compressed: bool) -> str:
    return "image/compressed" if compressed else "image"


class CameraInput:
    """Subscribes to a camera until it is closed.

    Args:
        node: The `rclpy.node.Node` that subscribes and logs.
        compressed: Whether images come as JPEG or PNG.
        calibration: What remembers the camera_info.
        statistics: What images are counted in.
        idle: Takes the time an image came at, seconds of `time.monotonic`, and gives the reason
            why it is not looked at, else an empty text.
        put: Takes the frames.
    """

    def __init__(
        self,
        node: Any,
        *,
        compressed: bool,
        calibration: LatestCalibration,
        statistics: FrameStatistics,
        idle: Callable[[float], str],
        put: Callable[[Frame], None],
    ) -> None:
        self._node = node
        self._kind = CompressedImage if compressed else Image
        self._to_rgb = compressed_to_rgb if compressed else image_to_rgb
        self._calibration = calibration
        self._statistics = statistics
        self._idle = idle
        self._put = put
        # The calibration comes first, so that the first image finds it.
        info = node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, _QOS)
        # Raw, because a message that cannot be read is a fault to report as well.
        images = node.create_subscription(
            self._kind, _relative_topic(compressed), self._on_image, _QOS, raw=True
        )
        self._subscriptions = [info, images]

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_camera_info(self, info: CameraInfo) -> None:
        with Edge(self._node, "camera_info", often=True):
            if news := self._calibration.update(info):
                self._node.get_logger().warning(
                    f"{news}; depth goes on, without a cloud", throttle_duration_sec=LOG_PERIOD
                )

    def _on_image(self, data: bytes) -> None:
        with Edge(self._node, "image", often=True):
            arrived = time.monotonic()
            statistics = self._statistics
            if reason := self._idle(arrived):
                statistics.receive()
                statistics.drop(reason)
                return
            try:
                with statistics.stage("receive"):
                    message = self._read(data)
                with statistics.stage("convert"):
                    rgb = self._to_rgb(message)
            except ConversionError as error:
                statistics.reject(error.field, str(error))
                self._node.get_logger().warning(
                    f"image rejected: {error}", throttle_duration_sec=LOG_PERIOD
                )
                return
            statistics.receive()
            self._put(Frame(message.header, rgb, arrived))

    def _read(self, data: bytes) -> Any:
        """Read a message as it came over the wire."""
        try:
            return deserialize_message(data, self._kind)
        except RuntimeError as error:
            name = self._kind.__name__
            raise ConversionError("message", f"of {len(data)} bytes is no whole {name}") from error
