"""Ray casting: the first body that each ray of a grid meets.

A grid's rays are identified by two numbers, x for its columns and y for its rows, and what is
compared along a ray is a "nearness" that is the larger the earlier a body is met. For a pinhole
camera x and y are the slopes of the ray and the nearness is the inverse depth; for the parallel
light of the sun they are a place on the ground and the nearness is the height along the light.
In both cases the nearness of a plane is linear in x and y. So a ray enters a convex body at the
smallest nearness of the planes that face it, and exits at the largest of the others: a handful
of operations on the part of the grid that the body can cover, and no division.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.rendering.noise import SIZE, cloud_tile, white_tile
from depthformer_core.synthetic.scene.solids import FACES, Material, Solids
from depthformer_core.types import BoolArray, FloatArray, FloatingArray

FACETS = 8
"""A hit's number is the body's number times this, plus the face; `ROUND` for an ellipsoid."""

ROUND = FACES
NOTHING = -1
NEAR = 0.3
"""Near plane of cameras, metres along the axis."""

_EDGES = np.array([(k, k | bit) for bit in (1, 2, 4) for k in range(8) if not k & bit])
# Faces that rays enter through and the others, by the bits of the former.
_FACING = [
    tuple([face for face in range(FACES) if (code >> face) & 1 == bit] for bit in (1, 0))
    for code in range(1 << FACES)
]


@dataclass(frozen=True)
class Grid:
    """Rays of a pinhole camera.

    Attributes:
        eye: (3,), in the world.
        rotation: (3, 3), takes directions from the camera (x right, y down, z forward) to the
            world.
        across: (W,) slopes of the columns, ascending.
        down: (H,) slopes of the rows, ascending.
    """

    eye: FloatingArray
    rotation: FloatingArray
    across: FloatArray
    down: FloatArray


@dataclass(frozen=True)
class Hits:
    """Hits of a grid's rays.

    Attributes:
        nearness: (H, W) float32; what it was filled with where nothing is met.
        face: (H, W) int32, number of the body and face; `NOTHING` where nothing is met.
    """

    nearness: FloatArray
    face: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Shapes:
    """Bodies as a grid sees them.

    Attributes:
        numbers: (N,), which bodies of the scene they are.
        planes: (N, 6, 3), nearness of a face = planes @ (x, y, 1).
        facing: (N, 6), whether rays enter through the face, if at all.
        windows: (N, 4), first and last column and row that can show it, the last one excluded.
        nearest: (N,), bound on the nearness.
        curves: (N, 11), for ellipsoids: centre x, y; linear part 1, x, y; radicand 1, x, y, xx,
            yy, xy, of coordinates from the centre.
        is_round: (N,), whether it is the ellipsoid.
        ragged: (N,), whether its rim has gaps like leaves.
    """

    numbers: npt.NDArray[np.intp]
    planes: FloatingArray
    facing: BoolArray
    windows: npt.NDArray[np.intp]
    nearest: FloatingArray
    curves: FloatingArray
    is_round: BoolArray
    ragged: BoolArray


def visible_shapes(grid: Grid, solids: Solids, *, farthest: float) -> Shapes:
    """Find the bodies that a camera can see, nearest first.

    Args:
        grid: The camera.
        solids: The bodies.
        farthest: Bodies that begin beyond this depth are skipped, metres.
    """
    corners = (solids.corners - grid.eye) @ grid.rotation
    z = corners[..., 2]
    near, far = z.min(axis=1), z.max(axis=1)
    chosen = np.flatnonzero((far > NEAR) & (near < farthest) & ~(solids.round & (near < NEAR)))
    corners, near = corners[chosen], near[chosen]
    windows = _windows(corners, near, grid)
    visible = (windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3])
    order = np.flatnonzero(visible)
    order = order[np.argsort(near[order], kind="stable")]
    chosen, windows, near = chosen[order], windows[order], near[order]

    gaps = solids.offsets[chosen] - solids.normals[chosen] @ grid.eye
    gaps = np.where(np.abs(gaps) < 1e-6, 1e-6, gaps)
    planes = (solids.normals[chosen] @ grid.rotation) / gaps[..., None]
    is_round = solids.round[chosen]
    curves = np.zeros((len(chosen), 11))
    curves[is_round] = _conics(solids, chosen[is_round], grid)
    return Shapes(
        numbers=chosen,
        planes=planes,
        facing=gaps < 0,
        windows=windows,
        nearest=1.0 / np.maximum(near, NEAR),
        curves=curves,
        is_round=is_round,
        ragged=solids.material[chosen] == Material.LEAVES,
    )


def rasterize(hits: Hits, shapes: Shapes, columns: FloatArray, rows: FloatArray) -> None:
    """Cast all rays of a grid; a hit takes the place of less near ones.

    Args:
        hits: Hits so far; changed in place.
        shapes: The bodies.
        columns: (W,), x of the columns.
        rows: (H,), y of the rows.
    """
    width = len(columns)
    nearness, face = hits.nearness.reshape(-1), hits.face.reshape(-1)
    planes = shapes.planes.astype(np.float32)
    codes = (shapes.facing @ (1 << np.arange(FACES))).tolist()
    windows, nearest = shapes.windows.tolist(), shapes.nearest.tolist()
    is_round, ragged = shapes.is_round.tolist(), shapes.ragged.tolist()
    curves = shapes.curves.astype(np.float32)
    for index, number in enumerate(shapes.numbers.tolist()):
        left, right, top, bottom = windows[index]
        before = hits.nearness[top:bottom, left:right]
        # A sample of the rays finds quickly where a body is not hidden.
        if before[::5, ::5].min() >= nearest[index] and before.min() >= nearest[index]:
            continue
        x, y = columns[left:right], rows[top:bottom]
        if is_round[index]:
            enter = _enter_round(curves[index], x, y, ragged=ragged[index], number=number)
            row, column = np.nonzero(enter > before)
            facet: int | npt.NDArray[np.int32] = ROUND
        else:
            fronts, backs = _FACING[codes[index]]
            if not fronts:
                continue  # the eye is inside
            plane = planes[index]
            along = plane[:, :1] * x + plane[:, 2:]
            upright = (plane[:, 1:2] * y)[:, :, None]
            first, *others = fronts
            enter = upright[first] + along[first]
            for other in others:
                np.minimum(enter, upright[other] + along[other], out=enter)
            exit_ = before
            for other in backs:
                exit_ = np.maximum(exit_, upright[other] + along[other])
            row, column = np.nonzero(enter > exit_)
            facet = first
            if others:
                lowest = upright[first][row, 0] + along[first][column]
                facet = np.full(len(row), first, np.int32)
                for other in others:
                    value = upright[other][row, 0] + along[other][column]
                    facet[value < lowest] = other
                    np.minimum(lowest, value, out=lowest)
        if not len(row):
            continue
        place = (row + top) * width + (column + left)
        nearness[place] = enter[row, column]
        face[place] = number * FACETS + facet


def _enter_round(
    curve: FloatArray, x: FloatArray, y: FloatArray, *, ragged: bool, number: int
) -> FloatArray:
    x, y = x - curve[0], y - curve[1]
    radicand = (curve[5] + y * (curve[7] + curve[9] * y))[:, None] + x * (curve[6] + curve[8] * x)
    radicand += np.outer(y, curve[10] * x)
    threshold: float | FloatArray = 0.0
    if ragged:
        # Gaps between the leaves stay where they are on the crown while the camera moves.
        across = np.sqrt(curve[5] / max(-curve[8], 1e-12))
        upright = np.sqrt(curve[5] / max(-curve[9], 1e-12))
        columns = (x * (60 / across) + number * 37).astype(np.int32) % SIZE
        rows = (y * (60 / upright) + number * 91).astype(np.int32) % SIZE
        grid = np.ix_(rows, columns)
        threshold = (0.2 + 0.2 * cloud_tile()[grid] + 0.35 * white_tile()[grid]) * curve[5]
    inside = radicand > np.maximum(threshold, 0)
    near = (curve[2] + curve[4] * y)[:, None] + curve[3] * x
    near = near + np.sqrt(np.maximum(radicand, 0))
    return np.where(inside, near, -np.inf).astype(np.float32)


def _windows(corners: FloatingArray, near: FloatingArray, grid: Grid) -> npt.NDArray[np.intp]:
    """Return the columns and rows that can show boxes in the camera's frame."""
    depth = np.maximum(corners[..., 2:], NEAR)
    slopes = corners[..., :2] / depth
    lower, upper = slopes.min(axis=1), slopes.max(axis=1)
    for index in np.flatnonzero(near < NEAR):
        # Only the part of the box in front of the camera counts.
        box = corners[index]
        start, end = box[_EDGES[:, 0]], box[_EDGES[:, 1]]
        crossing = (start[:, 2] < NEAR) != (end[:, 2] < NEAR)
        start, end = start[crossing], end[crossing]
        share = ((NEAR - start[:, 2]) / (end[:, 2] - start[:, 2]))[:, None]
        points = np.concatenate((box[box[:, 2] >= NEAR], start + share * (end - start)))
        edge = points[:, :2] / np.maximum(points[:, 2:], NEAR)
        lower[index], upper[index] = edge.min(axis=0), edge.max(axis=0)
    return windows_of(lower, upper, grid.across, grid.down)


def windows_of(
    lower: FloatingArray, upper: FloatingArray, columns: FloatArray, rows: FloatArray
) -> npt.NDArray[np.intp]:
    """Return the columns and rows with x and y between bounds (N, 2)."""
    return np.stack(
        (
            np.searchsorted(columns, lower[:, 0]),
            np.searchsorted(columns, upper[:, 0], side="right"),
            np.searchsorted(rows, lower[:, 1]),
            np.searchsorted(rows, upper[:, 1], side="right"),
        ),
        axis=1,
    )


def shape_matrices(
    solids: Solids, chosen: npt.NDArray[np.intp]
) -> tuple[FloatingArray, FloatingArray]:
    """Return centres c (N, 3) and matrices M (N, 3, 3) of ellipsoids: (p - c) M (p - c) = 1."""
    low, high, yaw = solids.low[chosen], solids.high[chosen], solids.yaw[chosen]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    nought, one = np.zeros_like(yaw), np.ones_like(yaw)
    axes = np.stack(
        (
            np.stack((cosine, nought, -sine), axis=-1),
            np.stack((nought, -one, nought), axis=-1),
            np.stack((sine, nought, cosine), axis=-1),
        ),
        axis=1,
    )
    middle, radii = (low + high) / 2, (high - low) / 2
    centres = solids.origin[chosen] + (middle[:, :, None] * axes).sum(axis=1)
    scaled = axes / radii[:, :, None]
    return centres, np.swapaxes(scaled, 1, 2) @ scaled


def _conics(solids: Solids, chosen: npt.NDArray[np.intp], grid: Grid) -> FloatingArray:
    centres, matrices = shape_matrices(solids, chosen)
    centres = (centres - grid.eye) @ grid.rotation
    matrices = grid.rotation.T @ matrices @ grid.rotation
    polar = (matrices @ centres[..., None])[..., 0]
    outside = np.maximum((polar * centres).sum(-1) - 1, 1e-9)
    linear = polar / outside[:, None]
    quadric = linear[:, :, None] * linear[:, None] - matrices / outside[:, None, None]
    middle = centres / centres[:, 2:]
    slope = (quadric @ middle[..., None])[..., 0]
    return np.stack(
        (
            middle[:, 0], middle[:, 1],
            (linear * middle).sum(-1), linear[:, 0], linear[:, 1],
            (middle * slope).sum(-1), 2 * slope[:, 0], 2 * slope[:, 1],
            quadric[:, 0, 0], quadric[:, 1, 1], 2 * quadric[:, 0, 1],
        ),
        axis=1,
    )  # fmt: skip
