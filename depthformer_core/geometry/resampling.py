"""Depth images of one camera on the pixels of another."""

import functools
import math

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_points
from depthformer_core.types import FloatArray, FloatingArray

# Of a transform's matrix: metres, and entries of the rotation.
_SAME_PLACE = 1e-6
# Of an image's sides: sizes of one image in several resolutions are rounded.
_SAME_SHAPE = 0.02
# A pixel of the source is seen as at most so many along each axis.
_MOST_COPIES = 4
_HOLE = 3  # pixels


def resize_depth(depth: FloatArray, *, height: int, width: int) -> FloatArray:
    """Resize a depth image to the nearest values.

    Args:
        depth: (H, W), metres.
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        (`height`, `width`), metres.

    Raises:
        DepthFormerError: The image has another shape, so that it is not the same view.
    """
    rows, columns = depth.shape
    if abs(rows * width / (columns * height) - 1) > _SAME_SHAPE:
        raise DepthFormerError(
            f"depth of {columns}x{rows} is not the view of an image of {width}x{height}; "
            "its camera_info would show where it belongs"
        )
    if (rows, columns) == (height, width):
        return depth
    return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def resample_depth(
    depth: FloatArray, source: Camera, target: Camera, to_target: FloatingArray
) -> FloatArray:
    """Show the depth that one camera measured on the pixels of another.

    Cameras at one place with parallel axes share their rays: each pixel takes the value nearest to
    its ray. Between others the points are moved and projected, and of several on a pixel the
    nearest is seen. A coarser image is magnified first, and single pixels that the grids leave
    open are filled with the nearer surface around them.

    Args:
        depth: (H, W), metres along the optical axis of `source`; not finite where there is none.
        source: Camera of the depth.
        target: Camera wanted.
        to_target: (4, 4), takes points of the source's optical frame to the target's, metres.

    Returns:
        (H, W) of the target, metres along its optical axis; NaN where there is none. Infinite
        depth stays only where cameras share their rays.

    Raises:
        DepthFormerError: The depth is not of the source's size.
    """
    if depth.shape != (source.height, source.width):
        raise DepthFormerError(
            f"depth is {depth.shape[1]}x{depth.shape[0]}, "
            f"its camera_info is for {source.width}x{source.height}"
        )
    if np.allclose(to_target, np.eye(4), rtol=0, atol=_SAME_PLACE):
        return _along_rays(depth, source, target)
    copies = int(np.clip(np.ceil(target.fx / source.fx), 1, _MOST_COPIES))
    large = source.resized(copies * source.height, copies * source.width)
    size = (large.width, large.height)
    magnified = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT))
    points = large.unproject(magnified.astype(np.float32, copy=False)).reshape(-1, 3)
    seen = points[np.isfinite(points[:, 2]) & (points[:, 2] > 0)]
    rotation, offset = to_target[:3, :3].astype(np.float32), to_target[:3, 3].astype(np.float32)
    return _without_holes(project_points(seen @ rotation.T + offset, target))


def points_to_depth(points: FloatingArray, camera: Camera, to_camera: FloatingArray) -> FloatArray:
    """Project a cloud to the depth of a camera.

    Args:
        points: (..., 3), metres in the cloud's frame; not finite where there is none.
        camera: The camera.
        to_camera: (4, 4), takes points of the cloud's frame to the camera's optical frame.

    Returns:
        (H, W), metres along the optical axis, NaN where no point is.
    """
    flat = points.reshape(-1, 3)
    known = flat[np.isfinite(flat).all(axis=-1) & flat.any(axis=-1)]
    depth = project_points(known @ to_camera[:3, :3].T + to_camera[:3, 3], camera)
    return np.where(depth > 0, depth, np.float32(np.nan))


def _along_rays(depth: FloatArray, source: Camera, target: Camera) -> FloatArray:
    """Take the value nearest to each ray; NaN outside of the source's view."""
    if source == target:
        return depth
    nearest = cv2.remap(
        depth,
        _places(source, target),
        np.empty(0, np.uint16),  # of fractions, which the nearest place has none of
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=math.nan,
    )
    return np.asarray(nearest, np.float32)


@functools.lru_cache(maxsize=8)
def _places(source: Camera, target: Camera) -> npt.NDArray[np.int16]:
    """Return column and row of the source on each ray of the target, (H, W, 2)."""
    columns = (np.arange(target.width) - target.cx) * (source.fx / target.fx) + source.cx
    rows = (np.arange(target.height) - target.cy) * (source.fy / target.fy) + source.cy
    places = np.empty((target.height, target.width, 2), np.int16)
    places[..., 0] = np.clip(np.rint(columns), -1, source.width)
    places[..., 1] = np.clip(np.rint(rows), -1, source.height)[:, None]
    return places


def _without_holes(depth: FloatArray) -> FloatArray:
    """Fill pixels without depth (0) amid such with it; NaN where none is."""
    known = np.asarray(depth > 0)
    window = np.ones((_HOLE, _HOLE), np.uint8)
    # Closing: pixels that no window without depth covers.
    closed = cv2.morphologyEx(known.view(np.uint8), cv2.MORPH_CLOSE, window).view(bool)
    holes = closed & ~known
    if holes.any():
        nearest = cv2.erode(np.where(known, depth, np.float32(np.inf)), window)
        np.copyto(depth, nearest, where=holes & np.isfinite(nearest))
    return np.where(depth > 0, depth, np.float32(np.nan))
