"""Clouds of a part of a depth image's pixels, for pictures of them."""

import numpy as np

from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatArray, FloatingArray, Rgb


def thin_cloud(
    depth: FloatingArray, rgb: Rgb, camera: Camera, *, most: int
) -> tuple[FloatArray, Rgb]:
    """Compute the points of depth, of every `stride`-th row and column.

    Args:
        depth: (H, W), metres; there are no points where it is not finite or not positive.
        rgb: (H, W, 3), the colours.
        camera: Camera of both.
        most: Largest number of points; the stride is the smallest that leaves no more.

    Returns:
        (N, 3) in the optical frame, metres, and (N, 3) RGB, in the order of the pixels.
    """
    solid = np.isfinite(depth) & (depth > 0)
    stride = 1
    while np.count_nonzero(solid[::stride, ::stride]) > most:
        stride += 1
    kept = slice(None, None, stride), slice(None, None, stride)
    rows, columns = np.nonzero(solid[kept])
    across, down = camera.slopes(stride=stride)
    z = depth[kept][rows, columns].astype(np.float32, copy=False)
    points = np.stack((z * across[columns], z * down[rows], z), axis=-1)
    return points, rgb[kept][rows, columns]
