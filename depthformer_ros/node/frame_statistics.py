"""What becomes of the images that come: counts by reason, rates and times."""

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

TIMES = 200
"""Number of frames percentiles are taken over."""
RATE_WINDOW = 5.0
"""Seconds rates are taken over."""


class InputState(Enum):
    """What comes from the camera."""

    WAITING = "waiting"  # nothing yet
    RUNNING = "running"
    STALE = "stale"  # nothing for too long
    REJECTED = "rejected"  # the newest image could not be used


@dataclass(frozen=True)
class StageTime:
    """Time one stage takes, seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """The statistics at one moment.

    Attributes:
        state: What comes from the camera.
        rejection: Why the newest image was rejected, else empty.
        failure: Why the newest frame got no answer, else empty.
        nonfinite_count: Values of the newest frame's depth that are NaN or infinite.
        received: Images that came, whatever became of them.
        answered: Frames whose outputs were published.
        rejected: Images that could not be used, by the field that was wrong.
        dropped: Images that got no answer on purpose, by reason.
        failed: Frames lost to an error, by kind of error.
        nonfinite_frames: Frames for which the network gave NaN or infinite values.
        input_rate: Images a second.
        output_rate: Answers a second.
        superseded_rate: Images a second that a newer one took the place of.
        stages: Time of each stage by name.
    """

    state: InputState
    rejection: str = ""
    failure: str = ""
    nonfinite_count: int = 0
    received: int = 0
    answered: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    nonfinite_frames: int = 0
    input_rate: float = 0.0
    output_rate: float = 0.0
    superseded_rate: float = 0.0
    stages: Mapping[str, StageTime] = field(default_factory=dict)


class FrameStatistics:
    """Counts frames and times their stages; safe to use from several threads.

    Every image that came is answered, rejected, dropped, failed, or still on its way.

    Args:
        clock: Seconds that never go back, whatever happens to ROS time.

    Attributes:
        clock: As given.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._received = self._answered = self._nonfinite_count = self._nonfinite_frames = 0
        self._rejected: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._stages: dict[str, deque[float]] = {}
        self._arrivals: deque[float] = deque(maxlen=1000)
        self._answers: deque[float] = deque(maxlen=1000)
        self._superseded: deque[float] = deque(maxlen=1000)
        self._rejection = ""
        self._failure = ""

    def restart(self) -> None:
        """Wait for a camera anew; the counts go on."""
        with self._lock:
            self._arrivals.clear()
            self._answers.clear()
            self._superseded.clear()
            self._rejection = self._failure = ""
            self._nonfinite_count = 0

    def receive(self) -> None:
        """Count an image that came."""
        with self._lock:
            self._received += 1
            self._arrivals.append(self.clock())

    def accept(self) -> None:
        """Note that the newest image that was looked at can be used."""
        with self._lock:
            self._rejection = ""

    def reject(self, field: str, reason: str) -> None:
        """Count an image that cannot be used.

        Args:
            field: The field that is wrong; one of few.
            reason: What is wrong with it.
        """
        with self._lock:
            self._rejected[field] += 1
            self._rejection = reason

    def drop(self, reason: str) -> None:
        """Count an image that gets no answer, on purpose and for one of few reasons."""
        with self._lock:
            self._dropped[reason] += 1

    def supersede(self) -> None:
        """Count an image that a newer one took the place of."""
        with self._lock:
            self._dropped["newer image"] += 1
            self._superseded.append(self.clock())

    def answer(self, *, nonfinite_count: int = 0) -> None:
        """Count a frame whose outputs are published.

        Args:
            nonfinite_count: Values of its depth that the network gave as NaN or infinite.
        """
        with self._lock:
            self._answered += 1
            self._answers.append(self.clock())
            self._failure = ""
            self._nonfinite_count = nonfinite_count
            self._nonfinite_frames += bool(nonfinite_count)

    def fail(self, kind: str, reason: str) -> None:
        """Count a frame lost to an error.

        Args:
            kind: What kind of error; one of few.
            reason: The error in one line.
        """
        with self._lock:
            self._failed[kind] += 1
            self._failure = reason

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, unless it fails."""
        start = self.clock()
        yield
        self.record(name, self.clock() - start)

    def record(self, name: str, seconds: float) -> None:
        """Add one time of a stage."""
        with self._lock:
            self._stages.setdefault(name, deque(maxlen=TIMES)).append(seconds)

    def report(self, *, timeout: float) -> Report:
        """Sum up.

        Args:
            timeout: Seconds without an image after which the input is stale.
        """
        with self._lock:
            now = self.clock()
            arrivals = _recent(self._arrivals, now)
            input_rate = _rate(arrivals)
            superseded = len(_recent(self._superseded, now)) / max(1, len(arrivals))
            return Report(
                state=self._state(now, timeout),
                rejection=self._rejection,
                failure=self._failure,
                nonfinite_count=self._nonfinite_count,
                received=self._received,
                answered=self._answered,
                rejected=dict(self._rejected),
                dropped=dict(self._dropped),
                failed=dict(self._failed),
                nonfinite_frames=self._nonfinite_frames,
                input_rate=input_rate,
                output_rate=_rate(_recent(self._answers, now)),
                superseded_rate=superseded * input_rate,
                stages={name: _percentiles(times) for name, times in self._stages.items()},
            )

    def _state(self, now: float, timeout: float) -> InputState:
        if not self._arrivals:
            return InputState.WAITING
        if now - self._arrivals[-1] > timeout:
            return InputState.STALE
        return InputState.REJECTED if self._rejection else InputState.RUNNING


def _recent(times: Sequence[float], now: float) -> list[float]:
    """Times of the newest events, newest first."""
    return list(itertools.takewhile(lambda t: now - t <= RATE_WINDOW, reversed(times)))


def _rate(recent: Sequence[float]) -> float:
    """Events a second, from the intervals between the newest of them."""
    span = recent[0] - recent[-1] if recent else 0.0
    return (len(recent) - 1) / span if span > 0 else 0.0


def _percentiles(times: Sequence[float]) -> StageTime:
    p50, p95, p99 = np.percentile(np.fromiter(times, np.float64), (50, 95, 99))
    return StageTime(float(p50), float(p95), float(p99))
