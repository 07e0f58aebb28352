"""The network and its parts."""

from depthformer_core.models.depthformer import DepthFormer, create_model

__all__ = ["DepthFormer", "create_model"]
