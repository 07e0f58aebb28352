"""The frames that were sent, and their predictions."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

# Seconds between two checks for the end of a wait.
_POLL = 0.1


Mode = Literal["realtime", "lockstep"]
"""The pace of a replay: the bag's own, or one prediction after the other."""


class Summary(TypedDict):
    """Counts of the frames, and p50, p95, p99 and max of their latency, seconds, if any."""

    sent: int
    answered: int
    dropped: int
    latency: dict[str, float] | None


class FrameReport(TypedDict):
    """One frame: its stamp, nanoseconds; time of sending from the start, and latency, seconds."""

    stamp: int
    sent: float
    latency: float | None


class ReplayReport(Summary):
    """The contents of `replay.json`."""

    bag: str
    mode: Mode
    rate: float
    interrupted: bool
    node: dict[str, str | None]
    frames: list[FrameReport]


@dataclass
class SentFrame:
    """One image that was sent.

    Attributes:
        stamp: Stamp of the image, nanoseconds.
        sent: Time of sending, seconds of `time.monotonic`.
        received: Time of its prediction, likewise; None before.
    """

    stamp: int
    sent: float
    received: float | None = None

    @property
    def latency(self) -> float | None:
        """Time from sending to the prediction, seconds."""
        return None if self.received is None else self.received - self.sent


class Predictions:
    """Matches predictions with frames; shared with the receiving thread.

    Args:
        check: Called during waits; raises to end them.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._frames: list[SentFrame] = []
        # Frames without prediction. Bags may repeat a stamp: the oldest open frame comes first.
        self._open: dict[int, deque[SentFrame]] = defaultdict(deque)
        # Stamps of the received messages, by topic.
        self._stamps: dict[str, set[int]] = {}
        # How often the depth image of a stamp came after the first time.
        self._repeated: Counter[int] = Counter()
        self._slowest = 0.0

    @property
    def frames(self) -> list[SentFrame]:
        """The frames, in order of sending."""
        with self._changed:
            return list(self._frames)

    @property
    def last(self) -> SentFrame | None:
        """The newest frame, or None."""
        return self._frames[-1] if self._frames else None

    def is_first(self, frame: SentFrame) -> bool:
        """Return whether a frame was the first one."""
        return frame is self._frames[0]

    def forget(self) -> None:
        """Remove all frames; later predictions belong to none of them."""
        with self._changed:
            self._frames.clear()
            self._open.clear()
            self._repeated.clear()
            for stamps in self._stamps.values():
                stamps.clear()

    def add_topic(self, topic: str) -> None:
        """Add a topic that is received."""
        self._stamps[topic] = set()

    def expect(self, stamp: int) -> SentFrame:
        """Add a frame before it is sent."""
        frame = SentFrame(stamp, time.monotonic())
        with self._changed:
            self._frames.append(frame)
            self._open[stamp].append(frame)
        return frame

    def has(self, topic: str, stamp: int) -> bool:
        """Return whether a message with a stamp came on a topic."""
        with self._changed:
            return stamp in self._stamps[topic]

    def record(self, topic: str, stamp: int, *, depth: bool) -> None:
        """Record a received message.

        Args:
            topic: Its topic.
            stamp: Stamp of its image, nanoseconds.
            depth: Whether it is a depth image, the prediction of a frame.
        """
        now = time.monotonic()
        with self._changed:
            if depth and stamp in self._stamps[topic]:
                self._repeated[stamp] += 1
            self._stamps[topic].add(stamp)
            if depth and (frames := self._open.get(stamp)):
                frame = frames.popleft()
                frame.received = now
                self._slowest = max(self._slowest, now - frame.sent)
                if not frames:
                    del self._open[stamp]
            self._changed.notify_all()

    def wait(self, frame: SentFrame, timeout: float) -> bool:
        """Wait for the prediction of a frame, for `timeout` seconds at most."""
        return self._wait(lambda: frame.received is not None, timeout)

    def wait_for_repeated(self, frame: SentFrame, count: int, timeout: float) -> bool:
        """Wait for so many more predictions of a frame that was sent again."""
        return self._wait(lambda: self._repeated[frame.stamp] >= count, timeout)

    def wait_for_all(self, frame: SentFrame, timeout: float) -> bool:
        """Wait until a message for a frame came on each topic."""
        return self._wait(
            lambda: all(frame.stamp in stamps for stamps in self._stamps.values()), timeout
        )

    def _wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            with self._changed:
                if self._changed.wait_for(ready, min(left, _POLL)):
                    return True
            self._check()
            if not left:
                return False

    def slowest(self) -> float:
        """Return the longest latency so far, seconds."""
        return self._slowest

    def summary(self) -> Summary:
        """Return the numbers of frames sent, predicted and dropped, and their latency, seconds."""
        frames = self.frames
        latencies = [latency for frame in frames if (latency := frame.latency) is not None]
        times: dict[str, float] | None = None
        if latencies:
            p50, p95, p99 = map(float, np.percentile(latencies, (50, 95, 99)))
            times = {"p50": p50, "p95": p95, "p99": p99, "max": max(latencies)}
        return {
            "sent": len(frames),
            "answered": len(latencies),
            "dropped": len(frames) - len(latencies),
            "latency": times,
        }


def summary_text(summary: Summary) -> str:
    """Format a summary of `Predictions` as text."""
    latency = summary["latency"]
    spent = f", latency {1e3 * latency['p50']:.0f} ms median" if latency else ""
    return f"{summary['answered']} of {summary['sent']} frames predicted{spent}"
