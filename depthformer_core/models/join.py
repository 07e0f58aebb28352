"""Concatenation of features."""

from collections.abc import Sequence

import torch
from torch import Tensor


def join(features: Sequence[Tensor]) -> Tensor:
    """Concatenate features (B, C, H, W) along their channels.

    Of features that have their channels last whole pixels are copied then, which is several times
    as fast as `torch.cat` along the channels.
    """
    if all(feature.stride(1) == 1 for feature in features):
        pixels = [feature.permute(0, 2, 3, 1) for feature in features]
        return torch.cat(pixels, dim=3).permute(0, 3, 1, 2)
    return torch.cat(tuple(features), dim=1)
