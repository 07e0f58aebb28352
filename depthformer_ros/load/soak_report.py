"""The judgement of a long run of the node, and its plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from depthformer_ros.load.probe import ProbeError, Sample

MEMORY_LIMIT = 0.02
"""Share the memory may grow by after the start has settled."""
LATENCY_LIMIT = 0.1
"""Share the latency's 99th percentile may grow by, from the first sixth to the last."""

# Seconds after which memory counts.
_SETTLED = 300.0


@dataclass(frozen=True)
class Verdict:
    """Judgement of the samples.

    Attributes:
        memory_drift: Growth of the memory from when the start had settled to the end, as a share.
        latency_drift: Growth of the 99th percentile from the first sixth to the last, as a share.
        machine_drift: The same of the median time of the fixed computation.
        problems: The problems, as text.
    """

    memory_drift: float
    latency_drift: float
    machine_drift: float
    problems: list[str]


def judge(samples: Sequence[Sample], latencies: Sequence[tuple[float, float]]) -> Verdict:
    """Decide whether memory and latency stayed flat.

    Args:
        samples: Those of the run, in order.
        latencies: Time of each prediction since the start, and its latency, both in seconds.

    Raises:
        ProbeError: There is nothing to judge.
    """
    if not samples or not latencies:
        raise ProbeError("no sample or no prediction to judge")
    end = samples[-1].seconds
    settled = min(_SETTLED, end / 6)
    memory = _drift([sample.memory for sample in samples if sample.seconds >= settled])
    first = [latency for when, latency in latencies if when <= end / 6]
    last = [latency for when, latency in latencies if when >= end * 5 / 6]
    problems = []
    if not first or not last:
        raise ProbeError("no prediction in the first or the last sixth of the run")
    latency = float(np.percentile(last, 99) / np.percentile(first, 99) - 1)
    machine = _drift([sample.machine for sample in samples])
    if memory > MEMORY_LIMIT:
        problems.append(f"memory grew by {100 * memory:.1f} %")
    if latency > LATENCY_LIMIT:
        problems.append(
            f"the 99th percentile of the latency grew by {100 * latency:.1f} %, "
            f"the time of a fixed computation beside the node by {100 * machine:.1f} %"
        )
    if missed := samples[-1].missed:
        problems.append(f"{missed} messages on /diagnostics did not come")
    return Verdict(memory, latency, machine, problems)


def _drift(values: Sequence[float]) -> float:
    """Return the growth of the median from the first to the last sixth of the values, a share."""
    part = max(1, len(values) // 6)
    return float(np.median(values[-part:]) / np.median(values[:part]) - 1)


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Draw memory, latency and the machine's own pace over time."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, middle, below = axes = figure.subplots(3, sharex=True, height_ratios=(2, 3, 2))
    minutes = [sample.seconds / 60 for sample in samples]
    above.plot(minutes, [sample.memory / 2**20 for sample in samples])
    above.set_ylabel("resident memory (MiB)")
    for name in ("p50", "p95", "p99"):
        times = [getattr(sample, name) for sample in samples]
        middle.plot(minutes, [np.nan if t is None else 1e3 * t for t in times], label=name)
    middle.set_ylabel("latency (ms)")
    middle.legend()
    below.plot(minutes, [1e3 * sample.machine for sample in samples], color="gray")
    below.set_ylabel("fixed work (ms)")
    below.set_xlabel("minutes")
    for one in axes:
        one.set_ylim(0, 1.15 * one.get_ylim()[1])
        one.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
