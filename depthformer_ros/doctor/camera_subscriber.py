"""A subscription that counts the messages of a camera's driver, for `depthformer doctor`."""

import time
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from depthformer_ros.doctor.graph_facts import Stream

CLASSES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage, CAMERA_INFO: CameraInfo}
"""Classes of the message types that can be subscribed to."""

# Intervals without a message after which a stream has ended.
_PAUSE = 2.0


class CameraSubscriber:
    """Counts the messages of a topic and keeps the newest.

    Args:
        node: The node that subscribes.
        topic: The topic.
        kind: Type of its messages: an image's or a calibration's.
        qos: QoS of the subscription.

    Attributes:
        qos: QoS of the subscription.
    """

    def __init__(self, node: Node, topic: str, kind: str, qos: QoSProfile) -> None:
        self.qos = qos
        self._topic = topic
        self._kind = kind
        self._times: list[float] = []
        self._newest = b""
        self._node = node
        # Raw: deserializing every image may take too much time.
        self._subscription = node.create_subscription(
            CLASSES[kind], topic, self._on_message, qos, raw=True
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_message(self, data: bytes) -> None:
        self._times.append(time.monotonic())
        self._newest = data

    def stream(self) -> Stream:
        """Return the counts, and the contents of the newest message as the depth node reads it."""
        if not self._times:
            return Stream(self._topic)
        facts: dict[str, Any] = {}
        try:
            message = deserialize_message(self._newest, CLASSES[self._kind])
            facts["frame_id"] = message.header.frame_id
            if self._kind == CAMERA_INFO:
                self._read_calibration(message, facts)
            else:
                self._read_image(message, facts)
        except (ValueError, RuntimeError) as error:
            facts["problem"] = str(error)
        return Stream(
            self._topic,
            count=len(self._times),
            rate=_rate(self._times, time.monotonic()),
            length=len(self._newest),
            **facts,
        )

    def _read_calibration(self, info: CameraInfo, facts: dict[str, Any]) -> None:
        if not info.width or not info.height:
            facts["size"] = info.width, info.height
            return
        calibration = calibration_from_info(info)
        facts["size"] = calibration.camera.width, calibration.camera.height
        facts["distorted"] = any(calibration.distortion)

    def _read_image(self, message: Image | CompressedImage, facts: dict[str, Any]) -> None:
        compressed = self._kind == COMPRESSED_IMAGE
        facts["encoding"] = message.format if compressed else message.encoding
        rgb = (compressed_to_rgb if compressed else image_to_rgb)(message)
        facts["size"] = rgb.shape[1], rgb.shape[0]


def _rate(times: Sequence[float], now: float) -> float:
    """Return messages a second, from the times of arrival; 0 for fewer than two."""
    span = times[-1] - times[0]
    if span <= 0:
        return 0.0
    interval = span / (len(times) - 1)
    if now - times[-1] > _PAUSE * interval:
        return len(times) / (now - times[0])
    return 1 / interval
