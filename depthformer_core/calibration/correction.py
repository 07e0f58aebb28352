"""A correction of depth: a rising curve from predicted to true metres."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatArray

MOST_KNOTS = 16
"""Largest number of knots of a curve."""


@dataclass(frozen=True)
class DepthCorrection:
    """Curve of corrected over predicted depth, straight between its knots.

    Outside the knots the ratio of the nearest one holds, so that depth stays positive and no offset
    is continued to where nothing was measured. One knot is one factor; two are factor and offset
    between them.

    Attributes:
        predicted: Predicted depth of the knots, metres, rising.
        corrected: Their corrected depth, metres, rising.

    Raises:
        DepthFormerError: The knots are no such curve.
    """

    predicted: tuple[float, ...]
    corrected: tuple[float, ...]

    def __post_init__(self) -> None:
        """Reject what is no rising curve of positive depth."""
        count = len(self.predicted)
        if not 1 <= count <= MOST_KNOTS or len(self.corrected) != count:
            raise DepthFormerError(
                f"a correction needs 1 to {MOST_KNOTS} knots, each with predicted and corrected "
                f"depth, got {count} and {len(self.corrected)}"
            )
        for name, values in (("predicted", self.predicted), ("corrected", self.corrected)):
            if not all(0 < value < math.inf for value in values):
                raise DepthFormerError(
                    f"{name} depths of a correction must be positive, got {list(values)}"
                )
            if any(high <= low for low, high in itertools.pairwise(values)):
                raise DepthFormerError(
                    f"{name} depths of a correction must rise, got {list(values)}"
                )

    @staticmethod
    def factor(value: float) -> "DepthCorrection":
        """Return the correction that multiplies depth by one factor."""
        return DepthCorrection((1.0,), (value,))

    @property
    def kind(self) -> str:
        """Kind of the curve, in words."""
        kinds = {1: "one factor", 2: "factor and offset"}
        return kinds.get(len(self.predicted), f"curve of {len(self.predicted)} knots")

    @property
    def slopes(self) -> tuple[float, ...]:
        """Slopes below the first knot, between each two, and beyond the last."""
        x, y = self.predicted, self.corrected
        between = [(y[k + 1] - y[k]) / (x[k + 1] - x[k]) for k in range(len(x) - 1)]
        return (y[0] / x[0], *between, y[-1] / x[-1])

    def apply(self, depth: FloatArray) -> FloatArray:
        """Correct depth.

        Args:
            depth: float32 of any shape, metres; NaN and infinity stay.

        Returns:
            float32, of the same shape, metres, at least 0.
        """
        before, *others = map(np.float32, self.slopes)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            corrected = depth * before
            # Each knot adds a hinge: many times as fast as `np.interp` on an image.
            for knot, slope in zip(self.predicted, others, strict=True):
                corrected += (slope - before) * np.maximum(depth - np.float32(knot), 0)
                before = slope
        corrected = np.maximum(corrected, 0)
        np.copyto(corrected, depth, where=np.isinf(depth))
        return np.asarray(corrected, np.float32)

    def slope(self, depth: FloatArray) -> FloatArray:
        """Return the slopes at predicted depths, by which small differences there are multiplied.

        Args:
            depth: float32 of any shape, metres.

        Returns:
            float32, of the same shape, positive.
        """
        first, *others = self.slopes
        slopes = np.full(depth.shape, first, np.float32)
        before = first
        for knot, after in zip(self.predicted, others, strict=True):
            slopes += np.float32(after - before) * (depth > np.float32(knot))
            before = after
        return slopes
