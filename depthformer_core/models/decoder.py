"""Dense decoder: from the coarsest feature back to half the image's resolution."""

import contextlib
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthformer_core.models.layers import checkpointed, join

NEGATIVE_SLOPE = 0.01
"""Slope of the decoder's LeakyReLU."""


class UpBlock(nn.Module):
    """Upsampling of a feature to the next finer one, and fusion of the two.

    Args:
        in_dim: Channels of the coarse feature.
        skip_dim: Channels of the fine feature, and of the result.
    """

    def __init__(self, in_dim: int, skip_dim: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(in_dim + skip_dim, skip_dim, kernel_size=3, padding=1)
        self.conv_b = nn.Conv2d(skip_dim, skip_dim, kernel_size=3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map a coarse (B, in_dim, h, w) and a fine (B, skip_dim, H, W) to (B, skip_dim, H, W)."""
        # Autocast computes this in float32 and returns float32, for the gradients. Without them
        # a GPU writes half as much: rounded here or before the convolution is the same.
        whole = x.is_cuda and not torch.is_grad_enabled()
        with torch.autocast(x.device.type, enabled=False) if whole else contextlib.nullcontext():
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
        x = join((x, skip))
        x = F.leaky_relu(self.conv_a(x), NEGATIVE_SLOPE, inplace=True)
        return F.leaky_relu(self.conv_b(x), NEGATIVE_SLOPE, inplace=True)


class Decoder(nn.Module):
    """DenseDepth decoder (Alhashim and Wonka, arXiv 1812.11941) without normalisation.

    Args:
        feature_dims: Channels of the features, finest first.
    """

    def __init__(self, feature_dims: Sequence[int]) -> None:
        super().__init__()
        coarse_to_fine = list(reversed(feature_dims))
        self.bottleneck = nn.Conv2d(coarse_to_fine[0], coarse_to_fine[0], kernel_size=1)
        self.blocks = nn.ModuleList(
            UpBlock(coarse, fine) for coarse, fine in itertools.pairwise(coarse_to_fine)
        )
        # As mmcv draws them for the release.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE, mode="fan_out")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(
        self, features: Sequence[Tensor], *, activation_checkpointing: bool = False
    ) -> Tensor:
        """Blend features (B, C, H, W), finest first, into one of the finest one's shape.

        With `activation_checkpointing`, the backward pass computes each block again.
        """
        *finer, coarsest = features
        x: Tensor = self.bottleneck(coarsest)
        for block, skip in zip(self.blocks, reversed(finer), strict=True):
            x = checkpointed(block, x, skip, enabled=activation_checkpointing)
        return x
