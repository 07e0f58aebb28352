"""Portable implementation of multi-scale deformable attention, by PyTorch's own operators."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Samples at a time. On a CPU their tensors then stay in a core's caches; a GPU needs more of them
# to be busy.
_CPU_SAMPLES, _GPU_SAMPLES = 2**16, 2**20
# The loops of grid_sample's gradients hold little.
_SAMPLES_PER_GRADIENT = 2**20


def attend(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `ms_deform_attn`, chunk by chunk of the queries. Not differentiable."""
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    output = _output(value, queries)
    for image, part, samples in _chunks(value, spatial_shapes, queries=queries, points=points):
        x, y = samples.pixels(sampling_locations[image, part])
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
    """Compute `fused_deform_attn`, chunk by chunk of the queries. Not differentiable."""
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
    """Compute the gradients of `ms_deform_attn`.

    Samples are computed again, chunk by chunk of the queries, instead of being kept.

    Args:
        gradient: (B, Q, heads * dim), of the output.
        value: As for `ms_deform_attn`.
        spatial_shapes: As for `ms_deform_attn`.
        sampling_locations: As for `ms_deform_attn`.
        attention_weights: As for `ms_deform_attn`.

    Returns:
        The gradients of value, locations and weights, in their types.
    """
    compute = sparse_gradients if value.is_cpu else grid_gradients
    return compute(gradient, value, spatial_shapes, sampling_locations, attention_weights)


def sparse_gradients(
    gradient: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `gradients` on the CPU.

    The attention is the product of a sparse matrix, a row a query and head, a column a row of the
    value, and the value. So the value's gradient is the transposed matrix's product, and that of
    each of the matrix's entries a product of two rows.
    """
    dim = value.shape[3]
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    arriving, values = gradient.float(), value.float()
    value_gradient = torch.zeros_like(values)
    location_gradient = torch.empty(sampling_locations.shape)
    weight_gradient = torch.empty(attention_weights.shape)
    for image, part, samples in _chunks(value, spatial_shapes, queries=queries, points=points):
        weights = attention_weights[image, part].flatten(1).float()
        x, y = samples.pixels(sampling_locations[image, part])
        # Beyond one pixel outside, nothing changes with the place.
        reaches_x, reaches_y = x >= -1, y >= -1
        columns, rows = _bracket(x, samples.width), _bracket(y, samples.height)
        # A location that is NaN adds no gradient to the values.
        index, weight = samples.corners(columns.without_nan(), rows.without_nan(), weights)
        by_head = arriving[image, part].reshape(len(index), dim)
        table = values[image].flatten(0, 1)
        value_gradient[image] += _transposed_product(index, weight, by_head, table).view_as(
            values[image]
        )
        by_corner = _entry_gradients(index, by_head, table).unflatten(1, (4, -1))
        top_left, top_right, bottom_left, bottom_right = (
            of.reshape(len(x), -1) for of in by_corner.unbind(1)
        )
        top = columns.lower_weight * top_left + columns.upper_weight * top_right
        bottom = columns.lower_weight * bottom_left + columns.upper_weight * bottom_right
        along_x = rows.lower_weight * (
            columns.upper_inside * top_right - columns.lower_inside * top_left
        ) + rows.upper_weight * (
            columns.upper_inside * bottom_right - columns.lower_inside * bottom_left
        )
        along_y = rows.upper_inside * bottom - rows.lower_inside * top
        of_weights = rows.lower_weight * top + rows.upper_weight * bottom
        weight_gradient[image, part] = of_weights.view_as(weight_gradient[image, part])
        of_locations = torch.stack(
            (
                weights * samples.width * along_x * reaches_x,
                weights * samples.height * along_y * reaches_y,
            ),
            dim=-1,
        )
        location_gradient[image, part] = of_locations.view_as(location_gradient[image, part])
    return (
        value_gradient.to(value.dtype),
        location_gradient.to(sampling_locations.dtype),
        weight_gradient.to(attention_weights.dtype),
    )


def grid_gradients(
    gradient: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `gradients` by those of `grid_sample`, on any device."""
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
    """Convert the inputs of `fused_deform_attn` to those of `ms_deform_attn`.

    Returns:
        Locations (B, Q, heads, levels, points, 2) and weights (B, Q, heads, levels, points), both
        float32.
    """
    shape = (*logits.shape[:2], value.shape[2], len(spatial_shapes), -1)
    weights = logits.reshape(*shape[:3], -1).float().softmax(dim=-1).view(shape)
    # Offsets are in pixels of the level they point into.
    sizes = level_sizes(spatial_shapes, value.device)
    offsets = offsets.reshape(*shape, 2).float()
    locations = reference_points.view(1, -1, 1, 1, 1, 2) + offsets / sizes[:, None]
    return locations, weights


def level_sizes(spatial_shapes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Return width and height of each level, (levels, 2), pixels.

    They are filled in on the device: a copy to a GPU would wait for it.
    """
    sizes = [size for height, width in spatial_shapes for size in (width, height)]
    filled = [torch.full((), size, dtype=torch.float32, device=device) for size in sizes]
    return torch.stack(filled).view(-1, 2)


def _output(value: Tensor, queries: int) -> Tensor:
    batch, _, heads, dim = value.shape
    return value.new_empty(batch, queries, heads * dim)


@dataclass(frozen=True)
class _Samples:
    """Constants of all samples of a chunk of queries.

    Each tensor is (q, heads * levels * points), contiguous.

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
        """Return those of the first `queries` queries."""
        return _Samples(
            self.width[:queries], self.height[:queries], self.first[:queries], self.heads
        )

    def pixels(self, locations: Tensor) -> tuple[Tensor, Tensor]:
        """Convert locations (q, heads, levels, points, 2) to columns and rows for `gather`."""
        flat = locations.flatten(1, 3).float()
        x = (flat[..., 0] * self.width).sub_(0.5)
        y = (flat[..., 1] * self.height).sub_(0.5)
        return x, y

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
        columns, rows = _bracket(x, self.width), _bracket(y, self.height)
        index, weight = self.corners(columns, rows, weights)
        output = F.embedding_bag(
            index, value.flatten(0, 1), mode="sum", per_sample_weights=weight.to(value.dtype)
        )
        return output.view(len(x), -1)

    def corners(
        self, columns: "_Bracket", rows: "_Bracket", weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Find the four pixels of every sample: all of them are gathered by one call.

        Args:
            columns: Those beside the samples.
            rows: Those above and below.
            weights: Of the samples, float32.

        Returns:
            Rows of a table of (rows * heads, dim), int32, and their weights, float32; both
            (q * heads, 4 * levels * points), top left first, then top right, bottom left and
            bottom right.
        """
        stride = self.width.int() * self.heads
        above = (rows.lower * stride + self.first, rows.lower_weight * weights)
        below = (rows.upper * stride + self.first, rows.upper_weight * weights)
        left = (columns.lower * self.heads, columns.lower_weight)
        right = (columns.upper * self.heads, columns.upper_weight)
        corners = [
            (row + column, row_weight * column_weight)
            for row, row_weight in (above, below)
            for column, column_weight in (left, right)
        ]
        index, weight = (
            torch.stack([of.view(len(of) * self.heads, -1) for of in corner], dim=1).flatten(1)
            for corner in zip(*corners, strict=True)
        )
        return index, weight


def _chunks(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], *, queries: int, points: int
) -> Iterator[tuple[int, slice, _Samples]]:
    """Split the work; yield image, part of its queries, and constants of their samples."""
    batch, _, heads, _ = value.shape
    levels = len(spatial_shapes)
    most = _CPU_SAMPLES if value.device.type == "cpu" else _GPU_SAMPLES
    chunk = max(1, most // (heads * levels * points))
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


class _Bracket(NamedTuple):
    """The two pixels around every sample along one axis.

    Attributes:
        lower: Lower pixel, int32, within the level.
        upper: Upper pixel.
        lower_weight: Linear weight of the lower one, float32, zero where the pixel itself is
            outside.
        upper_weight: That of the upper one.
        lower_inside: Whether the lower pixel itself is inside.
        upper_inside: Whether the upper one is.
    """

    lower: Tensor
    upper: Tensor
    lower_weight: Tensor
    upper_weight: Tensor
    lower_inside: Tensor
    upper_inside: Tensor

    def without_nan(self) -> "_Bracket":
        """Return the same with weights of zero where the location of a sample is NaN."""
        return self._replace(
            lower_weight=self.lower_weight.nan_to_num(nan=0.0),
            upper_weight=self.upper_weight.nan_to_num(nan=0.0),
        )


def _bracket(pixel: Tensor, size: Tensor) -> _Bracket:
    """Find the two pixels around every sample along one axis.

    Args:
        pixel: Where the samples are, from the first pixel's centre, float32; overwritten.
        size: Pixels of each sample's level, float32.
    """
    last = size - 1
    # Beyond one pixel outside, a sample is zero however far it is: clamping keeps it an index.
    pixel = torch.minimum(pixel.clamp_(min=-1), size)
    lower = pixel.floor()
    upper_weight = pixel.sub_(lower)
    lower_weight = 1 - upper_weight
    # The weights of a sample at NaN stay NaN; its pixels must be valid indices.
    lower.nan_to_num_(nan=0.0)
    upper = torch.minimum(lower + 1, last)
    inside = torch.minimum(lower.clamp(min=0), last)
    lower_inside, upper_inside = inside == lower, upper > lower
    lower_weight.mul_(lower_inside)
    upper_weight.mul_(upper_inside)
    return _Bracket(
        inside.int(), upper.int(), lower_weight, upper_weight, lower_inside, upper_inside
    )


def _transposed_product(index: Tensor, weight: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """Multiply the transpose of a sparse matrix with rows.

    PyTorch would sort the entries first, which takes ten times as long.

    Args:
        index: (n, k), int32, columns of the entries of each of the matrix's rows.
        weight: (n, k), float32, the entries.
        rows: (n, dim), float32.
        like: (m, dim), of the result's shape.

    Returns:
        (m, dim), float32.
    """
    # Only training needs it: a robot's node neither waits for it nor fails without it.
    from scipy.sparse import csr_matrix

    entries = index.shape[1]
    starts = np.arange(0, index.numel() + 1, entries, dtype=np.int32)
    matrix = csr_matrix(
        (weight.flatten().numpy(), index.flatten().numpy(), starts), shape=(len(index), len(like))
    )
    return torch.from_numpy(matrix.T @ rows.numpy())


def _entry_gradients(index: Tensor, arriving: Tensor, table: Tensor) -> Tensor:
    """Compute the gradients of a sparse matrix's entries of its product with a table.

    Args:
        index: As for `_transposed_product`.
        arriving: (n, dim), float32, gradient of the product.
        table: (m, dim), float32.

    Returns:
        (n, k), float32.
    """
    starts = torch.arange(0, index.numel() + 1, index.shape[1], dtype=torch.int32)
    # PyTorch refuses more entries than places; the corners of a small map are often the same.
    table = F.pad(table, (0, 0, 0, max(0, index.shape[1] - len(table))))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        entries = torch.sparse_csr_tensor(
            starts,
            index.flatten(),
            torch.zeros(index.numel()),
            (len(index), len(table)),
            check_invariants=False,
        )
    product: Tensor = torch.sparse.sampled_addmm(entries, arriving, table.t(), beta=0.0)
    return product.values().view_as(index)
