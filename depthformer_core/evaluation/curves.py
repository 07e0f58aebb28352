"""Curves of a training run, and the loss in as few points as a plot can show."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_MOST_POINTS = 1000  # of a plot
_WINDOWS = 20  # of the running mean, in a run


def _no_iterations() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class TrainingCurves:
    """Loss, learning rate and evaluations of a training run.

    Attributes:
        iterations: (N,), numbers of the iterations from 1, ascending, without skipped ones.
        loss: (N,), the loss of each; NaN where it is unknown.
        learning_rate: (N,), of each iteration.
        evaluated: (M,), iterations done before each evaluation, ascending.
        metrics: Mean metrics over the images by name, (M,) each, in the units of
            `depth_metrics`; NaN where no image had truth.
        skipped: (K,), numbers of the iterations that were skipped.
    """

    iterations: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    learning_rate: npt.NDArray[np.float64]
    evaluated: npt.NDArray[np.int64] = field(default_factory=_no_iterations)
    metrics: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    skipped: npt.NDArray[np.int64] = field(default_factory=_no_iterations)

    def best(self) -> int | None:
        """Return the index of the first evaluation with the lowest `abs_rel`; None without one."""
        errors = self.metrics.get("abs_rel")
        if errors is None or np.isnan(errors).all():
            return None
        return int(np.nanargmin(errors))


@dataclass(frozen=True, eq=False)
class LossCurve:
    """The loss of a run in at most 1,000 points, each for as many neighbouring iterations.

    Attributes:
        iterations: (P,), the middle iteration of each point.
        low: (P,), the lowest loss of each point's iterations.
        high: (P,), the highest.
        mean: (P,), the mean over the `window` iterations around the middle one, or those of them
            that the run has.
        learning_rate: (P,), of the middle iteration.
        size: Iterations of a point; the last may have fewer.
        window: Iterations of the mean, a twentieth of the run's; 1 in runs too short for a mean.
    """

    iterations: npt.NDArray[np.int64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    learning_rate: npt.NDArray[np.float64]
    size: int
    window: int


def loss_curve(curves: TrainingCurves) -> LossCurve | None:
    """Reduce the loss to points of a plot; return None where no loss is finite."""
    known = np.isfinite(curves.loss)
    loss = curves.loss[known]
    count = len(loss)
    if not count:
        return None
    size = -(-count // _MOST_POINTS)
    starts = np.arange(0, count, size)
    ends = np.minimum(starts + size, count)
    middles = (starts + ends - 1) // 2
    reach = count // (2 * _WINDOWS)
    first, last = np.maximum(middles - reach, 0), np.minimum(middles + reach + 1, count)
    sums = np.concatenate(([0.0], np.cumsum(loss)))
    return LossCurve(
        iterations=curves.iterations[known][middles],
        low=np.minimum.reduceat(loss, starts),
        high=np.maximum.reduceat(loss, starts),
        mean=(sums[last] - sums[first]) / (last - first),
        learning_rate=curves.learning_rate[known][middles],
        size=size,
        window=2 * reach + 1,
    )
