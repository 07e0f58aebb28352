"""The ground in a depth image whose camera's direction is known, within a millisecond.

On a plane, inverse depth is an affine function of the pixel, so nothing is unprojected. Everything
is measured in units of the camera's height, which depth of a wrong scale does not know. For clouds
without a known direction, such as scans, see `ground.fit_ground`.
"""

import contextlib
import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, Vector3
from depthformer_core.types import FloatingArray

# Rays that descend by so much a metre ahead are looked at: ground nearer than 12 camera heights.
_FALL = 1 / 12
# To either side, in camera heights.
_BREADTH = 1.2
_ROWS, _COLUMNS = 72, 96
# So many of these are looked at for depth, and so many with depth are taken.
_CANDIDATES = 2000
_PIXELS = 500
_FEWEST = 100
_TRIPLES = 100
_SCORED = 250
# Points of the ground lie within this share of the height over their place.
_MARGIN = 0.06
_REFINEMENTS = 3
# Smallest share of the points that are ground: less is a crowd.
_SHARE = 0.5
# Inverse depths of the ground's points, the 90th over the 10th percentile: less is no road ahead.
_SPREAD = 1.4
_TILTED = math.radians(10)
_TURNED = math.radians(4)
_APART = 0.25


@dataclass(frozen=True)
class GroundSight:
    """Ground found in a depth image.

    Attributes:
        plane: The plane that fits best.
        upright: Height of the camera if the ground were level in the known direction, metres.
    """

    plane: Plane
    upright: float

    @property
    def height(self) -> float:
        """Height of the camera, metres: the geometric mean of `plane` and `upright`.

        A camera that nods deceives the second, a slope that begins ahead deceives both, in
        opposite directions.
        """
        return math.sqrt(self.plane.height * self.upright)

    @property
    def is_sure(self) -> bool:
        """Whether the two heights agree so well that the mean is at most 13 % off."""
        return abs(math.log(self.plane.height / self.upright)) <= _APART


def see_ground(
    depth: FloatingArray, camera: Camera, *, up: Vector3, tilt: float = _TILTED
) -> GroundSight | None:
    """Find the ground ahead of a camera by RANSAC (Fischler and Bolles 1981) in inverse depth.

    Args:
        depth: (H, W), metres along the optical axis; NaN and infinity where there is none.
        camera: Its camera.
        up: Normal of the ground where the vehicle stands, in the optical frame.
        tilt: Largest angle between it and the normal of the ground ahead, radians.

    Returns:
        The ground; None where too little of what lies ahead is one plane: in traffic, before
        walls, where the gradient changes.

    Raises:
        DepthFormerError: The depth is not of the camera's size.
    """
    if depth.shape != (camera.height, camera.width):
        raise DepthFormerError(
            f"depth has shape {depth.shape}, the camera {camera.height, camera.width}"
        )
    chosen = _choose(camera, up)
    looked = depth.reshape(-1)[chosen.places].astype(np.float64)
    known = np.flatnonzero(np.isfinite(looked) & (looked > 0))[:_PIXELS]
    if len(known) < _FEWEST:
        return None
    falls, z = chosen.falls[known], looked[known]
    points = chosen.rays[known] * z[:, None]
    found = _consensus(points, chosen.draws, np.array(up), math.cos(tilt))
    if found is None:
        return None
    for _ in range(_REFINEMENTS):
        near = np.abs(points @ found - 1) < _MARGIN
        if np.count_nonzero(near) < _SHARE * len(points):
            return None
        ground = points[near]
        # Points p of a plane have p @ found = 1.
        found = np.linalg.solve(ground.T @ ground, ground.sum(axis=0))
    return _judge(found, falls[near], z[near], np.array(up), tilt)


class _Choice(NamedTuple):
    """Pixels of a camera that look at the ground, in random order.

    Attributes:
        places: (N,), in the flattened image.
        rays: (N, 3), x / z, y / z and 1.
        falls: (N,), fall of the ray over a metre of depth, metres.
        draws: (T, 3), for the choice of triples, 0 to 1.
    """

    places: npt.NDArray[np.intp]
    rays: npt.NDArray[np.float64]
    falls: npt.NDArray[np.float64]
    draws: npt.NDArray[np.float64]


@functools.lru_cache(maxsize=8)
def _choose(camera: Camera, up: Vector3) -> _Choice:
    rows, columns = (
        np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.intp))
        for size, most in ((camera.height, _ROWS), (camera.width, _COLUMNS))
    )
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    rays = np.stack(np.broadcast_arrays(x[None], y[:, None], 1.0), axis=-1).reshape(-1, 3)
    places = (rows[:, None] * camera.width + columns).reshape(-1)
    falls = -rays @ np.array(up)
    seen = falls > _FALL
    # To a camera that looks straight down, all is near.
    with contextlib.suppress(DepthFormerError):
        right, _ = Plane(up, 1.0).axes()
        seen &= np.abs(rays @ right) < _BREADTH * falls
    rng = np.random.default_rng(0)
    kept = rng.permutation(np.flatnonzero(seen))[:_CANDIDATES]
    return _Choice(places[kept], rays[kept], falls[kept], rng.random((_TRIPLES, 3)))


def _consensus(
    points: npt.NDArray[np.float64],
    draws: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    cosine: float,
) -> npt.NDArray[np.float64] | None:
    """Return the best plane through three of the points: minus its normal over its height."""
    triples = points[(draws * len(points)).astype(np.intp)]
    # In units of the depths, whatever their scale is.
    volumes = np.abs(np.linalg.det(triples)) / triples[..., 2].prod(axis=1)
    triples = triples[volumes > 1e-6]
    planes = np.linalg.solve(triples, np.ones((len(triples), 3, 1)))[..., 0]
    planes = planes[-(planes @ up) > cosine * np.linalg.norm(planes, axis=1)]
    if not len(planes):
        return None
    scored = points[:_SCORED].T.astype(np.float32)
    errors = (planes.astype(np.float32) @ scored - 1) / np.float32(_MARGIN)
    # Nothing lies below the ground.
    scores = np.maximum(0, 1 - errors * errors).sum(axis=1) - (errors > 2).sum(axis=1)
    best: npt.NDArray[np.float64] = planes[scores.argmax()]
    return best


def _judge(
    found: npt.NDArray[np.float64],
    falls: npt.NDArray[np.float64],
    z: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    tilt: float,
) -> GroundSight | None:
    """Return a plane with the height of its points, if it can be the ground."""
    height = 1 / float(np.linalg.norm(found))
    normal = -found * height
    # The quantiles of NumPy take a third of the time of it all.
    steep = np.argsort(falls)
    low, high = falls[steep[len(steep) // 10]], falls[steep[-1 - len(steep) // 10]]
    if not math.isfinite(height) or normal @ up < math.cos(tilt) or high < _SPREAD * low:
        return None
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    roll = float(np.cross(forward, up) @ normal)
    if abs(roll) > math.sin(_TURNED):
        return None
    # The near half, since slopes begin ahead.
    near = steep[len(steep) // 2 :]
    upright = float(np.median(falls[near] * z[near]))
    plane = Plane((float(normal[0]), float(normal[1]), float(normal[2])), height)
    return GroundSight(plane, upright)
