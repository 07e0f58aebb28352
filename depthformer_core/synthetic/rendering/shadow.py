"""Shadows of the scene's bodies."""

import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.scene.cast import (
    NOTHING,
    Hits,
    Shapes,
    rasterize,
    shape_matrices,
    windows_of,
)
from depthformer_core.synthetic.scene.solids import Material, Solids
from depthformer_core.types import FloatArray, FloatingArray

_BIAS = 0.12  # metres along the light
_NEVER = -1e6
_AHEAD, _BEHIND, _ASIDE = 110.0, 12.0, 45.0
_GROW = 7.0  # cells are smallest near the camera and grow from this distance on
_CELLS = 90  # for each unit of the growing scale


class ShadowMap:
    """Distances from the sun to the first body, around a camera.

    Args:
        solids: The bodies.
        sun: (3,), unit, the direction of the light.
        eye: (3,), the camera.
        ground: Height of the ground below it, y of the world.
        yaw: Direction of the camera.
    """

    def __init__(
        self, solids: Solids, *, sun: FloatingArray, eye: FloatingArray, ground: float, yaw: float
    ) -> None:
        self._sun = sun
        self._base = np.array((eye[0], ground, eye[2]))
        self._right = np.array((np.cos(yaw), 0.0, -np.sin(yaw)))
        self._ahead = np.array((np.sin(yaw), 0.0, np.cos(yaw)))
        self._columns = _scale(-_ASIDE, _ASIDE)
        self._rows = _scale(-_BEHIND, _AHEAD)
        size = (len(self._rows), len(self._columns))
        hits = Hits(np.full(size, _NEVER, np.float32), np.full(size, NOTHING, np.int32))
        rasterize(hits, self._shapes(solids), self._columns, self._rows)
        self._height = hits.nearness.reshape(-1)

    def light(self, points: FloatArray) -> FloatArray:
        """Return the share of sunlight at points (3, N), relative to the eye's foot."""
        sun = (self._sun / self._sun[1]).astype(np.float32)
        y = points[1]
        x = points[0] - y * sun[0]
        z = points[2] - y * sun[2]
        right, ahead = self._right.astype(np.float32), self._ahead.astype(np.float32)
        column = _cell(right[0] * x + right[2] * z, -_ASIDE)
        row = _cell(ahead[0] * x + ahead[2] * z, -_BEHIND)
        width, height = len(self._columns), len(self._rows)
        np.clip(column, 0, width - 1.01, out=column)
        np.clip(row, 0, height - 1.01, out=row)
        left, top = column.astype(np.int32), row.astype(np.int32)
        column -= left
        row -= top
        # Above this there is something.
        limit = y * np.float32(-1 / self._sun[1]) + np.float32(_BIAS)
        place = top * width + left
        upper = (self._height.take(place) <= limit) * (1 - column)
        upper += (self._height.take(place + 1) <= limit) * column
        place += width
        lower = (self._height.take(place) <= limit) * (1 - column)
        lower += (self._height.take(place + 1) <= limit) * column
        upper *= 1 - row
        lower *= row
        upper += lower
        return np.asarray(upper, np.float32)

    def _shapes(self, solids: Solids) -> Shapes:
        sun = self._sun
        relative = solids.corners - self._base
        slid = relative - (relative[..., 1:2] / sun[1]) * sun
        flat = np.stack((slid @ self._right, slid @ self._ahead), axis=-1)
        windows = windows_of(flat.min(axis=1), flat.max(axis=1), self._columns, self._rows)
        chosen = np.flatnonzero((windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3]))
        normals = solids.normals[chosen]
        towards = normals @ sun
        towards = np.where(np.abs(towards) < 1e-6, 1e-6, towards)
        planes = np.stack(
            (normals @ self._right, normals @ self._ahead,
             normals @ self._base - solids.offsets[chosen]),
            axis=-1,
        ) / towards[..., None]  # fmt: skip
        is_round = solids.round[chosen]
        curves = np.zeros((len(chosen), 11))
        curves[is_round] = self._curves(solids, chosen[is_round])
        return Shapes(
            numbers=chosen,
            planes=planes,
            facing=towards < 0,
            windows=windows[chosen],
            nearest=(-relative[chosen, :, 1] / sun[1]).max(axis=1),
            curves=curves,
            is_round=is_round,
            ragged=solids.material[chosen] == Material.LEAVES,
        )

    def _curves(self, solids: Solids, chosen: npt.NDArray[np.intp]) -> FloatingArray:
        """Compute `Shapes.curves`: points on the ground slide to the body along the light."""
        centres, matrices = shape_matrices(solids, chosen)
        centres = centres - self._base
        time = centres[:, 1] / self._sun[1]
        foot = centres - time[:, None] * self._sun
        across = np.stack((self._right, self._ahead), axis=1)
        polar = matrices @ self._sun
        size = polar @ self._sun
        linear = (polar @ across) / size[:, None]
        quadric = linear[:, :, None] * linear[:, None] - (
            across.T @ matrices @ across / size[:, None, None]
        )
        nought = np.zeros_like(time)
        return np.stack(
            (
                foot @ self._right, foot @ self._ahead,
                -time, linear[:, 0], linear[:, 1],
                1 / size, nought, nought,
                quadric[:, 0, 0], quadric[:, 1, 1], 2 * quadric[:, 0, 1],
            ),
            axis=1,
        )  # fmt: skip


def _scale(low: float, high: float) -> FloatArray:
    """Return the places of cells, which grow with distance."""
    first, last = np.arcsinh(low / _GROW), np.arcsinh(high / _GROW)
    steps = first + np.arange(int((last - first) * _CELLS)) / _CELLS
    return np.asarray(_GROW * np.sinh(steps), np.float32)


def _cell(places: FloatArray, low: float) -> FloatArray:
    """Invert `_scale`, counted in cells from its beginning."""
    cells = np.arcsinh(places * np.float32(1 / _GROW))
    cells -= np.float32(np.arcsinh(low / _GROW))
    cells *= _CELLS
    return np.asarray(cells)
