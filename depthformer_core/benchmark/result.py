"""Result of a benchmark."""

import statistics
from dataclasses import dataclass

import numpy as np

from depthformer_core.benchmark.baselines import OURS
from depthformer_core.benchmark.frames import FrameTiming, StageTimes
from depthformer_core.benchmark.roofline import Rates, Work


@dataclass(frozen=True)
class Result:
    """Measurements of one preset.

    Attributes:
        preset: Name of the preset.
        frames: Counted frames of each baseline, by its name, `OURS` first; they ran in turns.
        absent: Why a baseline was not measured, by its name.
        stages: Frames of `OURS` by stages, one a turn.
        rates: Peak rates of the device, measured once a turn.
        work: Work of a frame.
    """

    preset: str
    frames: dict[str, list[FrameTiming]]
    absent: dict[str, str]
    stages: list[StageTimes]
    rates: list[Rates]
    work: Work

    def seconds(self, baseline: str) -> list[float]:
        """Return the time of each frame of a baseline."""
        return [frame.seconds for frame in self.frames[baseline]]

    def images_per_second(self, baseline: str) -> float:
        """Compute the frames of a baseline over their time."""
        return len(self.frames[baseline]) / sum(self.seconds(baseline))

    def peak_memory(self, baseline: str) -> int:
        """Return the largest memory of a baseline's process, bytes."""
        return max(frame.peak_memory for frame in self.frames[baseline])

    def ratio(self, baseline: str) -> float:
        """Compute the median over the turns of a baseline's time over ours."""
        pairs = zip(self.seconds(baseline), self.seconds(OURS), strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def stage_seconds(self, stage: str) -> list[float]:
        """Return the time of each frame in one stage."""
        return [times.seconds[stage] for times in self.stages]

    def stage_share(self, stage: str) -> float:
        """Compute the median share of the roofline in a stage's time; 0 without counted work."""
        return statistics.median(
            self._roofline(stage, rates) / times.seconds[stage]
            for rates, times in zip(self.rates, self.stages, strict=True)
        )

    @property
    def share(self) -> float:
        """Median over the turns of the roofline's share in the time of our whole frame."""
        return statistics.median(
            sum(self._roofline(stage, rates) for stage in self.work.operations) / seconds
            for rates, seconds in zip(self.rates, self.seconds(OURS), strict=True)
        )

    def _roofline(self, stage: str, rates: Rates) -> float:
        """Compute the least time of a stage, seconds."""
        operations, gathered = (
            counts.get(stage, 0) for counts in (self.work.operations, self.work.gathered)
        )
        return rates.least_seconds(operations, gathered)


def p99(seconds: list[float]) -> float:
    """Compute the 99th percentile of times; of few runs, near the slowest."""
    return float(np.percentile(seconds, 99))
