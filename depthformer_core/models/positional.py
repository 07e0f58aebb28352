"""Sine positional encoding of the neck's attention."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthformer_core.errors import DepthFormerError

_TEMPERATURE = 10000.0


@dataclass(frozen=True)
class PositionalEncoding:
    """Positional encoding of every pixel of feature maps, row by row, one map after another.

    The release's encoding: positions count from 1 and are not normalised, the first half of the
    features encodes the row, the second the column, each as interleaved sines and cosines of
    wavelengths from 2 pi to 10000 * 2 pi. Written out, that of Swin-L's finest map at 352x1216 has
    0.2 GB, so rows and columns are kept, and pixels indexed.

    Attributes:
        shapes: (H, W) of each map.
        rows: (sum(H), dim / 2), encoding of every row.
        columns: (sum(W), dim / 2), encoding of every column.
        row_of: (sum(H * W)), which row each pixel is in.
        column_of: As `row_of`, for columns.
    """

    shapes: tuple[tuple[int, int], ...]
    rows: Tensor
    columns: Tensor
    row_of: Tensor
    column_of: Tensor

    @classmethod
    def of_maps(
        cls,
        shapes: Sequence[tuple[int, int]],
        dim: int,
        *,
        device: torch.device,
        stride: int = 1,
    ) -> "PositionalEncoding":
        """Encode the pixels of maps.

        Args:
            shapes: (H, W) of each map.
            dim: Features of the encoding, a multiple of 4.
            device: Where the encoding is made.
            stride: Side of the square that a pixel stands for, in the pixels whose positions
                count; its position is the square's middle.

        Raises:
            ValueError: `dim` is no multiple of 4.
        """
        if dim % 4:
            raise DepthFormerError(f"dim must be a multiple of 4, got {dim}")
        exponent = torch.arange(dim // 4, dtype=torch.float32, device=device) * 4 / dim
        frequency = _TEMPERATURE**-exponent
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        row_of: list[Tensor] = []
        column_of: list[Tensor] = []
        first_row = first_column = 0
        for height, width in shapes:
            for count, encodings in ((height, rows), (width, columns)):
                index = torch.arange(count, dtype=torch.float32, device=device)
                position = (index + 0.5) * stride + 0.5
                angle = position[:, None] * frequency
                encodings.append(torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1))
            y = torch.arange(first_row, first_row + height, device=device)
            x = torch.arange(first_column, first_column + width, device=device)
            row_of.append(y.repeat_interleave(width))
            column_of.append(x.repeat(height))
            first_row += height
            first_column += width
        return cls(
            tuple(shapes), *(torch.cat(parts) for parts in (rows, columns, row_of, column_of))
        )

    def with_levels(self, level_embed: Tensor) -> "PositionalEncoding":
        """Add the level embedding, (maps, dim), to the encoding of each map."""
        heights, widths = zip(*self.shapes, strict=True)
        rows, columns = (
            torch.cat([part + level for part, level in zip(of.split(sizes), levels, strict=True)])
            for of, sizes, levels in (
                (self.rows, heights, level_embed.chunk(2, dim=1)[0]),
                (self.columns, widths, level_embed.chunk(2, dim=1)[1]),
            )
        )
        return replace(self, rows=rows, columns=columns)

    def __getitem__(self, pixels: slice) -> Tensor:
        """Write out the encoding of some pixels: (pixels, dim)."""
        rows, columns = self.rows[self.row_of[pixels]], self.columns[self.column_of[pixels]]
        return torch.cat((rows, columns), dim=1)

    def add_to(self, features: Tensor) -> Tensor:
        """Add the encoding of every pixel to its features, without writing it out.

        Args:
            features: (B, sum(H * W), dim).

        Returns:
            As `features`, in their type.
        """
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return features + self[:].to(features.dtype)
        encoded = torch.empty_like(features)
        half = self.rows.shape[1]
        first = first_row = first_column = 0
        for height, width in self.shapes:
            pixels = slice(first, first + height * width)
            grid, result = (
                of[:, pixels].unflatten(1, (height, width)) for of in (features, encoded)
            )
            rows = self.rows[first_row : first_row + height, None].to(features.dtype)
            columns = self.columns[first_column : first_column + width].to(features.dtype)
            torch.add(grid[..., :half], rows, out=result[..., :half])
            torch.add(grid[..., half:], columns, out=result[..., half:])
            first, first_row, first_column = pixels.stop, first_row + height, first_column + width
        return encoded

    def project(self, layer: nn.Linear) -> Tensor:
        """Apply a linear layer to the encoding of every pixel, without writing it out."""
        of_rows, of_columns = layer.weight.chunk(2, dim=1)
        rows = F.linear(self.rows, of_rows, layer.bias)
        columns = F.linear(self.columns, of_columns)
        return rows[self.row_of] + columns[self.column_of]
