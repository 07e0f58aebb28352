"""Projection of points to sparse depth images."""

import numpy as np

from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatArray, FloatingArray

_FARTHEST = float(np.finfo(np.float32).max)


def project_scan(scan: FloatingArray, to_camera: FloatingArray, camera: Camera) -> FloatArray:
    """Project laser points to a sparse depth image.

    Args:
        scan: (N, 3 or more), metres; columns after z are left out, and so are points that are
            not finite or at the scanner's very origin, (0, 0, 0): drivers mark shots without a
            return by the one or the other.
        to_camera: 4x4 matrix from the scan's frame to the optical frame.
        camera: The camera.

    Returns:
        (H, W), metres along the optical axis; the nearest point of a pixel, 0 where none is.
    """
    points = scan[:, :3]
    x, y, z = points.T  # by column, which is several times faster than along the rows
    returned = np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & ((x != 0) | (y != 0) | (z != 0))
    points = points[returned]
    return project_points(points @ to_camera[:3, :3].T + to_camera[:3, 3], camera)


def project_points(points: FloatingArray, camera: Camera) -> FloatArray:
    """Project points of the optical frame to a sparse depth image.

    Args:
        points: (N, 3), metres; what is not finite or not in front of the camera is left out.
        camera: The camera.

    Returns:
        (H, W), metres along the optical axis; the nearest point of a pixel, 0 where none is.
    """
    points = points[(points[:, 2] > 0) & (points[:, 2] < _FARTHEST)].astype(np.float64)
    with np.errstate(over="ignore"):  # far aside is outside
        pixels = np.rint(camera.project(points))
    column, row = pixels[:, 0], pixels[:, 1]
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    column, row = pixels[inside].astype(np.intp).T
    z = points[inside, 2]
    farthest_first = np.argsort(-z, kind="stable")
    depth = np.zeros((camera.height, camera.width), np.float32)
    # The last write to a pixel stays.
    depth[row[farthest_first], column[farthest_first]] = z[farthest_first]
    return depth
