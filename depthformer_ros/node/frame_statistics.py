"""Statistics of the received images: counts by reason, rates and times."""

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
"""Number of frames of the percentiles."""
RATE_WINDOW = 5.0
"""Window of the rates, seconds."""


class InputState(Enum):
    """State of the camera's images."""

    WAITING = "waiting"  # no image yet
    RUNNING = "running"
    STALE = "stale"  # no image for too long
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
        state: State of the camera's images.
        rejection: Why the newest image was rejected, else empty.
        failure: Why the newest frame failed, else empty.
        nonfinite_count: Values of the newest frame's depth that are NaN or infinite.
        received: Images received.
        predicted: Frames whose outputs were published.
        rejected: Images that could not be used, by the field that was wrong.
        dropped: Images left without prediction on purpose, by reason.
        failed: Frames lost to an error, by kind of error.
        nonfinite_frames: Frames for which the network returned NaN or infinite values.
        input_rate: Images a second.
        output_rate: Predictions a second.
        superseded_rate: Images a second that a newer one superseded.
        stages: Time of each stage by name.
    """

    state: InputState
    rejection: str = ""
    failure: str = ""
    nonfinite_count: int = 0
    received: int = 0
    predicted: int = 0
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

    Every received image is predicted, rejected, dropped, failed, or in progress.

    Args:
        clock: Monotonic clock, seconds; independent of ROS time.

    Attributes:
        clock: The clock.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._received = self._predicted = self._nonfinite_count = self._nonfinite_frames = 0
        self._rejected: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._stages: dict[str, deque[float]] = {}
        self._arrivals: deque[float] = deque(maxlen=1000)
        self._predictions: deque[float] = deque(maxlen=1000)
        self._superseded: deque[float] = deque(maxlen=1000)
        self._rejection = ""
        self._failure = ""

    def restart(self) -> None:
        """Reset state and rates for a new camera; keep the counts."""
        with self._lock:
            self._arrivals.clear()
            self._predictions.clear()
            self._superseded.clear()
            self._rejection = self._failure = ""
            self._nonfinite_count = 0

    def receive(self) -> None:
        """Count a received image."""
        with self._lock:
            self._received += 1
            self._arrivals.append(self.clock())

    def accept(self) -> None:
        """Record that the newest image is usable."""
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
        """Count an image that is left without prediction on purpose, for one of few reasons."""
        with self._lock:
            self._dropped[reason] += 1

    def supersede(self) -> None:
        """Count an image that a newer one supersedes."""
        with self._lock:
            self._dropped["newer image"] += 1
            self._superseded.append(self.clock())

    def complete(self, *, nonfinite_count: int = 0) -> None:
        """Count a frame whose outputs are published.

        Args:
            nonfinite_count: Values of its depth that are NaN or infinite.
        """
        with self._lock:
            self._predicted += 1
            self._predictions.append(self.clock())
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
        """Time the body of the context, unless it fails."""
        start = self.clock()
        yield
        self.record(name, self.clock() - start)

    def record(self, name: str, seconds: float) -> None:
        """Add one time of a stage."""
        with self._lock:
            self._stages.setdefault(name, deque(maxlen=TIMES)).append(seconds)

    def report(self, *, timeout: float) -> Report:
        """Return the statistics of this moment.

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
                predicted=self._predicted,
                rejected=dict(self._rejected),
                dropped=dict(self._dropped),
                failed=dict(self._failed),
                nonfinite_frames=self._nonfinite_frames,
                input_rate=input_rate,
                output_rate=_rate(_recent(self._predictions, now)),
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
    """Return the times within `RATE_WINDOW`, newest first."""
    return list(itertools.takewhile(lambda t: now - t <= RATE_WINDOW, reversed(times)))


def _rate(recent: Sequence[float]) -> float:
    """Return events a second, from the intervals between the newest ones."""
    span = recent[0] - recent[-1] if recent else 0.0
    return (len(recent) - 1) / span if span > 0 else 0.0


def _percentiles(times: Sequence[float]) -> StageTime:
    p50, p95, p99 = np.percentile(np.fromiter(times, np.float64), (50, 95, 99))
    return StageTime(float(p50), float(p95), float(p99))
