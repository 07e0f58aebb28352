"""The ground that a robot drives on, as a plane in the camera's optical frame."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatingArray

Vector3 = tuple[float, float, float]

# The camera's height over the ground, metres, and the angle between its up and the normal.
_LOWEST, _HIGHEST = 0.1, 5.0
_STEEPEST = math.cos(math.radians(25))
# Roads are flat near the camera, metres.
_REACH = 30.0
_POINTS = 4000
_SCORED = 1000
_TRIPLES = 500
_FEWEST = 30
_SHARE = 0.05  # of the points below the camera
# Points of a plane lie within so many metres of it, and as many more a metre of distance.
_ROUGH, _SLOPED = 0.05, 0.01
_REFINEMENTS = 3
# A line is no plane: smallest breadth of its points, as a share of the camera's height.
_BREADTH = 0.2


@dataclass(frozen=True)
class Plane:
    """Ground plane in the optical frame (x right, y down, z forward).

    Attributes:
        normal: Unit vector that points up.
        height: Height of the camera over the ground, metres.
    """

    normal: Vector3
    height: float

    def __post_init__(self) -> None:
        """Reject what is no plane below the camera."""
        length = math.hypot(*self.normal)
        if not abs(length - 1) < 1e-3:
            raise DepthFormerError(f"the ground's normal must be a unit vector, got {self.normal}")
        if not 0 < self.height < math.inf:
            raise DepthFormerError(
                f"the camera must be above the ground, got the height {self.height:g} m"
            )

    def heights(self, points: FloatingArray) -> FloatingArray:
        """Compute the height of points above the ground.

        Args:
            points: (..., 3), metres in the optical frame.

        Returns:
            (...), metres.
        """
        heights: FloatingArray = points @ np.array(self.normal, points.dtype) + self.height
        return heights

    def axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the unit vectors to the right and forward on the ground, each (3,).

        Raises:
            DepthFormerError: The camera looks straight down or up.
        """
        up = np.array(self.normal)
        forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
        length = np.linalg.norm(forward)
        if length < 0.05:
            raise DepthFormerError(
                "the camera looks straight at the ground: no direction on the ground is ahead"
            )
        forward /= length
        return np.cross(forward, up), forward


def plane_of_frame(matrix: FloatingArray) -> Plane:
    """Return the plane z = 0 of a frame on the ground, such as `base_footprint`.

    Args:
        matrix: (4, 4), takes points of the camera's optical frame to that frame.

    Raises:
        DepthFormerError: The matrix is no rigid transform, or the camera is not above the plane.
    """
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DepthFormerError(f"a transform must be a finite 4x4 matrix, got {matrix.tolist()}")
    x, y, z, height = (float(value) for value in matrix[2])
    return Plane((x, y, z), height)


def fit_ground(
    points: FloatingArray, *, up: Vector3 = (0.0, -1.0, 0.0), seed: int = 0
) -> Plane | None:
    """Fit the ground to points that a camera on a robot sees.

    RANSAC (Fischler and Bolles 1981, scored as MSAC) finds the plane with the most points near it
    and few below it, least squares refine it. Near points must fit more closely, and weigh more.

    Args:
        points: (N, 3), metres in the optical frame; those that are not finite are left out, and so
            are those beyond 30 m.
        up: Unit vector that points up as far as known: the normal lies within 25 degrees of it.
        seed: Of the random choice of points; equal calls give equal planes.

    Returns:
        The plane, 0.1 to 5 m below the camera; None where there is none.
    """
    rng = np.random.default_rng(seed)
    upward = np.array(up, np.float64)
    below = _below(points, upward, rng)
    if len(below) < _FEWEST:
        return None
    margin = _ROUGH + _SLOPED * np.linalg.norm(below, axis=1)
    found = _consensus(below, margin, upward, rng)
    if found is None:
        return None
    normal, height = found
    for _ in range(_REFINEMENTS):
        near = np.abs(below @ normal + height) < margin
        if near.sum() < max(_FEWEST, _SHARE * len(below)):
            return None
        normal, height, breadth = _least_squares(below[near], 1 / margin[near] ** 2, upward)
        if not _is_possible(normal @ upward, np.array(height)) or breadth < _BREADTH * height:
            return None
    return Plane((float(normal[0]), float(normal[1]), float(normal[2])), height)


def _below(
    points: FloatingArray, up: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return points below the camera and near it, at most so many, in random order."""
    # More than needed, as some lie elsewhere; a million points take long.
    many = 8 * _POINTS
    if len(points) > many:
        points = points[rng.integers(0, len(points), many)]
    chosen = points.astype(np.float64)
    heights = chosen @ up
    # Comparisons with NaN are false.
    near = chosen[(heights < 0) & ((chosen**2).sum(axis=1) < _REACH**2)]
    below: npt.NDArray[np.float64] = near[rng.permutation(len(near))[:_POINTS]]
    return below


def _consensus(
    points: npt.NDArray[np.float64],
    margin: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], float] | None:
    """Return normal and height of the best plane through three of the points."""
    first, second, third = points[rng.integers(0, len(points), (3, _TRIPLES))]
    normals = np.cross(second - first, third - first)
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-9
    normals, first = normals[usable] / lengths[usable, None], first[usable]
    normals *= np.sign(normals @ up)[:, None]
    heights = -(normals * first).sum(axis=1)
    possible = _is_possible(normals @ up, heights)
    normals, heights = normals[possible], heights[possible]
    if not len(normals):
        return None
    scored = points[:_SCORED]
    # In units of the margin.
    error = (normals @ scored.T + heights[:, None]) / margin[:_SCORED]
    scores = np.maximum(0, 1 - error**2).sum(axis=1) - (error < -2).sum(axis=1)
    best = int(scores.argmax())
    return (normals[best], float(heights[best])) if scores[best] > 0 else None


def _is_possible(
    cosine: npt.NDArray[np.float64], height: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return whether planes can be the ground, by their normal's angle to up and their height."""
    possible: npt.NDArray[np.bool_] = cosine >= _STEEPEST
    return possible & (height >= _LOWEST) & (height <= _HIGHEST)


def _least_squares(
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Return normal, height and breadth of the plane nearest to weighted points."""
    middle = np.average(points, axis=0, weights=weights)
    away = points - middle
    spread = (away * weights[:, None]).T @ away / weights.sum()
    variances, directions = np.linalg.eigh(spread)  # ascending
    normal = directions[:, 0]
    if normal @ up < 0:
        normal = -normal
    return normal, float(-(normal @ middle)), math.sqrt(max(variances[1], 0.0))
