"""The ground of a scene as a camera sees it: patches between the road's cross-sections."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.scene.cast import NEAR, Grid
from depthformer_core.synthetic.scene.road import Road
from depthformer_core.types import FloatArray, FloatingArray

PLAIN = -2
"""Number of the patch that stands for the plain around the terrain."""

_NONE = -1
_FRACTION = 4  # bits of a pixel's fraction when patches are drawn
_LIMIT = 1 << 14
_SECTIONS = 8  # of the road that a grazing pixel may reach over
_CREST = 3  # rows above a ray that are looked at for what lies behind a crest
_SLACK = 0.01  # of the distance; metres up to 1 m: float32 is not more exact
_THIN = 130.0  # beyond this, metres, fewer cross-sections are looked at


@dataclass(frozen=True)
class GroundHits:
    """Ground that a grid's rays meet, were there nothing on it.

    Attributes:
        place: (N,), ray, counted row by row.
        nearness: (N,), inverse depth.
        patch: (N,), triangle, or `PLAIN`.
    """

    place: npt.NDArray[np.intp]
    nearness: FloatArray
    patch: npt.NDArray[np.intp]


class TerrainView:
    """Triangles of a road's ground in front of a camera.

    Args:
        road: The road with what lies beside it.
        grid: The camera.
        plain: Height of the plain around, metres (y in the world).
    """

    def __init__(self, road: Road, grid: Grid, *, plain: float) -> None:
        self._grid = grid
        vertices = road.vertices()
        s = road.s
        position = (vertices - grid.eye) @ grid.rotation
        ahead = position[..., 2]
        shown = ahead.max(axis=1) > NEAR
        # The patch below the camera ends before it, too.
        shown[:-1] |= shown[1:].copy()
        shown[1:] |= shown[:-1].copy()
        keep = np.flatnonzero(shown)
        # Every fourth section is enough far away; mouths of side roads stay as they are.
        far = ahead[:, len(road.strips) // 2] > _THIN
        regular = np.isclose(s % 8.0, 0) | (~np.isclose(s % 2.0, 0))
        keep = keep[~far[keep] | regular[keep]]
        first, second = keep[:-1], keep[1:]
        columns = len(road.strips) - 1
        t = np.array([strip.t for strip in road.strips])
        lattice_s = np.broadcast_to(s[:, None], ahead.shape)
        lattice_t = np.broadcast_to(t[None], ahead.shape)
        corner = (slice(None, -1), slice(1, None))
        triangles = []
        for lower, upper, third in (
            ((first, 0), (first, 1), (second, 0)),
            ((second, 1), (second, 0), (first, 1)),
        ):
            triangles.append([(rows, corner[side]) for rows, side in (lower, upper, third)])

        def gather(values: FloatingArray) -> FloatingArray:
            parts = [
                np.stack([values[rows][:, side] for rows, side in triangle], axis=2)
                for triangle in triangles
            ]
            return np.stack(parts, axis=2).reshape(-1, 3, *values.shape[2:])

        points = gather(position)
        attributes = np.stack((np.ones((len(points), 3)), gather(lattice_s), gather(lattice_t)), -1)
        volume = np.linalg.det(points)
        whole = np.abs(volume) > 1e-9
        solved = np.zeros((len(points), 3, 3))
        solved[whole] = np.linalg.inv(points[whole]) @ attributes[whole]
        self.coefficients = solved  # (T, xyz, nearness | s * nearness | t * nearness)
        self.normals = _normals(points) @ grid.rotation.T
        self.paints = np.repeat(road.paints()[first], 2, axis=1).reshape(-1)
        # Sections that were left out are painted like the nearest one that was kept.
        self._begin = np.repeat(s[first], 2 * columns)
        self._end = np.repeat(s[second], 2 * columns)
        self._stride = 2 * columns
        self._points = points
        self._whole = whole
        self._plain = plain

    def cast(self) -> GroundHits:
        """Find the triangle that each ray meets."""
        grid = self._grid
        height, width = len(grid.down), len(grid.across)
        patches = np.full((height, width), _NONE, np.int32)
        self._draw(patches)
        flat = patches.reshape(-1)
        place = np.flatnonzero(flat >= 0)
        patch = flat[place].astype(np.intp)
        row, column = np.divmod(place, width)
        x, y = grid.across[column], grid.down[row]
        near = self._evaluate(patch, x, y, 0)
        # Drawing covers what a pixel touches; its ray may meet a section before or behind.
        wrong, excess = self._astray(patch, x, y, near)
        step = np.sign(excess).astype(np.intp)
        for _ in range(_SECTIONS):
            other = patch[wrong] + step * self._stride
            there = (other >= 0) & (other < len(self._whole))
            wrong, other, step = wrong[there], other[there], step[there]
            patch[wrong], near[wrong] = other, self._evaluate(other, x[wrong], y[wrong], 0)
            left, excess = self._astray(patch[wrong], x[wrong], y[wrong], near[wrong])
            # One that turns back stands over a crest.
            on = np.sign(excess) == step[left]
            wrong, step = wrong[left[on]], step[left[on]]
        wrong, _ = self._astray(patch, x, y, near)
        # Over a crest, a ray meets what the pixels above see.
        for lift in range(1, _CREST + 1):
            above = place[wrong] - lift * width
            tried, other = wrong[above >= 0], flat[above[above >= 0]].astype(np.intp)
            tried, other = tried[other >= 0], other[other >= 0]
            near_there = self._evaluate(other, x[tried], y[tried], 0)
            fits = np.ones(len(tried), np.bool_)
            fits[self._astray(other, x[tried], y[tried], near_there)[0]] = False
            patch[tried[fits]], near[tried[fits]] = other[fits], near_there[fits]
            wrong = np.setdiff1d(wrong, tried[fits])
        # The rest just misses the crest that its pixel touches.
        depth = np.maximum(self._points[patch[wrong], :, 2], NEAR)
        near[wrong] = np.clip(near[wrong], 1 / depth.max(axis=1), 1 / depth.min(axis=1))
        valid = (near > 1e-4) & (near < 1 / NEAR)
        place, near, patch = place[valid], near[valid], patch[valid]

        direction = np.outer(grid.down, grid.rotation[1, 1]) + (
            grid.rotation[1, 0] * grid.across + grid.rotation[1, 2]
        )
        plain = np.flatnonzero((flat < 0) & (direction.reshape(-1) > 1e-3))
        fall = direction.reshape(-1)[plain] / np.float32(self._plain - grid.eye[1])
        return GroundHits(
            np.concatenate((place, plain)),
            np.concatenate((near, fall)).astype(np.float32),
            np.concatenate((patch, np.full(len(plain), PLAIN, np.intp))),
        )

    def _astray(
        self, patch: npt.NDArray[np.intp], x: FloatArray, y: FloatArray, near: FloatArray
    ) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Find the rays that meet a triangle's plane before (-) or behind (+) its section."""
        with np.errstate(divide="ignore", invalid="ignore"):
            s = self._evaluate(patch, x, y, 1) / near
            slack = np.maximum(_SLACK, _SLACK / near)
        before, behind = self._begin[patch] - s, s - self._end[patch]
        excess = np.where(before > behind, -before, behind)
        # A plane that runs away from the ray is met behind everything.
        excess = np.where(near > 0, excess, np.inf)
        wrong = np.flatnonzero((np.maximum(before, behind) > slack) | ~(near > 0))
        return wrong, np.asarray(excess[wrong], np.float32)

    def _evaluate(
        self, patch: npt.NDArray[np.intp], x: FloatArray, y: FloatArray, attribute: int
    ) -> FloatArray:
        """Return the nearness, or s or t times nearness, of rays on triangles."""
        solved = self.coefficients[..., attribute].astype(np.float32)
        value = solved[:, 0].take(patch)
        value *= x
        value += solved[:, 1].take(patch) * y
        value += solved[:, 2].take(patch)
        return np.asarray(value)

    def along_and_across(
        self, patch: npt.NDArray[np.intp], x: FloatArray, y: FloatArray, near: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the places s and t of hits on triangles, metres."""
        return (
            self._evaluate(patch, x, y, 1) / near,
            self._evaluate(patch, x, y, 2) / near,
        )

    def _draw(self, patches: npt.NDArray[np.int32]) -> None:
        grid, points = self._grid, self._points
        scale_x = (len(grid.across) - 1) / float(grid.across[-1] - grid.across[0])
        scale_y = (len(grid.down) - 1) / float(grid.down[-1] - grid.down[0])
        depth = points[..., 2]
        slopes = points[..., :2] / np.maximum(depth, NEAR)[..., None]
        offset = np.array((grid.across[0], grid.down[0]), np.float64)
        unit = 1 << _FRACTION
        pixels = (slopes - offset) * (scale_x, scale_y)
        pixels = np.rint(np.clip(pixels, -_LIMIT, _LIMIT) * unit).astype(np.int32)
        size = np.array((len(grid.across), len(grid.down))) * unit
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        shown = (high >= 0).all(axis=1) & (low < size).all(axis=1)
        in_front = depth.min(axis=1) > NEAR
        crossing = ~in_front & (depth.max(axis=1) > NEAR)
        drawn = np.flatnonzero(self._whole & (crossing | (in_front & shown)))
        # Far triangles first: near ones hide them behind crests.
        for index in drawn[np.argsort(-depth[drawn].mean(axis=1), kind="stable")].tolist():
            outline = pixels[index]
            if crossing[index]:
                flat = _clip(points[index])
                flat = ((flat[:, :2] / flat[:, 2:]) - offset) * (scale_x, scale_y)
                outline = np.rint(np.clip(flat, -_LIMIT, _LIMIT) * unit).astype(np.int32)
            cv2.fillConvexPoly(patches, outline, index, shift=_FRACTION)


def _clip(triangle: FloatingArray) -> FloatingArray:
    """Return the part of a triangle in front of the camera."""
    corners = []
    for start, end in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
        if start[2] >= NEAR:
            corners.append(start)
        if (start[2] < NEAR) != (end[2] < NEAR):
            corners.append(start + (NEAR - start[2]) / (end[2] - start[2]) * (end - start))
    return np.array(corners)


def _normals(points: FloatingArray) -> FloatingArray:
    """Return the upward normals of triangles in the frame of an upright or tilted camera."""
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return np.asarray(normals * np.where(normals[:, 1:2] > 0, -1.0, 1.0))
