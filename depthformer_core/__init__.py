"""DepthFormer: metric depth from one camera image."""

from depthformer_core.openmp import shorten_waits

# PyTorch reads it while it is imported.
shorten_waits()

from depthformer_core.models import DepthFormer, create_model  # noqa: E402
from depthformer_core.predictor import DepthPredictor, Prediction  # noqa: E402
from depthformer_core.presets import PRESETS  # noqa: E402

__all__ = ["DepthPredictor", "Prediction", "DepthFormer", "create_model", "PRESETS"]
