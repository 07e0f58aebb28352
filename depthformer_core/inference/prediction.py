"""Depth of one image."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from depthformer_core.types import BoolArray, FloatArray


@dataclass(frozen=True)
class Prediction:
    """Depth of one image.

    Attributes:
        depth: float32 (H, W), metres along the optical axis; NaN outside the network's crop, and
            where the camera saw nothing, see `unseen_pixels`.
        uncertainty: Scale of a Laplace distribution around the depth, where the network predicts
            one; else, with flip augmentation, half the difference of the two passes: float32
            (H, W), metres, NaN as in `depth`. None where there is neither.
        nonfinite_count: Values of `depth` that are NaN because the network's output is not finite.
        network_seconds: Time of the network, until its prediction was in main memory.
    """

    depth: FloatArray
    uncertainty: FloatArray | None
    nonfinite_count: int = 0
    network_seconds: float = 0.0

    @property
    def valid(self) -> BoolArray:
        """Pixels with a prediction, (H, W)."""
        return np.isfinite(self.depth)

    def without(self, hidden: BoolArray) -> "Prediction":
        """Return the prediction with NaN at the hidden pixels, (H, W)."""
        depth, uncertainty, nan = self.depth, self.uncertainty, np.float32(np.nan)
        if uncertainty is not None:
            uncertainty = np.where(hidden, nan, uncertainty)
        return replace(self, depth=np.where(hidden, nan, depth), uncertainty=uncertainty)

    @property
    def spoiled(self) -> int:
        """Deprecated name of `nonfinite_count`."""
        warn_renamed("Prediction.spoiled", "nonfinite_count")
        return self.nonfinite_count


def warn_renamed(before: str, now: str) -> None:
    """Warn about the use of a name that is another one now."""
    warnings.warn(f"{before} is called {now} now", DeprecationWarning, stacklevel=3)
