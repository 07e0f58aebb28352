"""Prediction and truth of one image, side by side."""

import functools
from dataclasses import dataclass

import numpy as np

from depthformer_core.types import BoolArray, FloatingArray, Rgb


@dataclass(frozen=True)
class Comparison:
    """The evaluated part of one image.

    Attributes:
        file: Name of the image.
        rgb: uint8 (H, W, 3).
        truth: (H, W), metres, 0 or NaN where there is none.
        prediction: (H, W), metres, moved into the protocol's range; NaN where there is none.
        valid: (H, W), where the truth counts.
        uncertainty: Scale of a Laplace distribution around the prediction, (H, W), metres, not
            finite where there is none; None without any.
    """

    file: str
    rgb: Rgb
    truth: FloatingArray
    prediction: FloatingArray
    valid: BoolArray
    uncertainty: FloatingArray | None = None

    @functools.cached_property
    def scored(self) -> BoolArray:
        """Mask (H, W) of truth that counts and has a prediction."""
        return np.asarray(self.valid & np.isfinite(self.prediction))
