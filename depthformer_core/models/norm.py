"""Normalisation behind the convolutions of stem and neck."""

import torch
from torch import Tensor, nn

from depthformer_core.config import Norm

_EPSILON = 1e-5


class InstanceNorm(nn.Module):
    """Instance normalisation with an affine map.

    Each channel of each image gets zero mean and unit deviation. Training and inference are
    the same, whatever the batch; BatchNorm's running statistics differ
    from those of the small batches in training.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape, also where an image is a single pixel."""
        # The gradient of channels last takes twenty times as long on a CPU.
        planes = x.contiguous() if x.requires_grad else x
        # Groups of one channel; `F.group_norm` refuses an image of one pixel.
        normed = torch.group_norm(planes, len(self.weight), self.weight, self.bias, _EPSILON)
        return normed.to(x.dtype)


def norm_layer(kind: Norm, dim: int) -> nn.Module:
    """Build a normalisation layer of a kind for `dim` channels."""
    return nn.BatchNorm2d(dim) if kind == "batch" else InstanceNorm(dim)
