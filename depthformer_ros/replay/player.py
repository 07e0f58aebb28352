"""The player: a bag's messages into the graph, and the depth node's outputs out of it."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tqdm import tqdm

from depthformer_core.bags import BagMessage, BagReader, BagWriter
from depthformer_core.bags.message_types import base_topic
from depthformer_core.bags.node_topics import CLOUD, DEPTH, OUTPUTS, node_prefix
from depthformer_core.bags.topics import ReplayError
from depthformer_ros.replay.answers import Answers, SentFrame, in_words
from depthformer_ros.replay.pace import Pace
from depthformer_ros.replay.pause_key import PauseKey
from depthformer_ros.replay.stamps import header_stamp
from depthformer_ros.replay.topics import (
    CLOCK,
    frames_topic,
    is_latched,
    is_live,
    message_classes,
    output_qos,
)

Mode = Literal["realtime", "lockstep"]

# Time for both sides of a connection to know of each other, once one side knows.
_SETTLE = 0.5
# The node may take images best effort: one that was lost on the way is sent again after this time.
_RESEND = 5.0
# How long what comes along with a depth image may take after it, where images take less.
_QUIET = 1.0
# The node tells about itself once a second, unless its parameters say otherwise.
_INTRODUCTION = 3.0
# How often a wait looks whether it is to end, and how long it lasts until it is explained.
_POLL = 0.05
_SILENCE = 5.0
_STATUS = ": depth"
_FAILED = "configure failed"


class Player:
    """Publishes the messages of a bag and receives the depth node's outputs.

    What the player itself or the live node publishes is left out of what is played: the node's
    outputs, `/clock`, and what nodes say of themselves.

    Args:
        bag: The opened bag.
        node: The `rclpy.node.Node` to publish from; somebody else spins it.
        image_topic: Topic of the bag whose messages are the frames, see `find_image_topic`.
        check: Is called again and again; raises where the player is to end.
        namespace: Namespace of the depth node.
        clock: Whether to publish the bag's time on /clock.
        recorder: Where the outputs are written, or None.

    Raises:
        ReplayError: The bag has no such image topic, or the depth node publishes on it.
    """

    def __init__(
        self,
        bag: BagReader,
        *,
        node: Any,
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
        self._answers = Answers(check)
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
        self._node_says = ""
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._receive(Image, self._depth_topic)
        if recorder is not None:
            self._receive(CameraInfo, f"{prefix}/depth/camera_info")
            self._receive(PointCloud2, f"{prefix}/{CLOUD}")

    def _make_publishers(self, prefix: str) -> dict[str, Any]:
        """Publishers of the topics that are played; the log names the others."""
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
            ReplayError: That did not happen within `timeout` seconds, or the node says that it
                could not load its network.
        """
        begin = time.monotonic()
        explain = begin + _SILENCE
        while missing := self._missing():
            self._check()
            if _FAILED in self._node_says:
                raise ReplayError(f"the depth node says: {self._node_says}")
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
        """What nobody does whom the player needs."""
        if not self._publishers[self._image_topic].get_subscription_count():
            return f"subscribes to {self._image_topic}"
        if not self._node.count_publishers(self._depth_topic):
            return f"publishes {self._depth_topic}"
        return ""

    def _hint(self) -> str:
        base = base_topic(self._image_topic)
        if base != self._image_topic and self._node.count_subscribers(base):
            return (
                f", but somebody to {base}: these images are compressed, start the node with "
                "image_transport:=compressed"
            )
        return f"; the depth node says: {self._node_says}" if self._node_says else ""

    def play(
        self, *, mode: Mode, rate: float, timeout: float, start: float = 0.0, loop: bool = False
    ) -> None:
        """Publish every message, then wait for the last answers.

        Args:
            mode: `realtime` keeps the bag's pace, `lockstep` waits for each answer.
            rate: Factor on the bag's pace, in realtime.
            timeout: Seconds to wait for an answer, in lockstep and at the end.
            start: Seconds of the bag that are passed over; what is latched is sent all the same.
            loop: Whether to begin anew at the end, for ever. Stamps are what they were before.

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
                # A node that answers nothing does not hold up what goes on for ever.
                patience = min(timeout, _QUIET) if loop else timeout
                self._play_once(origin, mode=mode, rate=rate, timeout=patience, key=key)
                if not loop:
                    break
                words = in_words(self._answers.summary())
                self._node.get_logger().info(f"time {number}: {words}; from the start again")
                self._answers.forget()
        self._meet()

    def _play_once(
        self, origin: int, *, mode: Mode, rate: float, timeout: float, key: PauseKey
    ) -> None:
        pace = Pace(origin, rate=rate, key=key, tick=self._tick, check=self._check)
        bar = tqdm(
            # How many frames are passed over, nobody knows.
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
                    pace.look(message.stamp)
                self._tick(message.stamp)
                if message.topic != self._image_topic:
                    self._publishers[message.topic].publish(message.data)
                    continue
                frame = self._answers.expect(header_stamp(message.data))
                self._publishers[message.topic].publish(message.data)
                if mode == "lockstep":
                    self._await(frame, message, timeout)
                    self._complete(frame, message)
                bar.update()
            self._finish(timeout)

    def _messages(self, origin: int) -> Iterator[BagMessage]:
        """The messages from a time of the bag on, and before them what is latched."""
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
        """Wait for the answer to a frame; send it again if it seems lost on the way."""
        end = frame.sent + timeout
        patience = max(_RESEND, 3 * self._answers.slowest())
        while (now := time.monotonic()) < end:
            again = min(frame.sent + patience, end)
            if self._answers.wait(frame, again - now):
                return
            if again < end:
                frame.sent = time.monotonic()
                self._resent.add(frame.stamp)
                self._publishers[message.topic].publish(message.data)

    def _complete(self, frame: SentFrame, message: BagMessage) -> None:
        """Wait for what comes along with the answer to the first frame; else send it again, once.

        Connections are made one by one: that of the depth may be there before the others.
        """
        if not self._answers.is_first(frame) or frame.answered is None:
            return
        if not self._answers.wait_for_all(frame, _QUIET):
            self._resent.add(frame.stamp)
            self._publishers[message.topic].publish(message.data)
            self._answers.wait_for_all(frame, max(_QUIET, 2 * self._answers.slowest()))

    def _finish(self, timeout: float) -> None:
        """Wait for the answer to the last frame, and for what comes along with it."""
        last = self._answers.last
        if last is None:
            return
        # Newest wins: whatever became of those before it, the last frame gets its turn.
        self._answers.wait(last, last.sent + timeout - time.monotonic())
        # Without a calibration there are no clouds.
        self._answers.wait_for_all(last, max(_QUIET, self._answers.slowest()))

    def _meet(self) -> None:
        """Wait for what the depth node says of itself."""
        end = time.monotonic() + _INTRODUCTION
        while self._answers.last and not self._node_values and time.monotonic() < end:
            time.sleep(_POLL)
            self._check()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep what the depth node says of itself."""
        for status in message.status:
            namespace = status.name.removesuffix(_STATUS).rpartition("/")[0]
            if status.name.endswith(_STATUS) and namespace == self._node_namespace:
                self._node_says = status.message
                self._node_values = {item.key: item.value for item in status.values}

    def _tick(self, stamp: int) -> None:
        if self._clock is not None:
            seconds, nanoseconds = divmod(stamp, 10**9)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _receive(self, kind: Any, topic: str) -> None:
        """Subscribe to one output; a depth image is the answer to its frame."""
        name = OUTPUTS[topic.removeprefix(f"{self._node_namespace}/")]
        self._answers.listen(topic)

        def on_message(data: bytes) -> None:
            stamp = header_stamp(data)
            # A frame that was sent twice is answered twice.
            repeated = stamp in self._resent and self._answers.has(topic, stamp)
            if self._recorder is not None and not repeated:
                self._recorder.write_cdr(topic, name, bytes(data), stamp=time.time_ns())
            # Last, because it may end the wait for what is recorded.
            self._answers.note(topic, stamp, answer=topic == self._depth_topic)

        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE
        )
        self._node.create_subscription(kind, topic, on_message, qos, raw=True)

    def report(self, *, mode: Mode, rate: float, interrupted: bool) -> dict[str, Any]:
        """What was sent and answered so far, ready for JSON.

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
                name: self._node_values.get(name) for name in ("checkpoint", "device", "precision")
            },
            **self._answers.summary(),
            "frames": [
                {"stamp": frame.stamp, "sent": frame.sent - self._begin, "latency": frame.latency}
                for frame in self._answers.frames
            ],
        }
