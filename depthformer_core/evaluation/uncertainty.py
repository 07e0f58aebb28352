"""Quality of predicted uncertainty: calibration, and sorting of pixels by error."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.comparison import Comparison

# Scales up to 4, and shares of the pixels that are left out: 0 to 90 %.
_PER_SCALE = 20
_SCALES = np.arange(4 * _PER_SCALE + 1) / _PER_SCALE
_PER_TENTH = 5
_REMOVED = np.arange(9 * _PER_TENTH + 1) / (10 * _PER_TENTH)

TABLE_COLUMNS = ("within 1 scale", "within 2 scales", "abs_rel", "abs_rel without 10 %", "AUSE")


@dataclass(frozen=True)
class Uncertainty:
    """Calibration of an uncertainty, and its sorting of pixels by error.

    Attributes:
        pixels: Compared pixels that have an uncertainty.
        scales: Multiples of the uncertainty, ascending from 0.
        within: Share of the pixels with truth within so many scales of the prediction.
        removed: Shares of the most uncertain pixels of each image that are left out, ascending
            from 0.
        abs_rel: Mean over images of the `abs_rel` of the pixels that remain (sparsification).
            Pixels are sorted by uncertainty / prediction, because `abs_rel` is relative too;
            equally uncertain ones are left out at random.
        oracle: The same if pixels are sorted by their true relative error: no uncertainty does
            better.
    """

    pixels: int
    scales: list[float]
    within: list[float]
    removed: list[float]
    abs_rel: list[float]
    oracle: list[float]

    @property
    def within_one(self) -> float:
        """Share of the truth within one scale; 0.632 of a Laplace distribution."""
        return self.within[_PER_SCALE]

    @property
    def within_two(self) -> float:
        """Share of the truth within two scales; 0.865 of a Laplace distribution."""
        return self.within[2 * _PER_SCALE]

    @property
    def abs_rel_without_tenth(self) -> float:
        """`abs_rel` without the most uncertain tenth of each image."""
        return self.abs_rel[_PER_TENTH]

    @property
    def oracle_without_tenth(self) -> float:
        """`abs_rel` without the tenth of each image with the largest relative error."""
        return self.oracle[_PER_TENTH]

    @property
    def ause(self) -> float:
        """Area between `abs_rel` and `oracle` over `removed`, relative to the first `abs_rel`.

        Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow (ECCV
        2018). 0 is best; NaN where there is no error.
        """
        return self._area(self.abs_rel)

    @property
    def random_ause(self) -> float:
        """`ause` of an uninformative uncertainty, which removes pixels at random."""
        return self._area([self.abs_rel[0]] * len(self.removed))

    def table(self) -> list[tuple[str, list[float]]]:
        """Return rows of `TABLE_COLUMNS` by name: the result, the best possible, and chance."""
        whole = self.abs_rel[0]
        ideal = laplace_within((1, 2)).tolist()
        return [
            (
                "predicted",
                [self.within_one, self.within_two, whole, self.abs_rel_without_tenth, self.ause],
            ),
            ("ideal", [*ideal, whole, self.oracle_without_tenth, 0.0]),
            ("random", [math.nan, math.nan, whole, whole, self.random_ause]),
        ]

    def _area(self, curve: list[float]) -> float:
        if not self.abs_rel[0]:
            return math.nan
        gap = np.subtract(curve, self.oracle)
        return float(np.sum((gap[1:] + gap[:-1]) / 2 * np.diff(self.removed)) / self.abs_rel[0])


def laplace_within(scales: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the share of a Laplace distribution within so many scales of its centre."""
    return -np.expm1(-np.asarray(scales, np.float64))


class UncertaintyAccumulator:
    """Counts and curves, of bounded size however many images are added."""

    def __init__(self) -> None:
        self._pixels = 0
        self._images = 0
        self._within = np.zeros(len(_SCALES), np.int64)
        self._abs_rel = np.zeros(len(_REMOVED))
        self._oracle = np.zeros(len(_REMOVED))

    def add(self, comparison: Comparison) -> None:
        """Add the pixels of an image that have an uncertainty.

        Raises:
            ValueError: An uncertainty is negative.
        """
        if comparison.uncertainty is None:
            return
        counted = comparison.scored & np.isfinite(comparison.uncertainty)
        if not counted.any():
            return
        truth, prediction, scale = (
            values[counted].astype(np.float64)
            for values in (comparison.truth, comparison.prediction, comparison.uncertainty)
        )
        if scale.min() < 0:
            raise DepthFormerError(
                f"the uncertainty of {comparison.file} must not be negative, got {scale.min()}"
            )
        error = np.abs(prediction - truth)
        # Where both are 0, the truth is within any number of scales.
        ratio = np.where(error > 0, np.inf, 0.0)
        np.divide(error, scale, out=ratio, where=scale > 0)
        places = np.digitize(ratio, _SCALES, right=True)
        self._within += np.cumsum(np.bincount(places, minlength=len(_SCALES) + 1))[:-1]
        relative = error / truth
        self._abs_rel += _sparsification(relative, rank=scale / prediction)
        self._oracle += _sparsification(relative, rank=relative)
        self._pixels += len(error)
        self._images += 1

    def merge(self, other: "UncertaintyAccumulator") -> None:
        """Add the images of another one."""
        self._within += other._within
        self._abs_rel += other._abs_rel
        self._oracle += other._oracle
        self._pixels += other._pixels
        self._images += other._images

    def result(self) -> Uncertainty | None:
        """Return the result; None where no pixel has an uncertainty."""
        if not self._images:
            return None
        return Uncertainty(
            pixels=self._pixels,
            scales=_SCALES.tolist(),
            within=(self._within / self._pixels).tolist(),
            removed=_REMOVED.tolist(),
            abs_rel=(self._abs_rel / self._images).tolist(),
            oracle=(self._oracle / self._images).tolist(),
        )


def _sparsification(
    errors: npt.NDArray[np.float64], *, rank: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Average the errors (N) that remain without each of `_REMOVED`, the largest ranks first."""
    _, groups, counts = np.unique(rank, return_inverse=True, return_counts=True)
    # Of equal ranks, any may go: each has the mean error of all of them.
    means = np.bincount(groups, weights=errors) / counts
    sums = np.cumsum(np.repeat(means, counts))
    kept = np.maximum(1, np.rint(len(errors) * (1 - _REMOVED)).astype(np.int64))
    return np.asarray(sums[kept - 1] / kept)
