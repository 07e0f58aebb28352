"""Play a bag into the ROS graph and collect what the depth node answers."""

import argparse
import importlib
import json
import re
import struct
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tqdm import tqdm

from depthformer_core.data.bag import BagError, BagMessage, BagReader, BagWriter, Topic
from depthformer_core.data.kitti import IMAGE_TOPIC
from depthformer_core.data.message_types import IMAGES
from depthformer_core.files import replacing
from depthformer_core.replay.topics import ReplayError
from depthformer_ros.transport import large_messages

_CLOCK_PERIOD = 0.02
# Time for both sides of a connection to know of each other, once one side knows.
_SETTLE = 0.5
# The node takes images best effort: one that was lost on the way is sent again after this time.
_RESEND = 5.0
# How long what comes along with a depth image may take after it, where images take less.
_QUIET = 1.0
# The node tells about itself once a second, unless its parameters say otherwise.
_INTRODUCTION = 3.0
_MESSAGE_TYPE = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")
# How often a wait looks whether ROS was shut down.
_POLL = 0.1

Mode = Literal["realtime", "lockstep"]


@dataclass
class _SentFrame:
    stamp: int  # of the image's header, nanoseconds
    sent: float  # seconds of time.monotonic
    answered: float | None = None


@dataclass
class _Answers:
    """Frames on their way and the answers to them, shared with the receiving thread."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    frames: list[_SentFrame] = field(default_factory=list)
    # Those without an answer. Bags may repeat a stamp: the oldest open frame with it is meant.
    open: dict[int, deque[_SentFrame]] = field(default_factory=lambda: defaultdict(deque))
    # Stamps of what came on each of the topics that are received.
    came: dict[str, set[int]] = field(default_factory=dict)

    def expect(self, stamp: int) -> _SentFrame:
        """Note a frame before it is sent."""
        frame = _SentFrame(stamp, time.monotonic())
        with self.changed:
            self.frames.append(frame)
            self.open[stamp].append(frame)
        return frame

    def note(self, topic: str, stamp: int, *, answer: bool) -> None:
        """Note what came back.

        Args:
            topic: The topic it came on.
            stamp: That of its image, nanoseconds.
            answer: Whether it is the answer to a frame: a depth image.
        """
        now = time.monotonic()
        with self.changed:
            self.came[topic].add(stamp)
            if answer and (frames := self.open.get(stamp)):
                frames.popleft().answered = now
                if not frames:
                    del self.open[stamp]
            self.changed.notify_all()

    def wait(self, frame: _SentFrame, timeout: float) -> bool:
        """Wait until a frame is answered."""
        with self.changed:
            return self.changed.wait_for(lambda: frame.answered is not None, timeout)

    def wait_for_all(self, frame: _SentFrame, timeout: float) -> bool:
        """Wait until something came for a frame on each topic."""
        with self.changed:
            return self.changed.wait_for(
                lambda: all(frame.stamp in stamps for stamps in self.came.values()), timeout
            )

    def slowest(self) -> float:
        """Longest time an answer took so far, seconds."""
        with self.changed:
            return max((_latency(frame) or 0.0 for frame in self.frames), default=0.0)


def _latency(frame: _SentFrame) -> float | None:
    return None if frame.answered is None else frame.answered - frame.sent


class Replay:
    """Publishes the messages of a bag and receives the depth node's outputs.

    Args:
        bag: The opened bag.
        node: The `rclpy.node.Node` to publish from; somebody else spins it.
        image_topic: Topic of the bag whose messages are the frames.
        namespace: Namespace of the depth node.
        clock: Whether to publish the bag's time on /clock.
        recorder: Where the outputs are written, or None.

    Raises:
        ReplayError: The bag has no such image topic.
    """

    def __init__(
        self,
        bag: BagReader,
        *,
        node: Any,
        image_topic: str,
        namespace: str = "",
        clock: bool = False,
        recorder: BagWriter | None = None,
    ) -> None:
        self._bag = bag
        self._node = node
        self._image_topic = image_topic
        self._recorder = recorder
        self._answers = _Answers()
        topics = bag.topics
        if image_topic not in topics or topics[image_topic].type not in IMAGES:
            images = [topic.name for topic in topics.values() if topic.type in IMAGES]
            raise ReplayError(
                f"bag {bag.path} has no images on {image_topic}; "
                f"it has them on {', '.join(images) or 'no topic'}"
            )
        self._publishers: dict[str, Any] = {}
        self._resent: set[int] = set()
        skipped = set()
        for topic in topics.values():
            kind = _message_class(topic.type)
            if kind is None:
                skipped.add(topic.type)
            else:
                self._publishers[topic.name] = node.create_publisher(
                    kind, topic.name, _output_qos(topic)
                )
        if skipped:
            node.get_logger().warning(
                f"types not known here, left out: {', '.join(sorted(skipped))}"
            )
        self._clock = node.create_publisher(Clock, "/clock", 10) if clock else None
        prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
        self._depth_topic = f"{prefix}/depth/image_rect"
        self._node_prefix = prefix.lstrip("/")
        self._node_values: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._receive(Image, self._depth_topic)
        if recorder is not None:
            self._receive(CameraInfo, f"{prefix}/depth/camera_info")
            self._receive(PointCloud2, f"{prefix}/points")

    def wait_for_node(self, timeout: float) -> None:
        """Wait until the images have a subscriber and the depth has a publisher.

        Raises:
            ReplayError: That did not happen within `timeout` seconds.
        """
        end = time.monotonic() + timeout
        images = self._publishers[self._image_topic]
        while not (
            images.get_subscription_count() and self._node.count_publishers(self._depth_topic)
        ):
            _check_running(self._node)
            if time.monotonic() > end:
                missing = (
                    f"publishes {self._depth_topic}"
                    if images.get_subscription_count()
                    else f"subscribes to {self._image_topic}"
                )
                raise ReplayError(f"nobody {missing} within {timeout:g} s")
            time.sleep(0.05)
        time.sleep(_SETTLE)

    def play(self, *, mode: Mode, rate: float, timeout: float) -> dict[str, Any]:
        """Publish every message, then wait for the last answers.

        Args:
            mode: `realtime` keeps the bag's pace, `lockstep` waits for each answer.
            rate: Factor on the bag's pace, in realtime.
            timeout: Seconds to wait for an answer, in lockstep and at the end.

        Returns:
            The report of the replay, ready for JSON.

        Raises:
            BagError: The bag is damaged.
        """
        start = time.monotonic()
        bar = tqdm(
            total=self._bag.topics[self._image_topic].count,
            unit="frame",
            desc=self._bag.path.name,
            disable=None,
        )
        with bar:
            for message in self._bag.messages(sorted(self._publishers)):
                _check_running(self._node)
                if mode == "realtime":
                    self._keep_pace(message.stamp, start, rate)
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
        return self._report(mode, rate, start)

    def _await(self, frame: _SentFrame, message: BagMessage, timeout: float) -> None:
        """Wait for the answer to a frame; send it again if it seems lost on the way."""
        end = frame.sent + timeout
        patience = max(_RESEND, 3 * self._answers.slowest())
        while not self._answers.wait(frame, _POLL) and time.monotonic() < end:
            _check_running(self._node)
            if time.monotonic() > frame.sent + patience:
                frame.sent = time.monotonic()
                self._resent.add(frame.stamp)
                self._publishers[message.topic].publish(message.data)

    def _complete(self, frame: _SentFrame, message: BagMessage) -> None:
        """Wait for what comes along with the answer to the first frame; else send it again, once.

        Connections are made one by one: that of the depth may be there before the others.
        """
        if frame is not self._answers.frames[0] or frame.answered is None:
            return
        if not self._await_all(frame, _QUIET):
            self._resent.add(frame.stamp)
            self._publishers[message.topic].publish(message.data)
            self._await_all(frame, max(_QUIET, 2 * self._answers.slowest()))

    def _await_all(self, frame: _SentFrame, timeout: float) -> bool:
        """Wait until all outputs came for a frame; whether they did."""
        end = time.monotonic() + timeout
        while not self._answers.wait_for_all(frame, _POLL):
            _check_running(self._node)
            if time.monotonic() > end:
                return False
        return True

    def _finish(self, timeout: float) -> None:
        """Wait for the answer to the last frame, and for what comes along with it."""
        frames = self._answers.frames
        if not frames:
            return
        # Newest wins: whatever became of those before it, the last frame gets its turn.
        end = frames[-1].sent + timeout
        while not self._answers.wait(frames[-1], _POLL) and time.monotonic() < end:
            _check_running(self._node)
        # Without a calibration there are no clouds.
        self._await_all(frames[-1], max(_QUIET, self._answers.slowest()))
        end = time.monotonic() + _INTRODUCTION
        while not self._node_values and time.monotonic() < end:
            time.sleep(_POLL)
            _check_running(self._node)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep what the depth node says of itself."""
        for status in message.status:
            if status.name.startswith(self._node_prefix) and status.name.endswith(": depth"):
                self._node_values = {item.key: item.value for item in status.values}

    def _keep_pace(self, stamp: int, start: float, rate: float) -> None:
        due = start + (stamp - self._bag.start) / 1e9 / rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, _CLOCK_PERIOD))
            _check_running(self._node)
            ahead = (due - time.monotonic()) * rate * 1e9
            if ahead > 0:
                self._tick(stamp - int(ahead))

    def _tick(self, stamp: int) -> None:
        if self._clock is not None:
            seconds, nanoseconds = divmod(stamp, 10**9)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _receive(self, kind: Any, topic: str) -> None:
        """Subscribe to one output; a depth image is the answer to its frame."""
        name = kind.__module__.split(".")[0] + "/msg/" + kind.__name__
        seen = self._answers.came.setdefault(topic, set())

        def on_message(data: bytes) -> None:
            stamp = header_stamp(data)
            # A frame that was sent twice is answered twice.
            repeated = stamp in seen and stamp in self._resent
            if self._recorder is not None and not repeated:
                self._recorder.write_cdr(topic, name, bytes(data), stamp=time.time_ns())
            # Last, because it may end the wait for what is recorded.
            self._answers.note(topic, stamp, answer=topic == self._depth_topic)

        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE
        )
        self._node.create_subscription(kind, topic, on_message, qos, raw=True)

    def _report(self, mode: Mode, rate: float, start: float) -> dict[str, Any]:
        with self._answers.changed:
            frames = list(self._answers.frames)
        latencies = [latency for frame in frames if (latency := _latency(frame)) is not None]
        summary = None
        if latencies:
            p50, p99 = np.percentile(latencies, (50, 99))
            summary = {"p50": float(p50), "p99": float(p99), "max": max(latencies)}
        return {
            "bag": str(self._bag.path),
            "mode": mode,
            "rate": rate,
            "node": {
                name: self._node_values.get(name) for name in ("checkpoint", "device", "precision")
            },
            "sent": len(frames),
            "answered": len(latencies),
            "dropped": len(frames) - len(latencies),
            "latency": summary,
            "frames": [
                {"stamp": frame.stamp, "sent": frame.sent - start, "latency": _latency(frame)}
                for frame in frames
            ],
        }


def header_stamp(data: bytes) -> int:
    """Stamp of a message in CDR that starts with a `std_msgs/msg/Header`, nanoseconds.

    Raises:
        ReplayError: The data is shorter than a header.
    """
    if len(data) < 12:
        raise ReplayError(f"message of {len(data)} bytes has no header")
    # The second byte of the encapsulation tells the byte order.
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def _message_class(name: str) -> Any | None:
    """Class of a message type, `sensor_msgs/msg/Image`, or None where it is not installed."""
    # A bag may call a type anything.
    if not _MESSAGE_TYPE.fullmatch(name):
        return None
    package, _, kind = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind, None)
    except ModuleNotFoundError:
        return None


def _output_qos(topic: Topic) -> QoSProfile:
    static = topic.name == "/tf_static"
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if static else DurabilityPolicy.VOLATILE,
    )


def _check_running(node: Any) -> None:
    if not node.context.ok():
        raise ExternalShutdownException


@contextmanager
def _spinning(node: Any) -> Iterator[None]:
    """Handle a node's messages in a thread of their own."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin, name="receive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("bag", type=Path, help="ROS 2 bag folder or file, or ROS 1 bag")
    parser.add_argument("--output", type=Path, help="folder for replay.json and the bag of answers")
    parser.add_argument(
        "--mode",
        choices=("realtime", "lockstep"),
        default="realtime",
        help="keep the bag's pace, or wait for the answer to each image",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the bag's pace")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument("--namespace", default="", help="namespace of the depth node")
    parser.add_argument("--image-topic", default=IMAGE_TOPIC, help="topic of the frames")
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        help="seconds to wait for the node, for an answer in lockstep, and at the end",
    )
    return parser


def _run(node: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Play as asked through a node and write what was asked for."""
    output: Path | None = options.output
    answers: AbstractContextManager[BagWriter | None] = nullcontext()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        answers = BagWriter(output / "answers")
    with BagReader(options.bag) as bag, answers as recorder:
        replay = Replay(
            bag,
            node=node,
            image_topic=options.image_topic,
            namespace=options.namespace,
            clock=options.clock,
            recorder=recorder,
        )
        with _spinning(node):
            replay.wait_for_node(options.timeout)
            report = replay.play(mode=options.mode, rate=options.rate, timeout=options.timeout)
        for note in bag.notes:
            node.get_logger().warning(note)
    if output is not None:
        with replacing(output / "replay.json") as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n")
    return report


def main(args: Sequence[str] | None = None) -> None:
    """Play a bag as the command line says; exit code 1 on errors, 130 when interrupted."""
    arguments = list(sys.argv[1:] if args is None else args)
    parser = _parser()
    options = parser.parse_args(rclpy.utilities.remove_ros_args(arguments))
    if not options.rate > 0:
        parser.error(f"--rate must be positive, got {options.rate}")
    if not options.timeout > 0:
        parser.error(f"--timeout must be positive, got {options.timeout}")
    try:
        with large_messages():
            rclpy.init(args=arguments)
            node = rclpy.create_node("replay")
        report = _run(node, options)
    except (BagError, ReplayError) as error:
        sys.exit(f"replay: {error}")
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
    latency = report["latency"]
    spent = f", latency {1e3 * latency['p50']:.0f} ms median" if latency else ""
    sys.stdout.write(f"{report['answered']} of {report['sent']} frames answered{spent}\n")


if __name__ == "__main__":
    main()
