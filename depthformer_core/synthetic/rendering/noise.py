"""Tiles of noise that textures are made of."""

import functools

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.types import FloatArray

SIZE = 512
"""Rows and columns of a tile; tiles repeat without a seam."""


@functools.cache
def white_tile() -> FloatArray:
    """Return white noise, (SIZE, SIZE), 0 to 1."""
    return np.random.default_rng(1).random((SIZE, SIZE), np.float32)


@functools.cache
def cloud_tile() -> FloatArray:
    """Return noise of many scales, (SIZE, SIZE), of mean 0 and standard deviation 1."""
    rng = np.random.default_rng(2)
    tile = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(2, 9):
        cells = 2**octave
        coarse = rng.standard_normal((cells, cells), np.float32)
        # A border that repeats makes the enlarged noise repeat as well.
        padded = np.pad(coarse, 2, mode="wrap")
        factor = SIZE // cells
        large = cv2.resize(padded, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        tile += large[2 * factor : -2 * factor, 2 * factor : -2 * factor] * 0.62**octave
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


@functools.cache
def _grain_tile(channel: int) -> FloatArray:
    return np.random.default_rng((3, channel)).standard_normal((1024, 2048), np.float32)


def grain_window(channel: int, top: int, left: int, height: int, width: int) -> FloatArray:
    """Return the noise of a sensor's channel, (height, width), of mean 0 and deviation 1."""
    tile = _grain_tile(channel)
    # Whole tiles behind each other where the window is larger than one.
    copies = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    if height < tile.shape[0] and width < tile.shape[1]:
        top, left = top % (tile.shape[0] - height), left % (tile.shape[1] - width)
    else:
        tile = np.tile(tile, copies)
        top = left = 0
    return tile[top : top + height, left : left + width]


def sample(tile: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Sample a tile at coordinates in its cells, of any shape."""
    column = (u + 65536.0).astype(np.int32) & (SIZE - 1)
    row = (v + 65536.0).astype(np.int32) & (SIZE - 1)
    row *= SIZE
    row += column
    return tile.ravel().take(row)


def chance(cells: npt.NDArray[np.int32], salt: int) -> FloatArray:
    """Return repeatable values in [0, 1) for whole numbers."""
    mixed = (cells.astype(np.uint32) + np.uint32(salt)) * np.uint32(2654435761)
    return white_tile().ravel().take((mixed >> np.uint32(14)).astype(np.intp))
