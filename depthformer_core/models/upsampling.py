"""From the decoder's resolution to the image's, with edges kept."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NEIGHBOURS = 9  # a 3x3 window of the coarse depth
_FACTOR = 2
# Before training, a neighbour that bilinear interpolation leaves out weighs about a hundredth.
_LEFT_OUT = 1e-2


class ConvexUpsampling(nn.Module):
    """Double a depth map's resolution by learnt weighted means (Teed and Deng, arXiv 2003.12039).

    Each fine pixel is a mean of the 3x3 coarse pixels around it, whose weights the network reads
    off the feature: beside an edge it can take those of its own side alone, where interpolation
    mixes both into a depth at which nothing is. It starts as bilinear interpolation.

    Args:
        dim: Channels of the feature.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(dim, 2 * dim, kernel_size=3, padding=1)
        self.weights = nn.Conv2d(2 * dim, _NEIGHBOURS * _FACTOR**2, kernel_size=1)
        nn.init.zeros_(self.weights.weight)
        # The stem's stride puts coarse pixel i on fine pixel 2i; 2i + 1 lies halfway to the next.
        near = torch.tensor([[_LEFT_OUT, 1, _LEFT_OUT], [_LEFT_OUT, 0.5, 0.5]])  # offset, neighbour
        start = torch.einsum("ay,bx->yxab", near, near)
        if self.weights.bias is not None:
            with torch.no_grad():
                self.weights.bias.copy_(start.log().flatten())

    def forward(self, depth: Tensor, feature: Tensor) -> Tensor:
        """Upsample.

        Args:
            depth: (B, C, h, w), maps of depth or of its scale, metres; all take the same weights.
            feature: (B, dim, h, w).

        Returns:
            (B, C, 2h, 2w), metres, float32; nowhere less or more than the pixels around.
        """
        weights: Tensor = self.weights(F.relu(self.hidden(feature)))
        weights = weights.float().unflatten(1, (_NEIGHBOURS, _FACTOR**2)).softmax(dim=1)
        padded = F.pad(depth.float(), (1, 1, 1, 1), mode="replicate")
        height, width = depth.shape[2:]
        around = torch.stack(
            [padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], dim=2
        )
        fine = (weights[:, None] * around[:, :, :, None]).sum(dim=2)  # B C 4 h w
        return F.pixel_shuffle(fine.flatten(1, 2), _FACTOR)
