"""Convolution branch: local detail, read from the image itself."""

from torch import Tensor, nn

from depthformer_core.config import Norm
from depthformer_core.models.layers import norm_layer


class ConvStem(nn.Module):
    """One 7x7 convolution to half the image's resolution (DepthFormer, section 3.1).

    Args:
        dim: Channels of the feature.
        norm: Normalisation.
    """

    def __init__(self, dim: int, *, norm: Norm = "batch") -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, dim, kernel_size=7, stride=2, padding=3, bias=False)
        self.norm = norm_layer(norm, dim)
        self.act = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to (B, dim, ceil(H / 2), ceil(W / 2))."""
        feature: Tensor = self.act(self.norm(self.conv(image)))
        return feature
