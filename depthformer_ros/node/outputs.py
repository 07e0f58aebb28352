"""The data topics of the node, published only to subscribers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from depthformer_core.bags.depth_messages import DepthCompression, DepthEncoding
from depthformer_core.bags.node_topics import (
    CLOUD,
    COLOR,
    COLOR_TRANSPORT,
    DEPTH,
    DEPTH_CAMERA_INFO,
    DEPTH_RGB,
    DEPTH_TRANSPORT,
    UNCERTAINTY,
)
from depthformer_core.geometry.camera import Calibration
from depthformer_core.geometry.cloud import CloudOptions
from depthformer_core.inference.predictor import Prediction
from depthformer_core.types import FloatArray, Rgb
from depthformer_core.visualize import colorize
from depthformer_ros.messages.cloud import depth_to_cloud
from depthformer_ros.messages.conversions import (
    camera_info_of,
    depth_to_compressed,
    depth_to_image,
    mark_range,
    rgb_to_compressed,
    rgb_to_image,
)
from depthformer_ros.messages.transport import SEGMENT
from depthformer_ros.node.callback_guard import HINT_PERIOD
from depthformer_ros.node.qos import publisher_overrides
from depthformer_ros.node.topic_names import transport_topic

# The preview spans depths of 1 to 80 m for KITTI's range, and as many doublings for others.
_PREVIEW_RANGE = 80.0
# Share of the period a message may come early. Without it, a camera at exactly the allowed rate
# would lose every other image to jitter.
_EARLY = 0.25
_LARGEST = float(np.finfo(np.float32).max)


class RateLimit:
    """Limits the rate of messages, at even intervals.

    Of images at 30 Hz, a limit of 20 Hz takes two of three; waiting a whole period after each
    would take every other one.
    """

    def __init__(self) -> None:
        self._last = -math.inf

    def due(self, now: float, *, rate: float) -> bool:
        """Return whether the next message is due.

        Args:
            now: Seconds of a clock that never goes back.
            rate: Messages a second; 0 for no limit.
        """
        return rate == 0 or now >= self._last + (1 - _EARLY) / rate

    def take(self, now: float, *, rate: float) -> None:
        """Count a message that is due; arguments as of `due`."""
        period = 1 / rate if rate else 0.0
        last = self._last + period
        # After a pause there is no burst.
        self._last = last if now < last + period else now


@dataclass(frozen=True, kw_only=True)
class RequestedOutputs:
    """The outputs of one image: those with a subscriber whose rate limit allows it."""

    camera_info: bool
    depth: bool
    compressed_depth: bool
    uncertainty: bool
    points: bool
    color: bool
    compressed_color: bool
    image: bool

    @property
    def network(self) -> bool:
        """Whether any of them needs the network."""
        depth = self.depth or self.compressed_depth or self.uncertainty
        return depth or self.points or self.preview

    @property
    def with_depth(self) -> bool:
        """Whether the depth image is among them, or what describes it."""
        depth = self.depth or self.compressed_depth or self.uncertainty
        return depth or self.camera_info or self.image

    @property
    def preview(self) -> bool:
        """Whether the coloured preview is among them, in any form."""
        return self.color or self.compressed_color

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.camera_info or self.image or self.network


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """Form of the outputs that show depth.

    Attributes:
        min_depth: Depth below which -Inf is published, metres.
        max_depth: Depth beyond which +Inf is published, metres.
        encoding: Of the depth image, see `depth_to_image`.
        compression: Of the compressed depth image, see `compress_depth`.
        cloud: Which pixels become points. Where a prediction has no uncertainty, the limit of it
            has no effect.
    """

    min_depth: float
    max_depth: float
    encoding: DepthEncoding
    compression: DepthCompression
    cloud: CloudOptions


class Outputs:
    """Publishers of the data topics.

    Args:
        node: The node that publishes.
        uncertainty: Whether the network predicts an uncertainty.
    """

    def __init__(self, node: LifecycleNode, *, uncertainty: bool) -> None:
        self._node = node
        self._depth = self._create(Image, DEPTH)
        self._compressed_depth = self._create_compressed(DEPTH, DEPTH_TRANSPORT)
        self._camera_info = self._create(CameraInfo, DEPTH_CAMERA_INFO)
        self._points = self._create(PointCloud2, CLOUD)
        self._color = self._create(Image, COLOR)
        self._compressed_color = self._create_compressed(COLOR, COLOR_TRANSPORT)
        self._image = self._create(Image, DEPTH_RGB)
        self._uncertainty = self._create(Image, UNCERTAINTY) if uncertainty else None
        self._cloud: PointCloud2 | None = None
        # camera_info, uncertainty and image share the limit of the depth image, and compressed
        # images that of raw ones.
        self._limits = {name: RateLimit() for name in ("depth", "points", "color")}

    def _create(self, kind: type, topic: str) -> Publisher:
        return self._node.create_lifecycle_publisher(
            kind, topic, output_qos(), qos_overriding_options=publisher_overrides()
        )

    def _create_compressed(self, base: str, transport: str) -> Publisher:
        return self._create(CompressedImage, transport_topic(self._node, base, transport))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers():
            self._node.destroy_lifecycle_publisher(publisher)

    def _publishers(self) -> list[Publisher]:
        made = [self._depth, self._camera_info, self._points, self._color, self._image]
        made += [self._compressed_depth, self._compressed_color]
        return made if self._uncertainty is None else [*made, self._uncertainty]

    def take(self, now: float, *, rates: Mapping[str, float]) -> RequestedOutputs:
        """Return the outputs that an image of this moment is due for, and count it in their limits.

        Args:
            now: Time of arrival, seconds of `time.monotonic`: stamps may stand still or jump.
            rates: Limits of `depth`, `points` and `color`, Hz; 0 for none.
        """
        ready = {name: limit.due(now, rate=rates[name]) for name, limit in self._limits.items()}
        due = RequestedOutputs(
            camera_info=ready["depth"] and _has_subscribers(self._camera_info),
            depth=ready["depth"] and _has_subscribers(self._depth),
            compressed_depth=ready["depth"] and _has_subscribers(self._compressed_depth),
            uncertainty=ready["depth"] and _has_subscribers(self._uncertainty),
            points=ready["points"] and _has_subscribers(self._points),
            color=ready["color"] and _has_subscribers(self._color),
            compressed_color=ready["color"] and _has_subscribers(self._compressed_color),
            # Subscribers synchronize it with the depth image: they need both of each frame.
            image=ready["depth"] and _has_subscribers(self._image),
        )
        for name, taken in (
            ("depth", due.with_depth),
            ("points", due.points),
            ("color", due.preview),
        ):
            if taken:
                self._limits[name].take(now, rate=rates[name])
        return due

    def drop_reason(self) -> str:
        """Return why an image has no output."""
        return "rate limit" if any(map(_has_subscribers, self._publishers())) else "nobody listens"

    def publish_camera(self, calibration: Calibration, header: Header) -> None:
        """Publish the intrinsics of the depth image."""
        self._camera_info.publish(camera_info_of(calibration.camera, header))

    def publish_image(self, rgb: Rgb, header: Header) -> None:
        """Publish the image that the depth image belongs to, (H, W, 3), rectified."""
        self._image.publish(rgb_to_image(rgb, header))

    def publish_depth(
        self,
        due: RequestedOutputs,
        prediction: Prediction,
        header: Header,
        *,
        rgb: Rgb,
        calibration: Calibration | None,
        options: DepthOptions,
    ) -> None:
        """Publish the prediction.

        Args:
            due: The outputs to publish.
            prediction: Depth of the image.
            header: Header of the image.
            rgb: The image, (H, W, 3), rectified.
            calibration: Calibration of the image; None for no cloud.
            options: Form of the outputs.
        """
        max_depth, encoding = options.max_depth, options.encoding
        depth = mark_range(prediction.depth, min_depth=options.min_depth, max_depth=max_depth)
        if due.depth:
            self._depth.publish(depth_to_image(depth, header, encoding=encoding))
        if due.compressed_depth:
            compressed = depth_to_compressed(
                depth,
                header,
                encoding=encoding,
                compression=options.compression,
                max_depth=max_depth,
            )
            self._compressed_depth.publish(compressed)
        if due.points and calibration is not None:
            self._publish_cloud(depth, prediction, rgb, calibration, header, options)
        if due.preview:
            preview = colorize(depth, near=max_depth / _PREVIEW_RANGE, far=max_depth)
            if due.color:
                self._color.publish(rgb_to_image(preview, header))
            if due.compressed_color:
                self._compressed_color.publish(rgb_to_compressed(preview, header))
        spread = prediction.uncertainty
        if due.uncertainty and self._uncertainty is not None and spread is not None:
            known = np.where(np.isfinite(spread), spread, np.float32(np.nan))
            self._uncertainty.publish(depth_to_image(known, header, encoding="32FC1"))

    def _publish_cloud(
        self,
        depth: FloatArray,
        prediction: Prediction,
        rgb: Rgb,
        calibration: Calibration,
        header: Header,
        options: DepthOptions,
    ) -> None:
        cloud = options.cloud
        if prediction.uncertainty is None:
            cloud = replace(cloud, max_uncertainty=0.0)
        elif cloud.clearing and cloud.max_uncertainty:
            # How uncertain the distance may be depends on its depth, so that stays.
            depth = mark_range(prediction.depth, min_depth=options.min_depth, max_depth=_LARGEST)
        self._cloud = depth_to_cloud(
            depth,
            rgb,
            calibration.camera,
            header,
            cloud,
            max_depth=options.max_depth,
            uncertainty=prediction.uncertainty,
            last=self._cloud,
        )
        self._warn_of_size(len(self._cloud.data), cloud.stride)
        self._points.publish(self._cloud)

    def _warn_of_size(self, size: int, stride: int) -> None:
        """Log which stride makes clouds small enough for the transport, once a minute at most."""
        if size <= SEGMENT:
            return
        helps = stride * math.ceil(math.sqrt(size / SEGMENT))
        self._node.get_logger().warning(
            f"clouds of {size / 1e6:.0f} MB are larger than the {SEGMENT / 1e6:.0f} MB of shared "
            f"memory they go through, and arrive late or never; points.stride {helps} makes them "
            f"{size * (stride / helps) ** 2 / 1e6:.0f} MB",
            throttle_duration_sec=HINT_PERIOD,
        )


def output_qos() -> QoSProfile:
    """Return the QoS of the outputs.

    With KEEP_LAST a writer never waits for a reader that has stopped reading.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=5,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def _has_subscribers(publisher: Publisher | None) -> bool:
    return publisher is not None and bool(publisher.get_subscription_count())
