"""DepthFormer: metric depth from one camera image."""

from depthformer_core.models import DepthFormer, create_model
from depthformer_core.predictor import DepthPredictor, Prediction
from depthformer_core.presets import PRESETS

__all__ = ["DepthPredictor", "Prediction", "DepthFormer", "create_model", "PRESETS"]
