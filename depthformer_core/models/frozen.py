"""Networks for inference alone: what follows from their weights is computed once."""

import contextlib

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_eval

from depthformer_core.caching import graph_constant
from depthformer_core.models.conv_stem import ConvStem
from depthformer_core.models.depthformer import DepthFormer
from depthformer_core.models.hahi import ConvNormAct


def freeze(
    model: DepthFormer, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DepthFormer:
    """Prepare a network for inference, in place.

    BatchNorm is folded into the convolution before it, weights that mixed precision would round in
    every frame are rounded once, each window's position bias is laid out, and convolutions read
    channels last. The predictions stay those of the network in that precision; its
    parameters have other names and values, so it can be neither trained nor saved.

    Args:
        model: The network.
        device: Where it will run.
        dtype: What matrix products and convolutions are computed in; depth and the neck's reference
            points stay float32.

    Returns:
        The same network, in evaluation mode, on the device.
    """
    model.eval().requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, (ConvStem, ConvNormAct)) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    model.to(device)
    exact = (model.head, model.neck.reference_points)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module not in exact:
            module.to(dtype)
    for module in list(model.modules()):
        if isinstance(attention := getattr(module, "attn", None), WindowAttention):
            module.attn = FrozenWindowAttention(attention)
    return model.to(memory_format=torch.channels_last)


class FrozenWindowAttention(nn.Module):
    """timm's window attention with its position bias laid out.

    Args:
        attention: The attention of a trained network; its layers are used.
    """

    bias: Tensor

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        bias = attention._get_rel_pos_bias()[0]  # heads tokens tokens
        # Of four axes, `channels_last` would move the heads, and no fast attention would take it.
        self.register_buffer("bias", bias.to(attention.qkv.weight.dtype))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let the tokens of each window attend to each other.

        Args:
            x: (B * windows, tokens, C).
            mask: (windows, tokens, tokens), added to the attention; None for none.

        Returns:
            As `x`.
        """
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Of one network in one graph, all of it but the windows is the same in every frame.
        bias = graph_constant(
            ("window bias", id(self)), lambda: self._lay_out_bias(mask, len(x), query.dtype)
        )
        with _fastest_attention(x.device):
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        output: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return output

    def _lay_out_bias(self, mask: Tensor | None, windows: int, dtype: torch.dtype) -> Tensor:
        """Return position bias and mask, (1 or B * windows, heads, tokens, tokens)."""
        bias = self.bias[None].to(dtype)
        if mask is not None:
            bias = (bias + mask[:, None].to(dtype)).repeat(windows // len(mask), 1, 1, 1)
        if bias.is_cuda:
            # Where its rows begin at multiples of eight, a GPU's attention reads it as it is.
            tokens = bias.shape[3]
            bias = F.pad(bias, (0, -tokens % 8))[..., :tokens]
        return bias


def _fastest_attention(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Select the fastest attention of PyTorch for windows of 49 tokens.

    PyTorch prefers others, which take three to four times as long.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        return contextlib.nullcontext()
    return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
