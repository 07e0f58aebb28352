"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, section 4.1).

On an NVIDIA GPU its CUDA kernel runs, elsewhere PyTorch's own operators; `attention_path` returns
which.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from depthformer_core.ops import portable_attention
from depthformer_core.ops.attention_operators import (
    deform_attn_operator,
    flatten_shapes,
    fused_deform_attn_operator,
)


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum bilinear samples of several feature maps, each weighted by its attention.

    Samples are taken as by `grid_sample(align_corners=False, padding_mode="zeros")`: location 0 is
    the outer edge of the first pixel, 1 that of the last, and everything outside is zero.
    Coordinates and sums are float32 whatever the type of `value`.

    Args:
        value: (B, sum(H * W), heads, dim), the levels' pixels row by row, levels one after another.
        spatial_shapes: (H, W) of each level, pixels.
        sampling_locations: (B, Q, heads, levels, points, 2), x and y in units of the level's size.
        attention_weights: (B, Q, heads, levels, points), after the softmax.

    Returns:
        (B, Q, heads * dim), of the type of `value`.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    _check_shapes(value, spatial_shapes, sampling_locations, attention_weights)
    inputs = (value, sampling_locations, attention_weights)
    if value.is_cuda or torch.compiler.is_compiling() or _needs_gradient(*inputs):
        output: Tensor = deform_attn_operator(
            value, flatten_shapes(spatial_shapes), sampling_locations, attention_weights
        )
        return output
    return portable_attention.attend(value, spatial_shapes, sampling_locations, attention_weights)


def fused_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
    *,
    attend: Callable[..., Tensor] = ms_deform_attn,
) -> Tensor:
    """Compute `ms_deform_attn` from the outputs of the linear layers of an attention.

    Weights are the softmax of the logits over all levels and points of a head. A sample is taken
    at its reference point plus its offset. The CUDA kernel does this too: without gradients neither
    weights nor locations are ever in memory, with them only in the backward pass.

    Args:
        value: (B, sum(H * W), heads, dim), as for `ms_deform_attn`.
        spatial_shapes: (H, W) of each level, pixels.
        offsets: (B, Q, heads * levels * points * 2), x and y in pixels of their level.
        logits: (B, Q, heads * levels * points), before the softmax.
        reference_points: (Q, 2), x and y in units of every level's size, float32.
        attend: The implementation that sums the samples; any other than `ms_deform_attn` is called
            with the same arguments.

    Returns:
        (B, Q, heads * dim), of the type of `value`.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    _check_fused_shapes(value, spatial_shapes, offsets, logits, reference_points)
    inputs = (value, offsets, logits, reference_points)
    if attend is ms_deform_attn:
        if value.is_cuda or torch.compiler.is_compiling():
            output: Tensor = fused_deform_attn_operator(
                value, flatten_shapes(spatial_shapes), offsets, logits, reference_points
            )
            return output
        if not _needs_gradient(*inputs):
            return portable_attention.attend_fused(
                value, spatial_shapes, offsets, logits, reference_points
            )
    locations, weights = portable_attention.locate(
        value, spatial_shapes, offsets, logits, reference_points
    )
    return attend(value, spatial_shapes, locations, weights)


def _needs_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _check_value(value: Tensor, spatial_shapes: Sequence[tuple[int, int]]) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be (B, rows, heads, dim), got {tuple(value.shape)}")
    if not spatial_shapes or min(map(min, spatial_shapes)) < 1:
        raise ValueError(f"spatial_shapes must be positive, got {spatial_shapes}")
    rows = value.shape[1]
    if (expected := sum(height * width for height, width in spatial_shapes)) != rows:
        raise ValueError(f"spatial_shapes {spatial_shapes} hold {expected} pixels, value {rows}")


def _check_shapes(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    _check_value(value, spatial_shapes)
    batch, _, heads, _ = value.shape
    shape = tuple(sampling_locations.shape)
    if (
        len(shape) != 6
        or shape[0] != batch
        or shape[1] < 1
        or shape[2:4] != (heads, len(spatial_shapes))
        or shape[5] != 2
    ):
        raise ValueError(
            "sampling_locations must be (B, Q, heads, levels, points, 2) with "
            f"B {batch}, heads {heads} and levels {len(spatial_shapes)}, got {shape}"
        )
    if tuple(attention_weights.shape) != shape[:5]:
        raise ValueError(
            f"attention_weights must have shape {shape[:5]}, got {tuple(attention_weights.shape)}"
        )


def _check_fused_shapes(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
) -> None:
    _check_value(value, spatial_shapes)
    batch, _, heads, _ = value.shape
    maps = heads * len(spatial_shapes)
    shape = tuple(logits.shape)
    if len(shape) != 3 or shape[0] != batch or min(shape[1:]) < 1 or shape[2] % maps:
        raise ValueError(
            f"logits must be (B, Q, heads * levels * points) with B {batch}, heads {heads} and "
            f"levels {len(spatial_shapes)}, got {shape}"
        )
    if tuple(offsets.shape) != (*shape[:2], 2 * shape[2]):
        raise ValueError(
            f"offsets must have shape {(*shape[:2], 2 * shape[2])}, got {tuple(offsets.shape)}"
        )
    if tuple(reference_points.shape) != (shape[1], 2):
        raise ValueError(
            f"reference_points must have shape {(shape[1], 2)}, got {tuple(reference_points.shape)}"
        )


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn` by one `grid_sample` per level, its usual implementation.

    It is the reference for values, gradients and time of `ms_deform_attn`. It holds every sample
    of every level at once: at 352x1216 and Swin-L's width that is several times 7 GB.

    Args:
        value: As there.
        spatial_shapes: As there.
        sampling_locations: As there.
        attention_weights: As there.

    Returns:
        As there.
    """
    _check_shapes(value, spatial_shapes, sampling_locations, attention_weights)
    batch, _, heads, dim = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    dtype = value.dtype
    if value.is_cpu and dtype in (torch.bfloat16, torch.float16):
        # There grid_sample rounds places as it rounds values, and reads beyond the map.
        value = value.float()
    maps = value.split([height * width for height, width in spatial_shapes], dim=1)
    samples = []
    for level, (shape, level_value) in enumerate(zip(spatial_shapes, maps, strict=True)):
        image = level_value.permute(0, 2, 3, 1).reshape(batch * heads, dim, *shape)
        grid = sampling_locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
        samples.append(F.grid_sample(image, grid.to(value.dtype), align_corners=False))
    sampled = torch.stack(samples, dim=-2)  # B*heads dim Q levels points
    weights = attention_weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1, points)
    output = (sampled * weights.to(value.dtype)).flatten(-2).sum(-1)  # B*heads dim Q
    return output.view(batch, heads * dim, queries).transpose(1, 2).to(dtype)
