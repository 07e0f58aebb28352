"""Course, heights and cross-section of a generated road.

Places are measured along the road (s, metres from its start) and across it (t, metres to the right
of its middle).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from depthformer_core.types import BoolArray, FloatingArray

STEP = 2.0
"""Distance of the cross-sections that the ground is made of, metres."""


class Ground(IntEnum):
    """Kinds of ground by their paint."""

    ROAD = 0
    KERB = 1
    PAVEMENT = 2
    GRASS = 3
    FIELD = 4
    SIDE_ROAD = 5
    YARD = 6


@dataclass(frozen=True)
class Strip:
    """Edge of a strip of ground that runs along the road.

    Attributes:
        t: Start of the strip; it ends at the start of the next one.
        height: Height of that edge over the road, metres.
        swell: Amplitude of terrain waves, metres.
        ground: Paint of the strip.
    """

    t: float
    height: float
    swell: float
    ground: Ground


@dataclass(frozen=True)
class Junction:
    """Side road.

    Attributes:
        start: Its start along the road.
        end: Its end along the road.
        left: Whether it joins from the left.
        right: Whether it joins from the right.
    """

    start: float
    end: float
    left: bool
    right: bool

    def covers(self, s: FloatingArray, side: int, margin: float = 0.0) -> BoolArray:
        """Return whether places along a side of the road are in its mouth."""
        open_here = self.left if side < 0 else self.right
        return np.asarray((s > self.start - margin) & (s < self.end + margin) & open_here)


class Road:
    """Centre line, heights and cross-section.

    Args:
        rng: Source of randomness.
        start: First place of the road, metres; a multiple of `STEP`.
        end: Last place.
        bend: Largest change of direction, radians.
        slope: Typical slope.
        strips: Cross-section from left to right, the last one's edge closes it.
        junctions: Side roads.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        start: float,
        end: float,
        bend: float,
        slope: float,
        strips: list[Strip],
        junctions: list[Junction],
    ) -> None:
        self.strips = strips
        self.junctions = junctions
        s = np.arange(start, end + STEP / 2, STEP)
        mouths = [
            place for j in junctions for place in (j.start, j.start + 0.05, j.end - 0.05, j.end)
        ]
        self.s = np.unique(np.concatenate((s, np.array(mouths))))
        wavelength = rng.uniform(260.0, 520.0)
        phase = rng.uniform(0, 2 * np.pi)
        self._heading = bend * np.sin(2 * np.pi * self.s / wavelength + phase)
        waves = rng.uniform((140.0, 60.0), (320.0, 120.0))
        phases = rng.uniform(0, 2 * np.pi, 2)
        shares = np.array((1.0, 0.35)) * slope * waves / (2 * np.pi)
        self._height = (shares * np.sin(2 * np.pi * self.s[:, None] / waves + phases)).sum(axis=1)
        middle = (self._heading[1:] + self._heading[:-1]) / 2
        steps = np.diff(self.s)
        self._x = np.concatenate(((0.0,), np.cumsum(np.sin(middle) * steps)))
        self._z = np.concatenate(((0.0,), np.cumsum(np.cos(middle) * steps)))
        # The terrain's waves, one course for each side.
        self._swell = [self._waves(rng) for _ in range(2)]
        self._heights = self._cross_sections()
        self.lowest = float(self._heights.min())

    def heading(self, s: FloatingArray | float) -> FloatingArray:
        """Return the direction of the road, radians, positive to the right of z."""
        return np.asarray(np.interp(s, self.s, self._heading))

    def grade(self, s: float) -> float:
        """Return the slope of the road upwards."""
        ahead, behind = np.interp((s + 1.5, s - 1.5), self.s, self._height)
        return float((ahead - behind) / 3.0)

    def place(self, s: FloatingArray | float, t: FloatingArray | float) -> FloatingArray:
        """Return points on the ground, (..., 3), in the world."""
        s, t = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(t, np.float64))
        edges = np.array([strip.t for strip in self.strips])
        row = np.clip(np.searchsorted(self.s, s, side="right") - 1, 0, len(self.s) - 2)
        column = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, len(edges) - 2)
        along = ((s - self.s[row]) / (self.s[row + 1] - self.s[row]))[..., None]
        across = (t - edges[column]) / (edges[column + 1] - edges[column])
        heights = self._heights
        lower = heights[row, column] * (1 - across) + heights[row, column + 1] * across
        upper = heights[row + 1, column] * (1 - across) + heights[row + 1, column + 1] * across
        up = lower * (1 - along[..., 0]) + upper * along[..., 0]
        # Straight between cross-sections, as the ground itself is.
        first, second = self._section(row, t), self._section(row + 1, t)
        flat = first * (1 - along) + second * along
        return np.stack((flat[..., 0], -up, flat[..., 1]), axis=-1)

    def vertices(self) -> FloatingArray:
        """Return the corners of the ground's patches, (sections, strips, 3), in the world."""
        edges = np.array([strip.t for strip in self.strips])
        rows = np.arange(len(self.s))
        flat = self._section(rows[:, None], edges[None, :])
        return np.stack((flat[..., 0], -self._heights, flat[..., 1]), axis=-1)

    def paints(self) -> npt.NDArray[np.uint8]:
        """Return the material of each patch, (sections - 1, strips - 1), `Ground`."""
        kinds = np.array([strip.ground for strip in self.strips[:-1]], np.uint8)
        paints = np.tile(kinds, (len(self.s) - 1, 1))
        centres = (self.s[1:] + self.s[:-1]) / 2
        edges = np.array([strip.t for strip in self.strips])
        sides = np.sign((edges[1:] + edges[:-1]) / 2)
        sides[kinds == Ground.ROAD] = 0
        for junction in self.junctions:
            for side in (-1, 1):
                rows = junction.covers(centres, side)
                paints[np.ix_(rows, sides == side)] = Ground.SIDE_ROAD
        return paints

    def _section(self, row: npt.NDArray[np.intp], t: FloatingArray) -> FloatingArray:
        heading = self._heading[row]
        return np.stack(
            (self._x[row] + np.cos(heading) * t, self._z[row] - np.sin(heading) * t), axis=-1
        )

    def _waves(self, rng: np.random.Generator) -> FloatingArray:
        lengths, phases = rng.uniform(40, 160, 3), rng.uniform(0, 2 * np.pi, 3)
        waves: FloatingArray = np.sin(2 * np.pi * self.s[:, None] / lengths + phases).mean(axis=1)
        return waves

    def _cross_sections(self) -> FloatingArray:
        heights = np.empty((len(self.s), len(self.strips)))
        for column, strip in enumerate(self.strips):
            side = int(np.sign(strip.t))
            swell = self._swell[0 if side < 0 else 1]
            over = strip.height + strip.swell * swell
            if 0 < strip.height < 0.3:  # a kerb is lowered where a side road joins
                for junction in self.junctions:
                    mouth = junction.covers(self.s, side, -0.025)
                    over = np.where(mouth, 0.02, over)
            heights[:, column] = self._height + over
        return heights
