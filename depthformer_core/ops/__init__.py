"""Operators that PyTorch does not have."""

from depthformer_core.ops.attention_kernel import attention_path
from depthformer_core.ops.deformable_attention import fused_deform_attn, ms_deform_attn

__all__ = ["ms_deform_attn", "fused_deform_attn", "attention_path"]
