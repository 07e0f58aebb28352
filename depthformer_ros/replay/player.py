"""The player: it publishes the messages of a bag and receives the outputs of the depth node."""

import itertools
import time
from collections.abc import Callable, Iterator

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tqdm import tqdm

from depthformer_core.bags import BagMessage, BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.message_types import base_topic
from depthformer_core.bags.node_topics import (
    CLOUD,
    DEPTH,
    DEPTH_CAMERA_INFO,
    OUTPUTS,
    node_prefix,
)
from depthformer_ros.messages.conversions import cdr_stamp
from depthformer_ros.node.diagnostics import described_node
from depthformer_ros.replay.pace import Pace
from depthformer_ros.replay.pause_key import PauseKey
from depthformer_ros.replay.predictions import (
    Mode,
    Predictions,
    ReplayReport,
    SentFrame,
    summary_text,
)
from depthformer_ros.replay.topics import (
    CLOCK,
    frames_topic,
    is_latched,
    is_live,
    message_classes,
    output_qos,
)

# Time for both sides of a connection to discover each other, once one side has.
_SETTLE = 0.5
# The node may subscribe best effort: an image that seems lost is sent again after this time.
_RESEND = 5.0
# So often the first image is sent again; without a calibration, some outputs never come.
_MOST_REPEATS = 3
# Longest wait for the other outputs of a frame after its depth image.
_QUIET = 1.0
# The node publishes diagnostics once a second by default.
_INTRODUCTION = 3.0
# Seconds between two checks for the end of a wait, and until the log explains it.
_POLL = 0.05
_SILENCE = 5.0
_FAILED = "configure failed"


class Player:
    """Publishes the messages of a bag and receives the depth node's outputs.

    Topics that the player itself or a live node publishes are not played: the node's outputs,
    `/clock`, and the diagnostics and logs of nodes.

    Args:
        bag: The opened bag.
        node: The node that publishes; the caller spins it.
        image_topic: Topic of the bag whose messages are the frames, see `find_image_topic`.
        check: Called again and again; raises to end the player.
        namespace: Namespace of the depth node.
        clock: Whether to publish the bag's time on /clock.
        recorder: Writer of the outputs, or None.

    Raises:
        ReplayError: The bag has no such image topic, or the depth node publishes on it.
    """

    def __init__(
        self,
        bag: BagReader,
        *,
        node: Node,
        image_topic: str,
        check: Callable[[], None],
        namespace: str = "",
        clock: bool = False,
        recorder: BagWriter | None = None,
    ) -> None:
        self._bag = bag
        self._node = node
        self._check = check
        self._recorder = recorder
        self._predictions = Predictions(check)
        prefix = node_prefix(namespace)
        self._depth_topic = f"{prefix}/{DEPTH}"
        self._image_topic = frames_topic(bag.topics, image_topic, bag=bag.path, prefix=prefix)
        if self._image_topic != image_topic:
            node.get_logger().info(f"no images on {image_topic}: those on {self._image_topic} play")
        self._publishers = self._make_publishers(prefix)
        self._clock = node.create_publisher(Clock, CLOCK, 10) if clock else None
        self._resent: set[int] = set()
        self._begin = time.monotonic()
        self._node_namespace = prefix
        self._node_values: dict[str, str] = {}
        self._node_message = ""
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._receive(Image, self._depth_topic)
        if recorder is not None:
            self._receive(CameraInfo, f"{prefix}/{DEPTH_CAMERA_INFO}")
            self._receive(PointCloud2, f"{prefix}/{CLOUD}")

    def _make_publishers(self, prefix: str) -> dict[str, Publisher]:
        """Create publishers of the topics that are played; log the others."""
        topics = self._bag.topics
        live = [name for name in topics if is_live(name, prefix)]
        kinds = message_classes(topic for name, topic in topics.items() if name not in live)
        unknown = sorted({topics[name].type for name, kind in kinds.items() if kind is None})
        logger = self._node.get_logger()
        if unknown:
            logger.warning(f"types not known here, left out: {', '.join(unknown)}")
        if live:
            logger.info(f"published live, so not played from the bag: {', '.join(live)}")
        return {
            name: self._node.create_publisher(kind, name, output_qos(topics[name]))
            for name, kind in kinds.items()
            if kind is not None
        }

    def wait_for_node(self, timeout: float) -> None:
        """Wait until the images have a subscriber and the depth has a publisher.

        Raises:
            ReplayError: They do not within `timeout` seconds, or the node could not load its
                network.
        """
        begin = time.monotonic()
        explain = begin + _SILENCE
        while missing := self._missing():
            self._check()
            if _FAILED in self._node_message:
                raise ReplayError(f"the depth node reports: {self._node_message}")
            now = time.monotonic()
            if now > begin + timeout:
                raise ReplayError(f"nobody {missing} within {timeout:g} s{self._hint()}")
            if now > explain:
                explain = begin + timeout
                self._node.get_logger().info(
                    f"nobody {missing} yet{self._hint()}; waiting {timeout:g} s at most"
                )
            time.sleep(_POLL)
        time.sleep(_SETTLE)

    def _missing(self) -> str:
        """Return what is missing in the graph, with `nobody` as its subject; else empty."""
        if not self._publishers[self._image_topic].get_subscription_count():
            return f"subscribes to {self._image_topic}"
        if not self._node.count_publishers(self._depth_topic):
            return f"publishes {self._depth_topic}"
        return ""

    def _hint(self) -> str:
        base = base_topic(self._image_topic)
        if base != self._image_topic and self._node.count_subscribers(base):
            return (
                f", but a node to {base}: these images are compressed, start the node with "
                "image_transport:=compressed"
            )
        return f"; the depth node reports: {self._node_message}" if self._node_message else ""

    def play(
        self, *, mode: Mode, rate: float, timeout: float, start: float = 0.0, loop: bool = False
    ) -> None:
        """Publish every message, then wait for the last predictions.

        Args:
            mode: `realtime` keeps the bag's pace, `lockstep` waits for each prediction.
            rate: Factor on the bag's pace, in realtime.
            timeout: Seconds to wait for a prediction, in lockstep and at the end.
            start: Seconds of the bag to skip; latched messages are sent all the same.
            loop: Whether to start again at the end, for ever, with the same stamps.

        Raises:
            BagError: The bag is damaged.
            ReplayError: The bag is not as long as `start`.
        """
        if start > self._bag.duration:
            raise ReplayError(f"bag {self._bag.path} lasts {self._bag.duration:.1f} s, not {start}")
        origin = self._bag.start + round(start * 1e9)
        with PauseKey() as key:
            if key.is_there:
                self._node.get_logger().info("space pauses, and goes on")
            for number in itertools.count(1):
                self._begin = time.monotonic()
                # A node without predictions does not stop an endless loop.
                patience = min(timeout, _QUIET) if loop else timeout
                self._play_once(origin, mode=mode, rate=rate, timeout=patience, key=key)
                if not loop:
                    break
                text = summary_text(self._predictions.summary())
                self._node.get_logger().info(f"time {number}: {text}; from the start again")
                self._predictions.forget()
        self._wait_for_diagnostics()

    def _play_once(
        self, origin: int, *, mode: Mode, rate: float, timeout: float, key: PauseKey
    ) -> None:
        pace = Pace(origin, rate=rate, key=key, tick=self._tick, check=self._check)
        bar = tqdm(
            # The number of skipped frames is unknown.
            total=self._bag.topics[self._image_topic].count if origin == self._bag.start else None,
            unit="frame",
            desc=self._bag.path.name,
            disable=None,
        )
        with bar:
            for message in self._messages(origin):
                if mode == "realtime":
                    pace.wait_for(message.stamp)
                else:
                    pace.wait_while_paused(message.stamp)
                self._tick(message.stamp)
                if message.topic != self._image_topic:
                    self._publishers[message.topic].publish(message.data)
                    continue
                frame = self._predictions.expect(cdr_stamp(message.data))
                self._publishers[message.topic].publish(message.data)
                if mode == "lockstep":
                    self._await(frame, message, timeout)
                    self._complete(frame, message)
                bar.update()
            self._finish(timeout)

    def _messages(self, origin: int) -> Iterator[BagMessage]:
        """Yield the messages from a time of the bag on; publish the latched ones before it."""
        if origin > self._bag.start:
            latched = [name for name in self._publishers if is_latched(self._bag.topics[name])]
            for message in self._bag.messages(latched):
                if message.stamp < origin:
                    self._publishers[message.topic].publish(message.data)
        for message in self._bag.messages(sorted(self._publishers)):
            if message.stamp >= origin:
                yield message
            else:
                self._check()

    def _await(self, frame: SentFrame, message: BagMessage, timeout: float) -> None:
        """Wait for the prediction of a frame; send it again if it seems lost."""
        sent, end = frame.sent, frame.sent + timeout
        patience = max(_RESEND, 3 * self._predictions.slowest())
        while (now := time.monotonic()) < end:
            again = min(sent + patience, end)
            if self._predictions.wait(frame, again - now):
                return
            if again < end:
                # The latency counts from the first time: the network may just be slow.
                sent = time.monotonic()
                self._resent.add(frame.stamp)
                self._publishers[message.topic].publish(message.data)

    def _complete(self, frame: SentFrame, message: BagMessage) -> None:
        """Wait for all outputs of the first frame; else send it again, a few times.

        Connections are made one by one: that of the depth may be the first.
        """
        if not self._predictions.is_first(frame) or frame.received is None:
            return
        quiet = _QUIET
        for count in range(1, _MOST_REPEATS + 1):
            if self._predictions.wait_for_all(frame, quiet):
                return
            self._resent.add(frame.stamp)
            self._publishers[message.topic].publish(message.data)
            # The next image would supersede it.
            self._predictions.wait_for_repeated(frame, count, _RESEND)
            quiet = max(_QUIET, 2 * self._predictions.slowest())
        self._predictions.wait_for_all(frame, quiet)

    def _finish(self, timeout: float) -> None:
        """Wait for all outputs of the last frame."""
        last = self._predictions.last
        if last is None:
            return
        # The newest frame wins: the last one is always predicted.
        self._predictions.wait(last, last.sent + timeout - time.monotonic())
        # Without a calibration there are no clouds.
        self._predictions.wait_for_all(last, max(_QUIET, self._predictions.slowest()))

    def _wait_for_diagnostics(self) -> None:
        """Wait for the diagnostics of the depth node."""
        end = time.monotonic() + _INTRODUCTION
        while self._predictions.last and not self._node_values and time.monotonic() < end:
            time.sleep(_POLL)
            self._check()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the status of the depth node."""
        for status in message.status:
            name = described_node(status.name)
            if name and name.rpartition("/")[0] == self._node_namespace:
                self._node_message = status.message
                self._node_values = {item.key: item.value for item in status.values}

    def _tick(self, stamp: int) -> None:
        if self._clock is not None:
            seconds, nanoseconds = divmod(stamp, 10**9)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _receive(self, kind: type, topic: str) -> None:
        """Subscribe to one output; a depth image is the prediction of its frame."""
        name = OUTPUTS[topic.removeprefix(f"{self._node_namespace}/")]
        self._predictions.add_topic(topic)

        def on_message(data: bytes) -> None:
            stamp = cdr_stamp(data)
            # A frame that was sent twice is predicted twice.
            repeated = stamp in self._resent and self._predictions.has(topic, stamp)
            if self._recorder is not None and not repeated:
                self._recorder.write_cdr(topic, name, bytes(data), stamp=time.time_ns())
            # Last, because it may end the wait for the recording.
            self._predictions.record(topic, stamp, depth=topic == self._depth_topic)

        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE
        )
        self._node.create_subscription(kind, topic, on_message, qos, raw=True)

    def report(self, *, mode: Mode, rate: float, interrupted: bool) -> ReplayReport:
        """Return the frames sent and predicted so far, for JSON.

        Args:
            mode: As of `play`.
            rate: Likewise.
            interrupted: Whether a signal ended it.
        """
        return {
            "bag": str(self._bag.path),
            "mode": mode,
            "rate": rate,
            "interrupted": interrupted,
            "node": {
                name: self._node_values.get(name)
                for name in ("checkpoint", "device", "precision", "trained")
            },
            **self._predictions.summary(),
            "frames": [
                {"stamp": frame.stamp, "sent": frame.sent - self._begin, "latency": frame.latency}
                for frame in self._predictions.frames
            ],
        }
