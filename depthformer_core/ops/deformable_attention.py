"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, section 4.1)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Samples gathered at a time: bounds the temporaries, and what is in flight stays in the caches.
_SAMPLES_PER_CHUNK = 2**20


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum bilinear samples of several feature maps, each weighted by its attention.

    Samples are taken as by `grid_sample(align_corners=False, padding_mode="zeros")`: location 0 is
    the outer edge of the first pixel, 1 that of the last, and everything outside is zero. All four
    corners of a sample are gathered by one `embedding_bag`, which makes no large temporaries and
    runs wherever PyTorch does.

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
    if value.is_cpu and torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        attended: Tensor = _NativeGradient.apply(
            value, spatial_shapes, sampling_locations, attention_weights
        )
        return attended
    return _gather(value, spatial_shapes, sampling_locations, attention_weights)


def _gather(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn` by `embedding_bag`, a chunk of queries after another."""
    batch, rows, heads, dim = value.shape
    queries = sampling_locations.shape[1]
    table = value.reshape(batch * rows * heads, dim)
    # First row of the table that belongs to each image and head.
    base = torch.arange(batch, device=value.device)[:, None] * (rows * heads)
    base = (base + torch.arange(heads, device=value.device)).view(batch, 1, heads, 1, 1)
    chunk = _queries_per_chunk(sampling_locations)
    outputs = []
    for start in range(0, queries, chunk):
        index, weight = _corners(
            sampling_locations[:, start : start + chunk],
            attention_weights[:, start : start + chunk],
            spatial_shapes,
            base,
        )
        output = F.embedding_bag(
            index.flatten(0, 2),
            table,
            mode="sum",
            per_sample_weights=weight.flatten(0, 2).to(value.dtype),
        )  # B*q*heads dim
        outputs.append(output.view(batch, -1, heads * dim))
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]


def _queries_per_chunk(locations: Tensor) -> int:
    batch, _, heads, levels, points, _ = locations.shape
    return max(1, _SAMPLES_PER_CHUNK // max(1, batch * heads * levels * points))


class _NativeGradient(torch.autograd.Function):
    """`ms_deform_attn` whose gradients on the CPU are `grid_sample`'s own.

    They come out of one compiled loop a level, where those of `embedding_bag` sort all indices.
    Samples are taken again, a chunk of queries after another, instead of being kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(value, sampling_locations, attention_weights)
        ctx.spatial_shapes = spatial_shapes
        return _gather(value, spatial_shapes, sampling_locations, attention_weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        value, locations, attention = ctx.saved_tensors
        batch, _, heads, dim = value.shape
        queries = locations.shape[1]
        # Images and heads become grid_sample's batch. Beyond one map's size outside, a sample is
        # zero however far it is.
        values = value.float().permute(0, 2, 3, 1).flatten(0, 1)  # B*heads dim rows
        grids = locations.float().clamp(-1, 2).mul(2).sub(1).transpose(1, 2).flatten(0, 1)
        weights = attention.float().transpose(1, 2).flatten(0, 1)  # B*heads Q levels points
        gradients = gradient.float().view(batch, queries, heads, dim)
        gradients = gradients.permute(0, 2, 3, 1).flatten(0, 1)  # B*heads dim Q
        value_gradient = torch.zeros_like(values)
        location_gradient = torch.empty_like(grids)
        weight_gradient = torch.empty_like(weights)
        chunk = _queries_per_chunk(locations)
        start = 0
        for level, (height, width) in enumerate(ctx.spatial_shapes):
            pixels = slice(start, start + height * width)
            start += height * width
            image = values[:, :, pixels].unflatten(2, (height, width)).contiguous()
            image_gradient = torch.zeros_like(image)
            for first in range(0, queries, chunk):
                part = slice(first, first + chunk)
                grid = grids[:, part, level].contiguous()
                arriving = gradients[:, :, part, None]
                samples = torch.grid_sampler_2d(image, grid, 0, 0, False)
                weight_gradient[:, part, level] = (samples * arriving).sum(dim=1)
                of_image, of_grid = torch.ops.aten.grid_sampler_2d_backward(
                    arriving * weights[:, None, part, level], image, grid, 0, 0, False, [True, True]
                )
                image_gradient += of_image
                location_gradient[:, part, level] = of_grid
            value_gradient[:, :, pixels] = image_gradient.flatten(2)

        def back(heads_first: Tensor, like: Tensor) -> Tensor:
            tensor: Tensor = heads_first.unflatten(0, (batch, heads)).transpose(1, 2)
            return tensor.to(like.dtype)

        return (
            value_gradient.unflatten(0, (batch, heads)).permute(0, 3, 1, 2).to(value.dtype),
            None,
            # The grid spans -1 to 1, a location 0 to 1.
            back(2 * location_gradient, locations),
            back(weight_gradient, attention),
        )


def _check_shapes(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be (B, rows, heads, dim), got {tuple(value.shape)}")
    batch, rows, heads, _ = value.shape
    if (expected := sum(height * width for height, width in spatial_shapes)) != rows:
        raise ValueError(f"spatial_shapes {spatial_shapes} hold {expected} pixels, value {rows}")
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


def _corners(
    locations: Tensor,
    attention: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    base: Tensor,
) -> tuple[Tensor, Tensor]:
    """Find table rows and weights of the four corners of every sample.

    Args:
        locations: (B, q, heads, levels, points, 2), x and y in units of the level's size.
        attention: (B, q, heads, levels, points).
        spatial_shapes: (H, W) of each level.
        base: (B, 1, heads, 1, 1), first table row of each image and head; the rows of one
            pixel's heads follow each other.

    Returns:
        Rows int64 and weights float32, each (B, q, heads, 4 * levels * points): attention times
        bilinear weight, zero outside the level.
    """
    heads, _, points = locations.shape[2:5]

    def per_sample(values: Sequence[int], dtype: torch.dtype) -> Tensor:
        # A whole row of samples as the last axis is what vectorises.
        tensor = torch.tensor(values, dtype=dtype, device=locations.device)
        return tensor.repeat_interleave(points)  # levels*points

    heights, widths = zip(*spatial_shapes, strict=True)
    counts = [height * width for height, width in spatial_shapes]
    starts = [sum(counts[:level]) * heads for level in range(len(counts))]
    columns, column_weights = _bracket(locations[..., 0], per_sample(widths, torch.float32))
    rows, row_weights = _bracket(locations[..., 1], per_sample(heights, torch.float32))
    rows = rows * (per_sample(widths, torch.long) * heads)
    rows = rows + (base + per_sample(starts, torch.long))
    row_weights = row_weights * attention.float().flatten(3).unsqueeze(3)
    index = rows.unsqueeze(4) + (columns * heads).unsqueeze(3)  # B q heads 2 2 levels*points
    weight = row_weights.unsqueeze(4) * column_weights.unsqueeze(3)
    return index.flatten(3), weight.flatten(3)


def _bracket(location: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Find the two pixels around every sample along one axis, and their linear weights.

    Args:
        location: (B, q, heads, levels, points), in units of the level's size.
        size: (levels * points), pixels of each sample's level, float32.

    Returns:
        Pixels int64 within the level and weights float32, zero for pixels outside; each
        (B, q, heads, 2, levels * points).
    """
    # Beyond one pixel outside, a sample is zero however far it is: clamping keeps it an index.
    pixel = location.flatten(3).float() * size - 0.5
    pixel = torch.minimum(pixel.clamp(min=-1), size)
    lower = pixel.detach().floor()
    last = size - 1
    upper_weight = pixel - lower
    lower_weight = (1 - upper_weight) * ((lower >= 0) & (lower < size))
    upper_weight = upper_weight * (lower < last)
    # fmin takes NaN to a pixel; its weights stay NaN.
    pixels = torch.stack((torch.fmin(lower.clamp(min=0), last), torch.fmin(lower + 1, last)), 3)
    return pixels.long(), torch.stack((lower_weight, upper_weight), 3)


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn` the way it is usually written: one `grid_sample` a level.

    What `ms_deform_attn` is compared with, for values, gradients and time. It holds every sample
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
    maps = value.split([height * width for height, width in spatial_shapes], dim=1)
    samples = []
    for level, (shape, level_value) in enumerate(zip(spatial_shapes, maps, strict=True)):
        image = level_value.permute(0, 2, 3, 1).reshape(batch * heads, dim, *shape)
        grid = sampling_locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
        samples.append(F.grid_sample(image, grid.to(value.dtype), align_corners=False))
    sampled = torch.stack(samples, dim=-2)  # B*heads dim Q levels points
    weights = attention_weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1, points)
    output = (sampled * weights.to(value.dtype)).flatten(-2).sum(-1)  # B*heads dim Q
    return output.view(batch, heads * dim, queries).transpose(1, 2)
