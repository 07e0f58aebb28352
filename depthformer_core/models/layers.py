"""Layers and functions that several parts of the network share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthformer_core.config import Norm

_EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """Instance normalisation with an affine map.

    Each channel of each image gets zero mean and unit deviation. Training and inference are the
    same, whatever the batch; BatchNorm's running statistics differ from those of the small batches
    in training.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape, also where an image is a single pixel."""
        if x.device.type == "cpu" and not (x.requires_grad or torch.compiler.is_compiling()):
            return self._normalize(x.float()).to(x.dtype)
        # The gradient of channels last takes twenty times as long on a CPU.
        planes = x.contiguous() if x.requires_grad else x
        # Groups of one channel; `F.group_norm` refuses an image of one pixel.
        normed = torch.group_norm(planes, len(self.weight), self.weight, self.bias, _EPSILON)
        return normed.to(x.dtype)

    def _normalize(self, x: Tensor) -> Tensor:
        """Compute `forward` in two passes.

        Of channels last, `group_norm` on a CPU computes the variance as the mean of squares less
        the square of the mean: where a channel hardly varies, only rounding is left.
        """
        centred = x - x.mean(dim=(2, 3), keepdim=True)
        variance = centred.square().mean(dim=(2, 3), keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + _EPSILON)
        # What rounding left of the mean.
        shift = self.bias[:, None, None] - scale * centred.mean(dim=(2, 3), keepdim=True)
        return torch.addcmul(shift, centred, scale)


def norm_layer(kind: Norm, dim: int) -> nn.Module:
    """Build a normalisation layer of a kind for `dim` channels."""
    return nn.BatchNorm2d(dim) if kind == "batch" else InstanceNorm(dim)


def join(features: Sequence[Tensor]) -> Tensor:
    """Concatenate features (B, C, H, W) along their channels.

    Of features that have their channels last whole pixels are copied then, which is several times
    as fast as `torch.cat` along the channels.
    """
    if all(feature.stride(1) == 1 for feature in features):
        pixels = [feature.permute(0, 2, 3, 1) for feature in features]
        return torch.cat(pixels, dim=3).permute(0, 3, 1, 2)
    return torch.cat(tuple(features), dim=1)


def checkpointed(function: Callable[..., Tensor], *args: object, enabled: bool) -> Tensor:
    """Call a function, with or without activation checkpointing.

    With it, only the arguments are kept, and the backward pass calls the function again. It draws
    the same random numbers again, so dropout repeats. It must change no state: a BatchNorm in it
    would count every batch twice.

    Args:
        function: Of tensors, and of values that need no gradient.
        *args: Its arguments.
        enabled: Whether activations are checkpointed.
    """
    if not enabled:
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False)
    return result
