"""Point clouds as PLY files, which MeshLab, CloudCompare and Open3D open."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.files import replacing
from depthformer_core.types import FloatingArray

_VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])


def write_ply(path: str | Path, points: FloatingArray, rgb: npt.NDArray[np.uint8]) -> int:
    """Write a coloured point cloud as a binary PLY file.

    Args:
        path: The file; replaced if it exists.
        points: (..., 3), metres. Points that are not finite are skipped.
        rgb: (..., 3) colours of the points.

    Returns:
        Number of points written.

    Raises:
        DepthFormerError: Points and colours do not belong together.
    """
    if points.shape != rgb.shape or points.shape[-1:] != (3,) or rgb.dtype != np.uint8:
        raise DepthFormerError(
            "points and colours must both be (..., 3), colours uint8, "
            f"got {points.shape} and {rgb.dtype} {rgb.shape}"
        )
    finite = np.isfinite(points).all(axis=-1)
    vertices = np.empty(np.count_nonzero(finite), _VERTEX)
    vertices["position"] = points[finite]
    vertices["colour"] = rgb[finite]
    lines = (
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {name}" for name in ("x", "y", "z")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header",
    )
    header = "".join(f"{line}\n" for line in lines).encode()
    with replacing(path) as temporary:
        temporary.write_bytes(header + vertices.tobytes())
    return len(vertices)
