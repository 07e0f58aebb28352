"""Multi-scale deformable attention in PyTorch's own operators: wherever PyTorch runs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Samples gathered at a time: bounds the temporaries, and what is in flight stays in the caches.
_SAMPLES_PER_CHUNK = 2**20


def attend(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn` by `embedding_bag`, a chunk of queries after another.

    All four corners of a sample are gathered by one call, which makes no large temporaries.
    """
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


def gradients(
    gradient: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of `ms_deform_attn` by those of `grid_sample`.

    They come out of one compiled loop a level, where those of `embedding_bag` sort all indices.
    Samples are taken again, a chunk of queries after another, instead of being kept.

    Args:
        gradient: (B, Q, heads * dim), of the output.
        value: As for `ms_deform_attn`.
        spatial_shapes: As for `ms_deform_attn`.
        sampling_locations: As for `ms_deform_attn`.
        attention_weights: As for `ms_deform_attn`.

    Returns:
        The gradients of value, locations and weights, in their types.
    """
    batch, _, heads, dim = value.shape
    queries = sampling_locations.shape[1]
    # Images and heads become grid_sample's batch. Beyond one map's size outside, a sample is
    # zero however far it is.
    values = value.float().permute(0, 2, 3, 1).flatten(0, 1)  # B*heads dim rows
    grids = sampling_locations.float().clamp(-1, 2).mul(2).sub(1).transpose(1, 2).flatten(0, 1)
    weights = attention_weights.float().transpose(1, 2).flatten(0, 1)  # B*heads Q levels points
    by_head = gradient.float().reshape(batch, queries, heads, dim)
    by_head = by_head.permute(0, 2, 3, 1).flatten(0, 1)  # B*heads dim Q
    value_gradient = torch.zeros_like(values)
    location_gradient = torch.empty_like(grids)
    weight_gradient = torch.empty_like(weights)
    chunk = _queries_per_chunk(sampling_locations)
    start = 0
    for level, (height, width) in enumerate(spatial_shapes):
        pixels = slice(start, start + height * width)
        start += height * width
        image = values[:, :, pixels].unflatten(2, (height, width)).contiguous()
        image_gradient = torch.zeros_like(image)
        for first in range(0, queries, chunk):
            part = slice(first, first + chunk)
            grid = grids[:, part, level].contiguous()
            arriving = by_head[:, :, part, None]
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
        # The grid spans -1 to 1, a location 0 to 1.
        back(2 * location_gradient, sampling_locations),
        back(weight_gradient, attention_weights),
    )


def attend_fused(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
) -> Tensor:
    """Compute `fused_deform_attn`, a chunk of queries after another."""
    samples = value.shape[0] * logits.shape[2]
    chunk = max(1, _SAMPLES_PER_CHUNK // max(1, samples))
    outputs = []
    for start in range(0, logits.shape[1], chunk):
        part = slice(start, start + chunk)
        locations, weights = locate(
            value, spatial_shapes, offsets[:, part], logits[:, part], reference_points[part]
        )
        outputs.append(attend(value, spatial_shapes, locations, weights))
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]


def locate(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
) -> tuple[Tensor, Tensor]:
    """Turn what `fused_deform_attn` takes into what `ms_deform_attn` takes.

    Returns:
        Locations (B, Q, heads, levels, points, 2) and weights (B, Q, heads, levels, points), both
        float32.
    """
    shape = (*logits.shape[:2], value.shape[2], len(spatial_shapes), -1)
    weights = logits.reshape(*shape[:3], -1).float().softmax(dim=-1).view(shape)
    # Offsets are in pixels of the level they point into.
    sizes = torch.tensor([(w, h) for h, w in spatial_shapes], device=value.device)
    offsets = offsets.reshape(*shape, 2).float()
    locations = reference_points.view(1, -1, 1, 1, 1, 2) + offsets / sizes[:, None]
    return locations, weights


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
