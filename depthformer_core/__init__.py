"""DepthFormer: metric depth from one camera image."""

from typing import TYPE_CHECKING

from depthformer_core.lazy import lazy_imports
from depthformer_core.openmp import shorten_waits

if TYPE_CHECKING:
    from depthformer_core.inference.predictor import DepthPredictor, Prediction
    from depthformer_core.models import DepthFormer, create_model
    from depthformer_core.presets import PRESETS

# PyTorch reads it while it is imported.
shorten_waits()

__all__ = ["DepthPredictor", "Prediction", "DepthFormer", "create_model", "PRESETS"]

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "DepthPredictor": "inference.predictor",
        "Prediction": "inference.predictor",
        "DepthFormer": "models",
        "create_model": "models",
        "PRESETS": "presets",
    },
)
