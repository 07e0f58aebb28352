"""Operators that PyTorch does not have."""

from depthformer_core.ops.deformable_attention import ms_deform_attn

__all__ = ["ms_deform_attn"]
