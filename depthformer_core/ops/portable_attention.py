"""Multi-scale deformable attention in PyTorch's own operators: wherever PyTorch runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Samples at a time. On a CPU what is in flight then stays in a core's caches; a GPU needs more of
# them to be busy.
_SAMPLES_PER_CHUNK = {"cpu": 2**16, "cuda": 2**20}
# The loops of grid_sample's gradients hold little.
_SAMPLES_PER_GRADIENT = 2**20


def attend(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn`, a chunk of queries after another. Not differentiable."""
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    output = _output(value, queries)
    for image, part, samples in _chunks(value, spatial_shapes, queries=queries, points=points):
        locations = sampling_locations[image, part].flatten(1, 3)
        x = (locations[..., 0].float() * samples.width).sub_(0.5)
        y = (locations[..., 1].float() * samples.height).sub_(0.5)
        weights = attention_weights[image, part].flatten(1).float()
        output[image, part] = samples.gather(value[image], x, y, weights)
    return output


def attend_fused(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    offsets: Tensor,
    logits: Tensor,
    reference_points: Tensor,
) -> Tensor:
    """Compute `fused_deform_attn`, a chunk of queries after another. Not differentiable."""
    queries, heads = logits.shape[1], value.shape[2]
    points = logits.shape[2] // (heads * len(spatial_shapes))
    output = _output(value, queries)
    for image, part, samples in _chunks(value, spatial_shapes, queries=queries, points=points):
        moves = offsets[image, part].unflatten(1, (-1, 2)).float()
        places = reference_points[part].float()
        # Offsets are in pixels of the level they point into.
        x = torch.addcmul(moves[..., 0], places[:, :1], samples.width).sub_(0.5)
        y = torch.addcmul(moves[..., 1], places[:, 1:], samples.height).sub_(0.5)
        weights = logits[image, part].unflatten(1, (heads, -1)).float().softmax(dim=-1)
        output[image, part] = samples.gather(value[image], x, y, weights.flatten(1))
    return output


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
    chunk = max(1, _SAMPLES_PER_GRADIENT // max(1, attention_weights[:, 0].numel()))
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


def _output(value: Tensor, queries: int) -> Tensor:
    batch, _, heads, dim = value.shape
    return value.new_empty(batch, queries, heads * dim)


@dataclass(frozen=True)
class _Samples:
    """What is known of all samples of a chunk of queries before they are looked at.

    Each tensor is (q, heads * levels * points): written out, it is read in one sweep.

    Attributes:
        width: Columns of the sample's level, float32.
        height: Rows of it, float32.
        first: Row of its first pixel of the sample's head in a table of (rows * heads, dim), int32.
        heads: Attention heads.
    """

    width: Tensor
    height: Tensor
    first: Tensor
    heads: int

    def head(self, queries: int) -> "_Samples":
        """Keep those of the first so many queries."""
        return _Samples(
            self.width[:queries], self.height[:queries], self.first[:queries], self.heads
        )

    def gather(self, value: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Sum the samples of each query and head.

        Args:
            value: (rows, heads, dim).
            x: Where they are, columns from the first pixel's centre, float32; overwritten.
            y: As `x`, rows.
            weights: Their weights, float32.

        Returns:
            (q, heads * dim), of the type of `value`.
        """
        left, right, left_weight, right_weight = _bracket(x, self.width)
        top, bottom, top_weight, bottom_weight = _bracket(y, self.height)
        stride = self.width.int() * self.heads
        rows, columns = [], []
        for row, row_weight in ((top, top_weight), (bottom, bottom_weight)):
            rows.append((row * stride + self.first, row_weight * weights))
        for column, column_weight in ((left, left_weight), (right, right_weight)):
            columns.append((column * self.heads, column_weight))
        # All four corners are gathered by one call, which makes no large temporaries.
        corners = [
            (row + column, row_weight * column_weight)
            for row, row_weight in rows
            for column, column_weight in columns
        ]
        index, weight = (
            torch.stack([of.view(len(of) * self.heads, -1) for of in side], dim=1).flatten(1)
            for side in zip(*corners, strict=True)
        )
        output = F.embedding_bag(
            index, value.flatten(0, 1), mode="sum", per_sample_weights=weight.to(value.dtype)
        )
        return output.view(len(x), -1)


def _chunks(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], *, queries: int, points: int
) -> Iterator[tuple[int, slice, _Samples]]:
    """Cut the work: yields the image, a part of its queries, and what is known of their samples."""
    batch, _, heads, _ = value.shape
    levels = len(spatial_shapes)
    chunk = max(1, _SAMPLES_PER_CHUNK[value.device.type] // (heads * levels * points))
    chunk = min(chunk, queries)
    counts = [height * width for height, width in spatial_shapes]
    starts = [sum(counts[:level]) * heads for level in range(levels)]

    def write_out(per_level: Sequence[int], dtype: torch.dtype) -> Tensor:
        tensor = torch.tensor(per_level, dtype=dtype, device=value.device)
        return tensor.repeat_interleave(points).repeat(chunk, heads)

    heights, widths = zip(*spatial_shapes, strict=True)
    head = torch.arange(heads, dtype=torch.int32, device=value.device)
    samples = _Samples(
        width=write_out(widths, torch.float32),
        height=write_out(heights, torch.float32),
        first=write_out(starts, torch.int32) + head.repeat_interleave(levels * points),
        heads=heads,
    )
    for image in range(batch):
        for start in range(0, queries, chunk):
            end = min(start + chunk, queries)
            yield image, slice(start, end), samples.head(end - start)


def _bracket(pixel: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the two pixels around every sample along one axis, and their linear weights.

    Args:
        pixel: Where the samples are, from the first pixel's centre, float32; overwritten.
        size: Pixels of each sample's level, float32.

    Returns:
        Lower and upper pixel, int32, within the level; their weights, float32, zero where the
        pixel itself is outside.
    """
    last = size - 1
    # Beyond one pixel outside, a sample is zero however far it is: clamping keeps it an index.
    pixel = torch.minimum(pixel.clamp_(min=-1), size)
    lower = pixel.floor()
    upper_weight = pixel.sub_(lower)
    lower_weight = 1 - upper_weight
    # Of a sample that is no number the weights stay NaN; its pixels must be pixels.
    lower.nan_to_num_(nan=0.0)
    upper = torch.minimum(lower + 1, last)
    inside = torch.minimum(lower.clamp(min=0), last)
    lower_weight.mul_(inside == lower)
    upper_weight.mul_(upper > lower)
    return inside.int(), upper.int(), lower_weight, upper_weight
