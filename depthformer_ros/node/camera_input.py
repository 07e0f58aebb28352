"""Subscriptions to a camera, with the QoS of its driver."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthformer_core.bags.message_types import COMPRESSED, calibration_beside
from depthformer_ros.node.callback_guard import LOG_PERIOD, CallbackGuard
from depthformer_ros.node.latest_calibration import LatestCalibration
from depthformer_ros.node.qos import matching_qos, subscription_overrides
from depthformer_ros.node.topic_names import is_remapped

# Seconds between two checks of the publishers' QoS.
_MATCH_PERIOD = 0.5
# Bytes of a message in CDR up to the end of its stamp.
_STAMP_END = 12


@dataclass(frozen=True)
class ArrivedImage:
    """An image as received.

    Attributes:
        data: The message in CDR.
        arrived: Time of arrival, seconds of `time.monotonic`.
    """

    data: bytes
    arrived: float


class _MatchedSubscription:
    """A subscription that follows the QoS of the publishers of its topic.

    Args:
        node: The node that subscribes.
        kind: Class of the messages.
        topic: Resolved topic.
        callback: Takes each message in CDR.
        latched: As of `matching_qos`.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[bytes], None],
        *,
        latched: bool = False,
    ) -> None:
        self._node = node
        self._topic = topic
        self._latched = latched
        self._overrides = subscription_overrides(node, topic)
        self._kind, self._callback = kind, callback
        self._subscription: Subscription | None = None
        self._policies: tuple[ReliabilityPolicy, DurabilityPolicy] | None = None
        self.match()

    def match(self) -> None:
        """Subscribe again if the publishers' QoS has changed."""
        infos = self._node.get_publishers_info_by_topic(self._topic)
        # Only a camera's newest message is used.
        wanted = matching_qos(infos, latched=self._latched)
        policies = wanted.reliability, wanted.durability
        if self._subscription is not None:
            # Without a publisher any QoS fits.
            if not infos or policies == self._policies:
                return
            self._node.destroy_subscription(self._subscription)
        self._policies = policies
        self._subscription = self._node.create_subscription(
            self._kind,
            self._topic,
            self._callback,
            wanted,
            raw=True,
            qos_overriding_options=self._overrides,
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)


class CameraInput:
    """Subscribes to a camera until closed.

    Args:
        node: The node that subscribes and logs.
        compressed: Whether images come as JPEG or PNG.
        calibration: Receives the camera_info.
        put: Receives the images.

    Attributes:
        image_topic: Resolved topic of the images.
        camera_info_topic: Resolved topic of their calibration.
    """

    def __init__(
        self,
        node: Node,
        *,
        compressed: bool,
        calibration: LatestCalibration,
        put: Callable[[ArrivedImage], None],
    ) -> None:
        self._node = node
        self._calibration = calibration
        self._put = put
        self._newest_info = b""
        self.image_topic = _image_topic(node, compressed=compressed)
        self.camera_info_topic = _camera_info_topic(node, self.image_topic)
        # The calibration comes first, so that the first image finds it.
        info = _MatchedSubscription(
            node, CameraInfo, self.camera_info_topic, self._on_camera_info, latched=True
        )
        kind = CompressedImage if compressed else Image
        images = _MatchedSubscription(node, kind, self.image_topic, self._on_image)
        self._subscriptions = [info, images]
        # Publishers appear while the time of a simulation or a bag stands still, too.
        self._timer = node.create_timer(
            _MATCH_PERIOD, self._match, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            subscription.close()

    def _match(self) -> None:
        with CallbackGuard(self._node, "subscription", often=True):
            for subscription in self._subscriptions:
                subscription.match()

    def _on_camera_info(self, data: bytes) -> None:
        # Drivers repeat it with each image, and only its stamp is new.
        content = data[_STAMP_END:]
        if content == self._newest_info:
            return
        self._newest_info = content
        with CallbackGuard(self._node, "camera_info", often=True):
            info = deserialize_message(data, CameraInfo)
            if problem := self._calibration.update(info):
                self._node.get_logger().warning(
                    f"{problem}; depth is published, without a cloud",
                    throttle_duration_sec=LOG_PERIOD,
                )

    def _on_image(self, data: bytes) -> None:
        with CallbackGuard(self._node, "image", often=True):
            self._put(ArrivedImage(data, time.monotonic()))


def _image_topic(node: Node, *, compressed: bool) -> str:
    """Return the resolved topic of the images.

    JPEG and PNG are on the topic of `image` with `/compressed` appended, unless
    `image/compressed` is remapped itself.

    Args:
        node: The node, with its namespace and remappings.
        compressed: Whether images come as JPEG or PNG.
    """
    base = str(node.resolve_topic_name("image"))
    if not compressed:
        return base
    if is_remapped(node, "image/compressed"):
        return str(node.resolve_topic_name("image/compressed"))
    return base if base.endswith(COMPRESSED) else base + COMPRESSED


def _camera_info_topic(node: Node, images: str) -> str:
    """Return the resolved topic of the calibration: beside the images, unless remapped itself.

    Args:
        node: As of `_image_topic`.
        images: Resolved topic of the images.
    """
    if is_remapped(node, "camera_info"):
        return str(node.resolve_topic_name("camera_info"))
    return calibration_beside(images)
