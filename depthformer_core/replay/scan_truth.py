"""Laser scans as truth for the depth of a camera that sits elsewhere."""

from collections.abc import Iterable

import cv2
import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_scan
from depthformer_core.types import BoolArray, FloatArray, FloatingArray

# Shares of a point's nearness (inverse depth).
_COVER = 0.2
_JUMP = 0.05
_STEEP = 0.03  # a pixel; rounding moves a point by half of one

_NOISE = 0.1  # metres within which points lie on one surface, however near
_NEAREST = 1e-6  # metres


def scan_truth(
    scans: Iterable[tuple[FloatingArray, FloatingArray]],
    camera: Camera,
    *,
    keep_hidden: bool = False,
) -> FloatArray:
    """Project scans to the depth the camera should see.

    Args:
        scans: Points (N, 3), metres in the scanner's frame, of which those without a return are
            skipped, see `project_scan`; and the matrix (4, 4) that takes them to the camera's
            optical frame.
        camera: The camera.
        keep_hidden: Whether to keep what the camera does not see, see `remove_hidden`.

    Returns:
        (H, W), metres along the optical axis; the nearest point of a pixel, 0 where there is no
        truth.
    """
    depth = np.zeros((camera.height, camera.width), np.float32)
    for points, matrix in scans:
        other = project_scan(points, matrix, camera)
        np.copyto(depth, other, where=(other > 0) & ((depth == 0) | (other < depth)))
    return depth if keep_hidden else remove_hidden(depth)


def remove_hidden(depth: FloatArray) -> FloatArray:
    """Drop the points of a projected scan that the camera may not see.

    A scanner sees past the edges of near surfaces to places hidden from the camera, and edges
    between two of its shots are unknown. Points are compared by their nearness (inverse
    depth), which is linear in the pixels of a plane: a road keeps its points though each beam
    hits it much farther away than the last. The window follows from the distance of
    the scan's points in the image. A point goes when

    - one within reach of the next beam is nearer by a fifth more than others there are farther:
      the surface of the nearer one may reach over it;
    - one within reach of the next shot of the beam is nearer or farther by more than a
      twentieth, and 0.1 m: the edge between the two may cross either one's pixel;
    - its surface is so steep that a pixel of it spans more than 3 % of the depth.

    Args:
        depth: (H, W), metres along the optical axis, 0 where there is no point.

    Returns:
        (H, W), the points that stay, 0 elsewhere.

    Raises:
        DepthFormerError: The depth is no floating-point image.
    """
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise DepthFormerError(
            f"depth must be a floating-point image (H, W), got {depth.dtype} {depth.shape}"
        )
    depth = np.ascontiguousarray(depth, np.float32)  # written to as a line of pixels below
    known = np.isfinite(depth) & (depth > 0)
    places = np.flatnonzero(known)
    stays = np.zeros_like(depth)
    if not places.size:
        return stays
    across, down = _spacing(known)
    beside = across + 1
    nearness = 1 / np.maximum(depth.reshape(-1)[places], _NEAREST)
    nearest, farthest = np.zeros_like(depth), np.full_like(depth, np.inf)
    nearest.reshape(-1)[places] = farthest.reshape(-1)[places] = nearness

    def compare(rows: int) -> tuple[FloatingArray, FloatingArray]:
        """Return how much nearer and how much farther points are up to `rows` above and below."""
        window = np.ones((2 * rows + 1, 2 * beside + 1), np.uint8)
        front = cv2.dilate(nearest, window).reshape(-1)[places]
        back = cv2.erode(farthest, window).reshape(-1)[places]
        return front - nearness, nearness - back

    front, back = compare(down)
    seen = front <= _COVER * nearness + back
    seen &= np.minimum(front, back) <= _STEEP * down * nearness
    # Beams are not quite level.
    front, back = compare(beside // 2)
    seen &= np.maximum(front, back) <= nearness * np.maximum(_JUMP, _NOISE * nearness)
    stays.reshape(-1)[places[seen]] = depth.reshape(-1)[places[seen]]
    return stays


def _spacing(known: BoolArray) -> tuple[int, int]:
    """Return the usual distance of a scan's points along a beam and from beam to beam, pixels."""
    width = known.shape[1]
    across = _usual_gap(known, otherwise=1)
    # Joined along the beams, which are never quite level, each beam starts once in a column.
    beams = cv2.dilate(known.view(np.uint8), np.ones((1, 2 * across + 1), np.uint8))
    columns = np.ascontiguousarray(beams[:, :: max(width // 200, 1)].T)
    starts = columns > 0
    starts[:, 1:] &= columns[:, :-1] == 0
    return across, _usual_gap(starts, otherwise=across)


def _usual_gap(marks: BoolArray, *, otherwise: int) -> int:
    """Return the median distance of neighbouring marks within the rows."""
    line, place = np.divmod(np.flatnonzero(marks), marks.shape[1])
    gaps = np.diff(place)[np.diff(line) == 0]
    return int(np.median(gaps)) if gaps.size else otherwise
