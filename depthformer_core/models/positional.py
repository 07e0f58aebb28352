"""Sine position code of the neck's attention."""

import torch
from torch import Tensor

_TEMPERATURE = 10000.0


def sine_position_code(height: int, width: int, dim: int, *, device: torch.device) -> Tensor:
    """Code every pixel of a feature map by its row and column.

    The release's code: positions count from 1 and are not normalised, the first half of the
    features codes the row, the second the column, each as interleaved sines and cosines of
    wavelengths from 2 pi to 10000 * 2 pi.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        dim: Features of the code, a multiple of 4.
        device: Where the code is made.

    Returns:
        (height * width, dim), float32, row by row.

    Raises:
        ValueError: `dim` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"dim must be a multiple of 4, got {dim}")
    half = dim // 2
    exponent = torch.arange(half // 2, dtype=torch.float32, device=device) * 2 / half
    frequency = _TEMPERATURE**-exponent

    def code(count: int) -> Tensor:
        position = torch.arange(1, count + 1, dtype=torch.float32, device=device)
        angle = position[:, None] * frequency
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)  # count half

    rows = code(height)[:, None].expand(height, width, half)
    columns = code(width)[None].expand(height, width, half)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)
