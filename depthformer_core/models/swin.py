"""Swin Transformer branch: long-range correlation, at four scales."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn

from depthformer_core.caching import cache_by_shape
from depthformer_core.models.layers import checkpointed

PATCH_SIZE = 4


class SwinBlock(SwinTransformerBlock):  # type: ignore[misc]  # timm is untyped here
    """Swin block for feature maps of any size.

    timm rolls a map and then pads it to whole windows. The networks DepthFormer starts from were
    trained in the other order, which differs where the size is no multiple of the window.

    Args:
        dim: Channels.
        num_heads: Attention heads.
        window_size: Side of a window, tokens.
        shift: Whether windows are shifted by half a window.
        drop_path: Stochastic depth probability.
    """

    def __init__(
        self, dim: int, *, num_heads: int, window_size: int, shift: bool, drop_path: float
    ) -> None:
        super().__init__(
            dim,
            input_resolution=(window_size, window_size),
            num_heads=num_heads,
            window_size=window_size,
            shift_size=window_size // 2 if shift else 0,
            always_partition=True,
            dynamic_mask=True,
            drop_path=drop_path,
        )

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = self.window_size[0]
        # What the attention's first layer would do, before the map is rearranged instead of after.
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        attended: Tensor = super()._attn(x)
        return attended[:, :height, :width]

    def get_attn_mask(
        self,
        x: Tensor | None = None,
        device: torch.device | None = None,  # noqa: ARG002  # timm's signature
        dtype: torch.dtype | None = None,  # noqa: ARG002
    ) -> Tensor | None:
        """Return the mask of tokens that only the roll made neighbours, for a map (B, H, W, C)."""
        shift = self.shift_size[0]
        if not shift or x is None:
            return None
        mask = _shifted_window_mask(x.shape[1], x.shape[2], self.window_size[0], shift, x.device)
        return mask.to(x.dtype)


@cache_by_shape(16)
def _shifted_window_mask(
    height: int, width: int, window: int, shift: int, device: torch.device
) -> Tensor:
    """Return (windows, window**2, window**2): 0 within a region of the rolled map, -100 across."""

    def regions(size: int) -> Tensor:
        position = torch.arange(size, device=device)
        return (position >= size - window).long() + (position >= size - shift).long()

    label = regions(height)[:, None] * 3 + regions(width)  # H W
    label = label.view(height // window, window, width // window, window)
    label = label.transpose(1, 2).reshape(-1, window * window)
    return torch.where(label[:, None] == label[:, :, None], 0.0, -100.0)


class SwinStage(nn.Module):
    """Blocks of one scale, behind the merging that leads to it.

    Args:
        dim: Channels.
        depth: Blocks.
        num_heads: Attention heads.
        window_size: Side of a window, tokens.
        drop_path: Stochastic depth probability of each block.
        downsample: Whether the stage reads a map of half the channels at twice the resolution.
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        num_heads: int,
        window_size: int,
        drop_path: Sequence[float],
        downsample: bool,
    ) -> None:
        super().__init__()
        self.downsample = PatchMerging(dim // 2, dim) if downsample else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                SwinBlock(
                    dim,
                    num_heads=num_heads,
                    window_size=window_size,
                    shift=index % 2 == 1,
                    drop_path=drop_path[index],
                )
                for index in range(depth)
            )
        )

    def forward(self, x: Tensor, *, activation_checkpointing: bool = False) -> Tensor:
        """Map (B, H, W, C) to the same shape, or (B, ceil(H / 2), ceil(W / 2), 2C) downsampled.

        With `activation_checkpointing`, the backward pass computes each block again.
        """
        x = self.downsample(x)
        for block in self.blocks:
            x = checkpointed(block, x, enabled=activation_checkpointing)
        return x


class SwinTransformer(nn.Module):
    """Swin Transformer with an output at every scale (Liu et al., arXiv 2103.14030).

    Parameter names are timm's, so its ImageNet weights load as they are.

    Args:
        embed_dim: Channels of the first stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        window_size: Side of a window, tokens.
        drop_path: Largest stochastic depth probability; it grows linearly over the blocks.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=PATCH_SIZE,
            embed_dim=embed_dim,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        blocks = sum(depths)
        rates = [drop_path * block / max(1, blocks - 1) for block in range(blocks)]
        self.layers = nn.ModuleList(
            SwinStage(
                embed_dim * 2**stage,
                depth=depth,
                num_heads=num_heads[stage],
                window_size=window_size,
                drop_path=rates[sum(depths[:stage]) :][:depth],
                downsample=stage > 0,
            )
            for stage, depth in enumerate(depths)
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(embed_dim * 2**stage) for stage in range(len(depths))
        )

    def forward(self, image: Tensor, *, activation_checkpointing: bool = False) -> list[Tensor]:
        """Compute the features of every scale.

        Args:
            image: Normalised, (B, 3, H, W); padded at the right and bottom to whole patches.
            activation_checkpointing: Whether the backward pass computes each block again.

        Returns:
            One (B, C * 2**i, ceil(H / (4 * 2**i)), ceil(W / (4 * 2**i))) a stage, finest first.
        """
        x = self.patch_embed(image)
        features = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = layer(x, activation_checkpointing=activation_checkpointing)
            feature = norm(x).permute(0, 3, 1, 2)
            # Convolutions read channels last, but on a CPU their gradients are faster without.
            planes = torch.is_grad_enabled() and not feature.is_cuda
            features.append(feature.contiguous() if planes else feature)
        return features
