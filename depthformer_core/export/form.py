"""The form of a network in which it is exported: frozen, for one size of image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthformer_core.export.attention import GatherAttention
from depthformer_core.models import DepthFormer
from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.models.positional import PositionalEncoding
from depthformer_core.models.swin import SwinBlock
from depthformer_core.models.upsampling import ConvexUpsampling

_CONSTANTS = ("query_encoding", "reference_points", "spatial_shapes")


@dataclass(frozen=True)
class AttentionCall:
    """A deformable attention of a network, with what it is called with for one size of image.

    Attributes:
        attention: The attention, frozen.
        query_encoding: Of its queries.
        reference_points: Of its queries.
        spatial_shapes: Of the maps that it reads.
    """

    attention: DeformableAttention
    query_encoding: PositionalEncoding
    reference_points: Tensor
    spatial_shapes: Sequence[tuple[int, int]]


def export_form(model: DepthFormer, height: int, width: int) -> dict[str, AttentionCall]:
    """Prepare a network for export, in place.

    The predictions stay those of the network. It accepts a batch of one image of that size alone.

    Args:
        model: A frozen network, on the CPU.
        height: Rows of the images.
        width: Their columns.

    Returns:
        The attentions that were replaced, by their names.
    """
    seen = _arguments(model, torch.zeros(1, 3, height, width))
    calls = {}
    for name, module in list(model.named_modules()):
        replacement: nn.Module | None = None
        if isinstance(module, DeformableAttention):
            _, given = seen[name]
            constants = {key: given[key] for key in _CONSTANTS}
            calls[name] = AttentionCall(module, **constants)
            replacement = GatherAttention(module, **constants)
        elif isinstance(module, SwinBlock):
            (feature,), _ = seen[name]
            replacement = WindowBlock(module, feature.shape[1], feature.shape[2])
        elif isinstance(module, ConvexUpsampling):
            replacement = UnrolledUpsampling(module)
        if replacement is not None:
            model.set_submodule(name, replacement.eval())
    return calls


def _arguments(model: DepthFormer, image: Tensor) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return what attentions and Swin blocks are called with, by their names."""
    seen: dict[str, tuple[Any, dict[str, Any]]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, (DeformableAttention, SwinBlock)):

            def note(_: nn.Module, args: Any, kwargs: dict[str, Any], name: str = name) -> None:
                seen[name] = args, kwargs

            hooks.append(module.register_forward_pre_hook(note, with_kwargs=True))
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


class WindowBlock(nn.Module):
    """`SwinBlock` for maps of one size.

    Padding, roll and windows are one gather, and so is the way back.

    Args:
        block: The block of a frozen network; its layers are used.
        height: Rows of the map.
        width: Its columns.
    """

    windows: Tensor
    back: Tensor
    bias: Tensor

    def __init__(self, block: SwinBlock, height: int, width: int) -> None:
        super().__init__()
        attention = block.attn
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.qkv, self.proj, self.heads = attention.qkv, attention.proj, attention.heads
        side, shift = block.window_size[0], block.shift_size[0]
        rows, columns = -(-height // side) * side, -(-width // side) * side
        # Padding reads a row of zeros behind the map.
        pixels = torch.full((rows, columns), height * width)
        pixels[:height, :width] = torch.arange(height * width).view(height, width)
        pixels = pixels.roll((-shift, -shift), (0, 1))
        pixels = pixels.view(rows // side, side, columns // side, side).transpose(1, 2)
        self.padded = rows * columns > height * width
        self.tokens = side * side
        self.register_buffer("windows", pixels.flatten().int())
        self.register_buffer("back", pixels.flatten().argsort()[: height * width].int())
        bias = attention.bias[None].float()
        mask = block.get_attn_mask(torch.zeros(1, rows, columns, 1))
        if mask is not None:
            bias = bias + mask[:, None]
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, H, W, C) to the same shape."""
        shape = x.shape
        # With a batch: OpenVINO ends the process where few tokens have none.
        x = x.flatten(1, 2)
        x = x + self._attend(self.norm1(x)[0])[None]
        x = x + self.mlp(self.norm2(x))
        return x.view(shape)

    def _attend(self, x: Tensor) -> Tensor:
        if self.padded:
            x = F.pad(x, (0, 0, 0, 1))
        x = x.index_select(0, self.windows)
        parts = self.qkv(x).view(-1, self.tokens, 3, self.heads, x.shape[1] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        scale = query.shape[-1] ** -0.5
        logits = (query * scale) @ key.transpose(2, 3) + self.bias
        attended = (logits.softmax(dim=-1) @ value).transpose(1, 2).reshape(len(x), -1)
        return self.proj(attended.index_select(0, self.back))  # type: ignore[no-any-return]


class UnrolledUpsampling(nn.Module):
    """`ConvexUpsampling` with its softmax over nine neighbours written out.

    ONNX Runtime's softmax over the first of several axes takes a fifth of a frame of `small`.

    Args:
        upsampling: The upsampling of a frozen network; its layers are used.
    """

    def __init__(self, upsampling: ConvexUpsampling) -> None:
        super().__init__()
        self.hidden = upsampling.hidden
        self.weights = upsampling.weights

    def forward(self, depth: Tensor, feature: Tensor) -> Tensor:
        """Upsample maps, as `ConvexUpsampling` does."""
        height, width = depth.shape[2:]
        logits = self.weights(F.relu(self.hidden(feature)))
        neighbours = logits.float().chunk(9, dim=1)  # 1 4 h w
        largest = neighbours[0]
        for neighbour in neighbours[1:]:
            largest = torch.maximum(largest, neighbour)
        padded = F.pad(depth.float(), (1, 1, 1, 1), mode="replicate").transpose(0, 1)
        weights = [(neighbour - largest).exp() for neighbour in neighbours]
        total = weights[0]
        for weight in weights[1:]:
            total = total + weight
        fine = None
        for index, weight in enumerate(weights):
            row, column = divmod(index, 3)
            around = padded[..., row : row + height, column : column + width] * weight  # C 4 h w
            fine = around if fine is None else fine + around
        assert fine is not None
        return F.pixel_shuffle((fine / total).flatten(0, 1)[None], 2)
