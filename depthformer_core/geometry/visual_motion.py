"""Motion of a camera between two images, from depth of the first."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.geometry.camera import Camera
from depthformer_core.types import BoolArray, FloatArray, FloatingArray, Rgb

# The best point of each of so many cells is followed.
_CELLS = 500
# Larger images are halved until they have no more columns.
_COLUMNS = 800
_WINDOW = (15, 15)  # pixels
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)
_LEVELS = 3
_CORNER = 5  # pixels
_BACK = 0.5  # pixels; farther off its place, a point followed there and back is lost
_OFF = 1.0  # pixels; beyond, a point does not move with the camera
_ITERATIONS = 300
_SURE = 0.999
_FEWEST_POINTS = 20
_FEWEST_SHARE = 0.4


def estimate_motion(
    previous_rgb: Rgb, previous_depth: FloatingArray, rgb: Rgb, *, camera: Camera
) -> FloatingArray | None:
    """Estimate the motion of a camera from one image to the next.

    Points of the first image that have depth are followed into the second (Lucas and Kanade), and
    the pose that sees them there is found by PnP with RANSAC, which leaves out what moves by
    itself.

    Args:
        previous_rgb: (H, W, 3), the first image.
        previous_depth: (H, W), its depth, metres, dense or sparse; 0, NaN or infinity where there
            is none. Its scale is that of the motion.
        rgb: (H, W, 3), the second image.
        camera: The camera of both.

    Returns:
        (4, 4), takes points of the first optical frame to the second, metres; None where too few
        points agree.
    """
    first, second = _gray(previous_rgb), _gray(rgb)
    while first.shape[1] > _COLUMNS:
        first, second = (np.asarray(cv2.pyrDown(image), np.uint8) for image in (first, second))
        previous_depth = _halved(previous_depth)
        rows, columns = first.shape
        # The pixels that stay are every second one, from the first.
        camera = Camera(columns, rows, camera.fx / 2, camera.fy / 2, camera.cx / 2, camera.cy / 2)
    starts = _points(first, previous_depth)
    if len(starts) < _FEWEST_POINTS:
        return None
    ends, found = _follow(first, second, starts)
    back, returned = _follow(second, first, ends)
    kept = found & returned & (np.linalg.norm(back - starts, axis=1) <= _BACK)
    starts, ends = starts[kept], ends[kept].astype(np.float64)
    if len(starts) < _FEWEST_POINTS:
        return None
    column, row = starts.astype(np.intp).T
    z = previous_depth[row, column].astype(np.float64)
    points = np.stack(
        ((column - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z), axis=-1
    )
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    solved, rotation, translation, inliers = cv2.solvePnPRansac(
        points,
        ends,
        matrix,
        None,
        iterationsCount=_ITERATIONS,
        reprojectionError=_OFF,
        confidence=_SURE,
        flags=cv2.SOLVEPNP_EPNP,
    )
    count = 0 if not solved or inliers is None else len(inliers)
    if count < max(_FEWEST_POINTS, _FEWEST_SHARE * len(points)):
        return None
    chosen = inliers[:, 0]
    rotation, translation = cv2.solvePnPRefineLM(
        points[chosen], ends[chosen], matrix, None, rotation, translation
    )
    motion = np.eye(4)
    motion[:3, :3], _ = cv2.Rodrigues(rotation)
    motion[:3, 3] = translation[:, 0]
    return motion if np.isfinite(motion).all() else None


def _gray(image: Rgb) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _halved(depth: FloatingArray) -> FloatingArray:
    """Return depth on half as many rows and columns, rounded up: a known one of two by two."""
    rows, columns = depth.shape
    even = np.pad(depth, ((0, rows % 2), (0, columns % 2)), mode="edge")
    parts = [even[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    result = parts[0].copy()
    for part in parts[1:]:
        known = np.isfinite(result) & (result > 0)
        np.copyto(result, part, where=~known)
    return result


def _follow(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], starts: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Follow points (N, 2) from one image to another; return their places and which were found."""
    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, starts, starts.copy(), winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STOP
    )
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _points(gray: npt.NDArray[np.uint8], depth: FloatingArray) -> FloatArray:
    """Return the pixel with depth that is most of a corner in each cell, (N, 2): column, row."""
    corner = np.asarray(cv2.cornerMinEigenVal(gray, _CORNER), np.float32)
    corner *= np.isfinite(depth) & (depth > 0)
    side = max(1, math.isqrt(gray.size // _CELLS))
    rows, columns = (size // side for size in gray.shape)
    split = corner[: rows * side, : columns * side].reshape(rows, side, columns, side)
    cells = split.swapaxes(1, 2).reshape(rows * columns, side * side)
    best = cells.argmax(axis=1)
    cell = np.flatnonzero(cells[np.arange(len(cells)), best] > 0)
    column = cell % columns * side + best[cell] % side
    row = cell // columns * side + best[cell] // side
    return np.stack((column, row), axis=-1).astype(np.float32)
