"""Depth brought to the scale of the truth, image by image, for networks without one."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthformer_core.types import FloatingArray

Alignment = Literal["none", "median", "least-squares"]
"""How a prediction is brought to the truth's scale: not, by one factor, or by factor and shift."""

_FEWEST = 2  # pixels for two unknowns


@dataclass(frozen=True)
class ScaleFit:
    """Scale and shift of the inverse depth: `1 / aligned = scale / prediction + shift`.

    Attributes:
        scale: Without unit; NaN where there was too little to fit.
        shift: 1/m.
    """

    scale: float
    shift: float

    def apply(self, prediction: FloatingArray) -> FloatingArray:
        """Return aligned depth of the same shape and type; infinite where nothing is left of it.

        NaN stays, and everything is NaN without a fit.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = self.scale / prediction + self.shift
            aligned = np.where(inverse <= 0, np.inf, 1 / inverse)
        return aligned.astype(prediction.dtype)


def fit_scale(prediction: FloatingArray, truth: FloatingArray, alignment: Alignment) -> ScaleFit:
    """Fit a prediction to the truth.

    `median` divides by the ratio of the medians (Zhou et al., CVPR 2017). `least-squares` fits
    scale and shift of the inverse depth (Ranftl et al., TPAMI 2022), which is what networks of
    relative depth leave open.

    Args:
        prediction: (N,), positive, metres or in any other unit; may be infinite.
        truth: (N,), metres, positive and finite.
        alignment: What is fitted; `none` returns the fit that changes nothing.
    """
    if alignment == "none":
        return ScaleFit(1.0, 0.0)
    if alignment == "median":
        if not truth.size:
            return ScaleFit(math.nan, 0.0)
        return ScaleFit(float(np.median(prediction)) / float(np.median(truth)), 0.0)
    if truth.size < _FEWEST:
        return ScaleFit(math.nan, 0.0)
    given, wanted = 1 / prediction.astype(np.float64), 1 / truth.astype(np.float64)
    middle, target = given.mean(), wanted.mean()
    spread = float(np.sum((given - middle) ** 2))
    if spread == 0:
        return ScaleFit(math.nan, 0.0)
    scale = float(np.sum((given - middle) * (wanted - target))) / spread
    return ScaleFit(scale, float(target - scale * middle))
