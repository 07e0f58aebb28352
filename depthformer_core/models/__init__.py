"""The network and its parts."""

from depthformer_core.models.depthformer import DepthFormer, create_model
from depthformer_core.models.frozen import freeze

__all__ = ["DepthFormer", "create_model", "freeze"]
