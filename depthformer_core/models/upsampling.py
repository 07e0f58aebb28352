"""Learnt upsampling from the decoder's resolution to the image's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NEIGHBOURS = 9  # a 3x3 window of the coarse depth
_FACTOR = 2
# Before training, a neighbour that bilinear interpolation does not use weighs about 0.01.
_UNUSED = 1e-2


class ConvexUpsampling(nn.Module):
    """Convex upsampling by two, with learnt weights (Teed and Deng, RAFT, arXiv 2003.12039).

    Each fine pixel is a mean of the 3x3 coarse pixels around it, with weights that the network
    computes from the feature: beside an edge it can take those of its own side alone, where
    interpolation mixes both into flying pixels. It starts as bilinear interpolation.

    Args:
        dim: Channels of the feature.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(dim, 2 * dim, kernel_size=3, padding=1)
        self.weights = nn.Conv2d(2 * dim, _NEIGHBOURS * _FACTOR**2, kernel_size=1)
        nn.init.zeros_(self.weights.weight)
        # The stem's stride puts coarse pixel i on fine pixel 2i; 2i + 1 lies halfway to the next.
        near = torch.tensor([[_UNUSED, 1, _UNUSED], [_UNUSED, 0.5, 0.5]])  # offset, neighbour
        start = torch.einsum("ay,bx->yxab", near, near)
        if self.weights.bias is not None:
            with torch.no_grad():
                self.weights.bias.copy_(start.log().flatten())

    def forward(self, depth: Tensor, feature: Tensor) -> Tensor:
        """Upsample maps.

        Args:
            depth: (B, C, h, w), maps of depth or of its scale, metres; all take the same weights.
            feature: (B, dim, h, w).

        Returns:
            (B, C, 2h, 2w), metres, float32; nowhere less or more than the pixels around.
        """
        batch, _, height, width = depth.shape
        hidden = F.relu(self.hidden(feature), inplace=True).permute(0, 2, 3, 1).flatten(0, 2)
        # The 1x1 convolution as a product that has the neighbours first: on a CPU, softmax
        # and sum over them take half the time then.
        assert self.weights.bias is not None
        logits = torch.addmm(self.weights.bias[:, None], self.weights.weight.flatten(1), hidden.t())
        weights = logits.float().view(_NEIGHBOURS, _FACTOR**2, batch, height, width).softmax(dim=0)
        padded = F.pad(depth.float(), (1, 1, 1, 1), mode="replicate").transpose(0, 1)[:, None]
        around = [padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)]
        fine = around[0] * weights[0]  # C 4 B h w
        for neighbour, weight in zip(around[1:], weights[1:], strict=True):
            fine = torch.addcmul(fine, neighbour, weight)
        return F.pixel_shuffle(fine.permute(2, 0, 1, 3, 4).flatten(1, 2), _FACTOR)
