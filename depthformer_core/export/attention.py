"""Deformable attention of one size of image, by gathers and multiplications alone.

TensorRT computes ONNX's GridSample wrongly without a word (NVIDIA/TensorRT, issues 4646 and 4813),
so no exported file has it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.models.positional import PositionalEncoding

# Values gathered at a time, 0.5 GB. Smaller parts would make thousands of nodes of Swin-L.
_VALUES_PER_CHUNK = 2**27


class GatherAttention(nn.Module):
    """`DeformableAttention` for one size of image and a batch of one.

    What follows from the size is a buffer: reference points, and the positional encoding behind the
    linear layers, as rows and columns.

    Args:
        attention: The attention of a frozen network; its layers are used.
        query_encoding: Of the queries.
        reference_points: (Q, 2), as for `DeformableAttention`.
        spatial_shapes: (H, W) of each level.
    """

    rows: Tensor
    columns: Tensor
    places: Tensor

    def __init__(
        self,
        attention: DeformableAttention,
        *,
        query_encoding: PositionalEncoding,
        reference_points: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.shapes = query_encoding.shapes
        self.value_proj = attention.value_proj
        self.output_proj = attention.output_proj
        self.samples = BilinearSamples(
            spatial_shapes, heads=attention.heads, points=attention.points
        )
        offsets = attention.sampling_offsets.weight.float().unflatten(0, (-1, 2))
        weight = torch.cat((*offsets.unbind(1), attention.attention_weights.weight.float()))
        self.locate = nn.Linear(weight.shape[1], len(weight), bias=False)
        self.locate.weight = nn.Parameter(weight, requires_grad=False)
        shifts = attention.sampling_offsets.bias.float().unflatten(0, (-1, 2))
        bias = torch.cat((*shifts.unbind(1), attention.attention_weights.bias.float()))
        of_rows, of_columns = weight.chunk(2, dim=1)
        # The sum of a row and a column is what the linear layers make of a pixel's encoding.
        self.register_buffer("rows", query_encoding.rows @ of_rows.t() + bias)
        self.register_buffer("columns", query_encoding.columns @ of_columns.t())
        self.register_buffer("places", reference_points.float())

    def forward(self, query: Tensor, *, value: Tensor, **_: object) -> Tensor:
        """Attend, and add the result to the query.

        Args:
            query: (1, Q, dim).
            value: (1, sum(H * W), dim).
            **_: What `DeformableAttention` takes besides; it is in the buffers.

        Returns:
            (1, Q, dim).
        """
        table = self.samples.table(self.value_proj(value)[0])
        located = self.locate(query[0])
        attended = []
        first = first_row = first_column = 0
        for height, width in self.shapes:
            columns = self.columns[first_column : first_column + width]
            step = max(1, _VALUES_PER_CHUNK // (width * self.samples.values_per_query(table)))
            for top in range(0, height, step):
                bottom = min(top + step, height)
                part = slice(first + top * width, first + bottom * width)
                rows = self.rows[first_row + top : first_row + bottom, None]
                moved = located[part].unflatten(0, (bottom - top, width)) + rows + columns
                x, y, logits = moved.flatten(0, 1).chunk(3, dim=1)
                attended.append(self.samples(table, x, y, logits, self.places[part]))
            first += height * width
            first_row += height
            first_column += width
        output: Tensor = self.output_proj(torch.cat(attended)[None]) + query
        return output


class BilinearSamples(nn.Module):
    """Weighted sums of bilinear samples of several feature maps.

    Each map gets a border of one pixel of zeros, and samples beyond it are moved onto it: there is
    no sample outside then, and no special case.

    Args:
        shapes: (H, W) of each map.
        heads: Heads of the attention.
        points: Samples for each head and map.
    """

    padded: Tensor
    size: Tensor
    first: Tensor
    stride: Tensor
    corners: Tensor
    last: Tensor
    fraction_sign: Tensor
    fraction_start: Tensor

    def __init__(self, shapes: Sequence[tuple[int, int]], *, heads: int, points: int) -> None:
        super().__init__()
        self.heads = heads
        pixels, starts = [], []
        first = rows = 0
        count = sum(height * width for height, width in shapes)
        for height, width in shapes:
            border = torch.full((height + 2, width + 2), count)
            border[1:-1, 1:-1] = torch.arange(first, first + height * width).view(height, width)
            pixels.append(border.flatten())
            starts.append(rows * heads)
            first += height * width
            rows += border.numel()
        # Behind the last row of the maps' pixels is one of zeros.
        self.register_buffer("padded", torch.cat(pixels).int())

        def write_out(of_levels: Tensor) -> Tensor:
            return of_levels.repeat_interleave(points, dim=-1)

        sizes = torch.tensor([(width, height) for height, width in shapes]).t()  # 2 levels
        stride = write_out((sizes[0] + 2) * heads)
        first_rows = write_out(torch.tensor(starts)) + torch.arange(heads)[:, None]
        # x and y on their own: (2, 1, heads * levels * points).
        self.register_buffer("size", write_out(sizes).float().repeat(1, heads)[:, None])
        self.register_buffer("first", first_rows.flatten().int())
        self.register_buffer("stride", stride.repeat(heads).int())
        right = torch.full_like(stride, heads)
        corners = torch.stack((right * 0, right, stride, stride + right))
        self.register_buffer("corners", corners.int())
        last = rows * heads - 1 - corners[3].repeat(heads)
        self.register_buffer("last", last.int())
        # The weight of a corner is start + sign * fraction, along x and along y.
        after = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]])[:, None, None, :, None].float()
        self.register_buffer("fraction_sign", 2 * after - 1)
        self.register_buffer("fraction_start", 1 - after)

    def table(self, values: Tensor) -> Tensor:
        """Return the rows to sample, (padded rows * heads, dim), of values (rows, heads * dim)."""
        zeros = torch.zeros(1, values.shape[1], dtype=values.dtype)
        rows = torch.cat((values, zeros)).index_select(0, self.padded)
        return rows.view(len(self.padded) * self.heads, -1)

    def values_per_query(self, table: Tensor) -> int:
        """Return how many values of a table are gathered for one query."""
        return 4 * len(self.first) * table.shape[1]

    def forward(
        self, table: Tensor, x: Tensor, y: Tensor, logits: Tensor, places: Tensor
    ) -> Tensor:
        """Sample, and sum what each head's points have.

        Args:
            table: From `table`.
            x: Offset of each sample, pixels of its map, (Q, heads * maps * points).
            y: As `x`.
            logits: As `x`; their softmax over a head are the weights.
            places: Where the offsets begin, x and y in units of a map's size, (Q, 2).

        Returns:
            (Q, heads * dim).
        """
        left, x_fraction = self._split(x, places[:, :1], self.size[0])
        top, y_fraction = self._split(y, places[:, 1:], self.size[1])
        index = top * self.stride + left * self.heads + self.first
        # A location that is NaN must not become a row that is not there.
        index = torch.minimum(index.clamp(min=0), self.last)
        index = index.unflatten(1, (self.heads, 1, -1)) + self.corners  # Q heads 4 samples
        x_weight = x_fraction.unflatten(1, (self.heads, 1, -1)) * self.fraction_sign[0]
        y_weight = y_fraction.unflatten(1, (self.heads, 1, -1)) * self.fraction_sign[1]
        weight = (x_weight + self.fraction_start[0]) * (y_weight + self.fraction_start[1])
        weight = weight * logits.unflatten(1, (self.heads, 1, -1)).softmax(dim=-1)
        rows = table.index_select(0, index.flatten())
        rows = rows.view(len(x) * self.heads, -1, table.shape[1])
        # As a product of matrices, no weighted values are ever in memory.
        sums: Tensor = weight.reshape(len(x) * self.heads, 1, -1) @ rows
        return sums.view(len(x), -1)

    def _split(self, offset: Tensor, place: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixel before each sample, int32, and how far it is beyond that pixel."""
        # From the middle of the border's first pixel.
        pixel = offset + (place * size + 0.5)
        pixel = torch.minimum(pixel.clamp(min=0), size + 1)
        before = torch.minimum(pixel.floor(), size)
        return before.int(), pixel - before
