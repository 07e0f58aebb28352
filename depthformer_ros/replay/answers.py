"""Frames that were sent, and what came back for them."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# How often a wait looks whether it is to end.
_POLL = 0.1


@dataclass
class SentFrame:
    """One image on its way.

    Attributes:
        stamp: Of the image's header, nanoseconds.
        sent: When it was, seconds of `time.monotonic`.
        answered: When its depth came, likewise; None before.
    """

    stamp: int
    sent: float
    answered: float | None = None

    @property
    def latency(self) -> float | None:
        """Time the answer took, seconds."""
        return None if self.answered is None else self.answered - self.sent


class Answers:
    """Frames on their way and the answers to them, shared with the receiving thread.

    Args:
        check: Is called while one waits; raises where that is to end.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._frames: list[SentFrame] = []
        # Those without an answer. Bags may repeat a stamp: the oldest open frame with it is meant.
        self._open: dict[int, deque[SentFrame]] = defaultdict(deque)
        # Stamps of what came on each of the topics that are received.
        self._came: dict[str, set[int]] = {}
        self._slowest = 0.0

    @property
    def frames(self) -> list[SentFrame]:
        """Those that were sent, in order."""
        with self._changed:
            return list(self._frames)

    @property
    def last(self) -> SentFrame | None:
        """The frame that was sent last."""
        return self._frames[-1] if self._frames else None

    def is_first(self, frame: SentFrame) -> bool:
        """Whether a frame was the first to be sent."""
        return frame is self._frames[0]

    def forget(self) -> None:
        """Begin anew: answers that are still to come belong to no frame."""
        with self._changed:
            self._frames.clear()
            self._open.clear()
            for stamps in self._came.values():
                stamps.clear()

    def listen(self, topic: str) -> None:
        """Count a topic among those that are received."""
        self._came[topic] = set()

    def expect(self, stamp: int) -> SentFrame:
        """Note a frame before it is sent."""
        frame = SentFrame(stamp, time.monotonic())
        with self._changed:
            self._frames.append(frame)
            self._open[stamp].append(frame)
        return frame

    def has(self, topic: str, stamp: int) -> bool:
        """Whether something with a stamp came on a topic."""
        with self._changed:
            return stamp in self._came[topic]

    def note(self, topic: str, stamp: int, *, answer: bool) -> None:
        """Note what came back.

        Args:
            topic: The topic it came on.
            stamp: That of its image, nanoseconds.
            answer: Whether it is the answer to a frame: a depth image.
        """
        now = time.monotonic()
        with self._changed:
            self._came[topic].add(stamp)
            if answer and (frames := self._open.get(stamp)):
                frame = frames.popleft()
                frame.answered = now
                self._slowest = max(self._slowest, now - frame.sent)
                if not frames:
                    del self._open[stamp]
            self._changed.notify_all()

    def wait(self, frame: SentFrame, timeout: float) -> bool:
        """Wait until a frame is answered, for so many seconds at most."""
        return self._wait(lambda: frame.answered is not None, timeout)

    def wait_for_all(self, frame: SentFrame, timeout: float) -> bool:
        """Wait until something came for a frame on each topic."""
        return self._wait(
            lambda: all(frame.stamp in stamps for stamps in self._came.values()), timeout
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
        """Longest time an answer took so far, seconds."""
        return self._slowest

    def summary(self) -> dict[str, Any]:
        """How many were sent, answered and dropped, and the latency of answers, seconds."""
        frames = self.frames
        latencies = [latency for frame in frames if (latency := frame.latency) is not None]
        times = None
        if latencies:
            p50, p99 = np.percentile(latencies, (50, 99))
            times = {"p50": float(p50), "p99": float(p99), "max": max(latencies)}
        return {
            "sent": len(frames),
            "answered": len(latencies),
            "dropped": len(frames) - len(latencies),
            "latency": times,
        }


def in_words(summary: dict[str, Any]) -> str:
    """Say what a summary of answers says."""
    latency = summary["latency"]
    spent = f", latency {1e3 * latency['p50']:.0f} ms median" if latency else ""
    return f"{summary['answered']} of {summary['sent']} frames answered{spent}"
