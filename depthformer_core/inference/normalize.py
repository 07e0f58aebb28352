"""Normalisation of images by ImageNet's statistics."""

import torch
from torch import Tensor

from depthformer_core.caching import cache_by_shape

MEAN = (123.675, 116.28, 103.53)
"""Mean of values of 0-255, red, green, blue."""

STD = (58.395, 57.12, 57.375)
"""Their deviation."""


def normalize(pixels: Tensor) -> Tensor:
    """Normalise channels-last pixels for a network.

    Args:
        pixels: (..., H, W, 3), RGB, 0-255, of any type.

    Returns:
        (..., 3, H, W), float32, of zero mean and unit deviation over ImageNet.
    """
    offset, scale = _statistics(pixels.shape[-2], pixels.device)
    # A row of pixels is one long vector, which is several times as fast as three values at a time.
    rows = torch.addcmul(offset, pixels.flatten(-2).float(), scale)
    planes: Tensor = rows.unflatten(-1, (-1, 3)).movedim(-1, -3)
    return planes


@cache_by_shape(4)
def _statistics(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return offset and scale of each value in a row of `width` pixels."""
    mean, deviation = torch.tensor((MEAN, STD), device=device).repeat(1, width)
    return -mean / deviation, 1 / deviation
