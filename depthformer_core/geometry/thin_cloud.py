"""Clouds of a part of a depth image's pixels, for pictures of them."""

import math

import numpy as np
import numpy.typing as npt

from depthformer_core.geometry.camera import Camera
from depthformer_core.types import BoolArray, FloatArray, FloatingArray, Rgb


def thin_cloud(
    depth: FloatingArray, rgb: Rgb, camera: Camera, *, most: int
) -> tuple[FloatArray, Rgb]:
    """Compute the points of some pixels, evenly over the image.

    Of each block of `stride` x `stride` pixels the first with depth is taken, so that sparse depth
    loses no more than dense depth does.

    Args:
        depth: (H, W), metres; there are no points where it is not finite or not positive.
        rgb: (H, W, 3), the colours.
        camera: Camera of both.
        most: Largest number of points; the stride is the smallest that leaves no more.

    Returns:
        (N, 3) in the optical frame, metres, and (N, 3) RGB, in the order of the blocks.
    """
    solid = np.isfinite(depth) & (depth > 0)
    pixels = np.flatnonzero(solid)
    # A block has at most stride * stride points, so a smaller stride always leaves too many.
    stride = max(1, math.isqrt(len(pixels) // most))
    while len(pixels) > most:
        pixels = _first_of_blocks(solid, stride)
        stride += 1
    rows, columns = np.divmod(pixels, depth.shape[1])
    across, down = camera.slopes()
    z = depth[rows, columns].astype(np.float32, copy=False)
    points = np.stack((z * across[columns], z * down[rows], z), axis=-1)
    return points, rgb[rows, columns]


def _first_of_blocks(mask: BoolArray, size: int) -> npt.NDArray[np.int64]:
    """Return where, in the flat mask (H, W), the first true pixel of each block is."""
    height, width = mask.shape
    down, across = -(-height // size), -(-width // size)
    padded = np.zeros((down * size, across * size), np.bool_)
    padded[:height, :width] = mask
    squares = padded.reshape(down, size, across, size).transpose(0, 2, 1, 3)
    blocks = squares.reshape(down, across, size * size)
    first = blocks.argmax(axis=-1)
    row, column = np.nonzero(blocks.any(axis=-1))
    inner_row, inner_column = np.divmod(first[row, column], size)
    return np.asarray((row * size + inner_row) * width + column * size + inner_column, np.int64)
