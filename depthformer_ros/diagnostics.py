"""What the node counts and times, and its message on /diagnostics."""

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

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
    p99: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """The statistics at one moment.

    Attributes:
        state: What comes from the camera.
        rejection: Why the newest image was rejected, else empty.
        failure: Why the newest frame got no answer, else empty.
        received: Images that came, good or not.
        rejected: Images that could not be used.
        dropped: Images replaced by a newer one before their turn.
        answered: Frames whose outputs were published.
        failed: Frames lost to an error.
        input_rate: Images a second.
        output_rate: Answers a second.
        stages: Time of each stage by name.
    """

    state: InputState
    rejection: str = ""
    failure: str = ""
    received: int = 0
    rejected: int = 0
    dropped: int = 0
    answered: int = 0
    failed: int = 0
    input_rate: float = 0.0
    output_rate: float = 0.0
    stages: Mapping[str, StageTime] = field(default_factory=dict)


class Statistics:
    """Counts frames and times their stages; safe to use from several threads.

    Args:
        clock: Seconds that never go back, whatever happens to ROS time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._stages: dict[str, deque[float]] = {}
        self._arrivals: deque[float] = deque(maxlen=1000)
        self._answers: deque[float] = deque(maxlen=1000)
        self._rejection = ""
        self._failure = ""

    def restart(self) -> None:
        """Wait for a camera anew; the counts go on."""
        with self._lock:
            self._arrivals.clear()
            self._answers.clear()
            self._rejection = self._failure = ""

    def receive(self, *, rejection: str = "") -> None:
        """Count an image that came, with the reason if it cannot be used."""
        with self._lock:
            self._counts["received"] += 1
            self._counts["rejected"] += bool(rejection)
            self._arrivals.append(self._clock())
            self._rejection = rejection

    def drop(self) -> None:
        """Count an image that was replaced by a newer one."""
        with self._lock:
            self._counts["dropped"] += 1

    def answer(self) -> None:
        """Count a frame whose outputs are published."""
        with self._lock:
            self._counts["answered"] += 1
            self._answers.append(self._clock())
            self._failure = ""

    def fail(self, reason: str) -> None:
        """Count a frame lost to an error."""
        with self._lock:
            self._counts["failed"] += 1
            self._failure = reason

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside, unless it fails."""
        start = self._clock()
        yield
        self.record(name, self._clock() - start)

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
            now = self._clock()
            return Report(
                state=self._state(now, timeout),
                rejection=self._rejection,
                failure=self._failure,
                received=self._counts["received"],
                rejected=self._counts["rejected"],
                dropped=self._counts["dropped"],
                answered=self._counts["answered"],
                failed=self._counts["failed"],
                input_rate=_rate(self._arrivals, now),
                output_rate=_rate(self._answers, now),
                stages={name: _percentiles(times) for name, times in self._stages.items()},
            )

    def _state(self, now: float, timeout: float) -> InputState:
        if not self._arrivals:
            return InputState.WAITING
        if now - self._arrivals[-1] > timeout:
            return InputState.STALE
        return InputState.REJECTED if self._rejection else InputState.RUNNING


def _rate(times: Sequence[float], now: float) -> float:
    """Events a second, from the intervals between the newest of them."""
    recent = list(itertools.takewhile(lambda t: now - t <= RATE_WINDOW, reversed(times)))
    span = recent[0] - recent[-1] if recent else 0.0
    return (len(recent) - 1) / span if span > 0 else 0.0


def _percentiles(times: Sequence[float]) -> StageTime:
    p50, p99 = np.percentile(np.fromiter(times, np.float64), (50, 99))
    return StageTime(float(p50), float(p99))


# Worst last: the level shown is that of the worst thing to say.
_SEVERITY = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.STALE,
    DiagnosticStatus.ERROR,
)
_INPUT_LEVELS = {
    InputState.WAITING: DiagnosticStatus.WARN,
    InputState.RUNNING: DiagnosticStatus.OK,
    InputState.STALE: DiagnosticStatus.STALE,
    InputState.REJECTED: DiagnosticStatus.ERROR,
}


def diagnostic_status(
    report: Report,
    *,
    name: str,
    hardware_id: str,
    mode: str,
    errors: Sequence[str] = (),
    warnings: Sequence[str] = (),
    values: Mapping[str, object] | None = None,
) -> DiagnosticStatus:
    """Build the status of the node.

    Args:
        report: The statistics.
        name: Name of the status, by convention the node and what it is about.
        hardware_id: The device the network runs on.
        mode: `active` while frames are taken, else what the node is instead; then the state of
            the input counts for nothing.
        errors: What keeps the node from its work.
        warnings: What makes its answers worse.
        values: More keys and values to show.
    """
    findings = [(DiagnosticStatus.ERROR, text) for text in errors]
    if mode == "active":
        text = f"input {report.state.value}"
        if report.state is InputState.REJECTED:
            text += f": {report.rejection}"
        findings.append((_INPUT_LEVELS[report.state], text))
        if report.failure:
            findings.append((DiagnosticStatus.ERROR, f"last frame failed: {report.failure}"))
    else:
        findings.append((DiagnosticStatus.OK, mode))
    findings += [(DiagnosticStatus.WARN, text) for text in warnings]

    status = DiagnosticStatus(name=name, hardware_id=hardware_id)
    status.level = max((level for level, _ in findings), key=_SEVERITY.index)
    status.message = "; ".join(text for _, text in findings)
    rows: dict[str, object] = {
        "mode": mode,
        "input state": report.state.value,
        "last rejection": report.rejection,
        "last failure": report.failure,
        "input rate (Hz)": f"{report.input_rate:.2f}",
        "output rate (Hz)": f"{report.output_rate:.2f}",
        "received": report.received,
        "rejected": report.rejected,
        "dropped": report.dropped,
        "answered": report.answered,
        "failed": report.failed,
    }
    for stage, spent in report.stages.items():
        rows[f"{stage} p50 (ms)"] = f"{1e3 * spent.p50:.2f}"
        rows[f"{stage} p99 (ms)"] = f"{1e3 * spent.p99:.2f}"
    rows |= values or {}
    status.values = [KeyValue(key=key, value=str(value)) for key, value in rows.items()]
    return status


def diagnostic_array(status: DiagnosticStatus, *, stamp: Any) -> DiagnosticArray:
    """Wrap a status with its time, a `builtin_interfaces/msg/Time`."""
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
