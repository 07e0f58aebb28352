"""What a benchmark has found of one preset."""

import statistics
from dataclasses import dataclass

import numpy as np

from depthformer_core.benchmark.baselines import OURS
from depthformer_core.benchmark.frames import FrameTiming, StageTimes
from depthformer_core.benchmark.roofline import Rates, Work


@dataclass(frozen=True)
class Result:
    """One preset, measured.

    Attributes:
        preset: Name of the preset.
        frames: Counted frames of each side, by its name, `OURS` first; the sides took turns.
        absent: Why a rival was not measured, by its name.
        stages: Frames of `OURS` by stages, one a turn.
        rates: What the device did at best, measured once a turn.
        work: What a frame asks for.
    """

    preset: str
    frames: dict[str, list[FrameTiming]]
    absent: dict[str, str]
    stages: list[StageTimes]
    rates: list[Rates]
    work: Work

    def seconds(self, side: str) -> list[float]:
        """Time of each frame of a side."""
        return [frame.seconds for frame in self.frames[side]]

    def images_per_second(self, side: str) -> float:
        """Frames of a side over the time they took."""
        return len(self.frames[side]) / sum(self.seconds(side))

    def peak_memory(self, side: str) -> int:
        """Largest memory of a side's process, bytes."""
        return max(frame.peak_memory for frame in self.frames[side])

    def ratio(self, side: str) -> float:
        """Median over the turns of a side's time over ours."""
        pairs = zip(self.seconds(side), self.seconds(OURS), strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def stage_seconds(self, stage: str) -> list[float]:
        """Time of each frame in one stage."""
        return [times.seconds[stage] for times in self.stages]

    def stage_share(self, stage: str) -> float:
        """Median over the turns of the floor's share in a stage's time; 0 without counted work."""
        return statistics.median(
            self._floor(stage, rates) / times.seconds[stage]
            for rates, times in zip(self.rates, self.stages, strict=True)
        )

    @property
    def share(self) -> float:
        """Median over the turns of the floor's share in the time of our whole frame."""
        return statistics.median(
            sum(self._floor(stage, rates) for stage in self.work.operations) / seconds
            for rates, seconds in zip(self.rates, self.seconds(OURS), strict=True)
        )

    def _floor(self, stage: str, rates: Rates) -> float:
        """Least time of a stage, seconds."""
        operations, gathered = (
            counts.get(stage, 0) for counts in (self.work.operations, self.work.gathered)
        )
        return rates.least_seconds(operations, gathered)


def p99(seconds: list[float]) -> float:
    """Time within which 99 of 100 runs came; of fewer runs, near the slowest."""
    return float(np.percentile(seconds, 99))
