"""Layout of a generated road: lanes, sides, lines and junctions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthformer_core.synthetic.scene.road import STEP, Ground, Junction, Road, Strip
from depthformer_core.types import BoolArray, FloatingArray

Theme = Literal["city", "suburb", "rural", "highway"]


@dataclass(frozen=True)
class RoadSide:
    """One side of a road, from its edge outwards, metres.

    Attributes:
        parking: Width of a parking strip inside the edge.
        edge: Distance of the edge from the road's middle.
        kerb: Height of the kerb, 0 for none.
        pavement: Width of the pavement, or of the verge where there is no kerb.
        front: Distance of houses from the edge.
    """

    parking: float
    edge: float
    kerb: float
    pavement: float
    front: float


@dataclass(frozen=True)
class Marking:
    """Lines on a road.

    Attributes:
        lines: (L,) places across the road, metres to the right of its middle.
        dashes: (L,) length of a dash, metres; 0 for a line without gaps.
        period: Distance between two dashes' beginnings.
        width: Width of a line.
        yellow: Whether they are yellow.
        zebra: Whether junctions have zebra crossings.
    """

    lines: FloatingArray
    dashes: FloatingArray
    period: float
    width: float
    yellow: bool
    zebra: bool


class Layout:
    """A stretch of road, on which bodies find their places.

    Args:
        rng: Source of randomness.
        theme: Kind of place.
        right_hand: Whether one drives on the right; on highways one always does.
        start: First place of the road, metres; a multiple of `STEP`.
        end: Last place.
        congested: Whether it is a road of queues: flatter, with more and wider lanes.

    Attributes:
        theme: Kind of place.
        start: First place of the road, metres.
        end: Last place.
        lanes: Number of lanes in the camera's direction.
        oncoming: Number of lanes against it.
        lane_width: Width of a lane, metres.
        ours: The side that one drives on: -1 for the left, 1 for the right.
        lane: The camera's place across the road, metres to the right of its middle.
        sides: Both sides of the road, -1 for the left, 1 for the right.
        marking: Lines on it.
        bays: Parking strips with marked bays: left and right edge, length of a bay.
        junctions: Side roads.
        road: The road with the ground beside it.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        theme: Theme,
        right_hand: bool,
        start: float,
        end: float,
        congested: bool = False,
    ) -> None:
        self.theme = theme
        self.start, self.end = start, end
        lanes = {"city": (1, 1, 2), "suburb": (1,), "rural": (1,), "highway": (2, 3)}[theme]
        if congested:
            lanes = {"city": (2, 2, 3), "suburb": (1, 2), "rural": (1,), "highway": (2, 3)}[theme]
        self.lanes = int(rng.choice(lanes))
        self.lane_width = {
            "city": rng.uniform(2.9, 3.5), "suburb": rng.uniform(2.5, 3.2),
            "rural": rng.uniform(2.6, 3.6), "highway": rng.uniform(3.5, 3.75),
        }[theme]  # fmt: skip
        if congested:
            self.lane_width = max(self.lane_width, 3.0)  # lorries find room
        self.oncoming = 0 if theme == "highway" else self.lanes
        self.sides = {side: self._draw_side(rng, side) for side in (-1, 1)}
        if not right_hand and theme != "highway":
            self.sides = {1: self.sides[-1], -1: self.sides[1]}
        self.ours = 1 if right_hand or theme == "highway" else -1
        lane = int(rng.integers(self.lanes))
        self.lane = float(self.ours * self.lane_width * (lane + 0.5) + rng.normal(0, 0.18))
        self.marking = self._draw_marking(rng)
        self.bays = self._draw_bays(rng)
        self.junctions = [] if theme == "highway" else self._draw_junctions(rng)
        self.road = self._draw_road(rng, congested)

    def free(self, s: FloatingArray, side: int, margin: float) -> BoolArray:
        """Return whether places along a side are farther than `margin` from its side roads."""
        free = np.ones(len(s), bool)
        for junction in self.junctions:
            free &= ~junction.covers(s, side, margin)
        return free

    def stand(
        self, s: FloatingArray, t: FloatingArray | float, turn: float = 0.0
    ) -> tuple[FloatingArray, FloatingArray]:
        """Return points on the ground and directions, `turn` to the right of the road's."""
        return self.road.place(s, t), self.road.heading(s) + turn

    def spread(self, rng: np.random.Generator, gap: float, jitter: float = 0.3) -> FloatingArray:
        """Draw places along the road about `gap` metres apart."""
        count = int((self.end - self.start) / gap)
        grid = self.start + gap * (np.arange(count) + rng.random())
        return grid + rng.uniform(-jitter, jitter, count) * gap

    def _draw_side(self, rng: np.random.Generator, side: int) -> RoadSide:
        parking = kerb = 0.0
        match self.theme:
            case "city":
                parking = float(rng.choice((0.0, 2.1, 4.6), p=(0.3, 0.6, 0.1)))
                kerb, pavement = rng.uniform(0.08, 0.16), rng.uniform(1.8, 4.5)
                front = pavement + rng.choice((0.02, rng.uniform(0, 5.0)))
            case "suburb":
                parking = float(rng.choice((0.0, 2.0), p=(0.5, 0.5)))
                kerb, pavement = rng.uniform(0.05, 0.14), rng.uniform(1.2, 2.8)
                front = pavement + rng.uniform(2.0, 8.0)
            case "rural":
                pavement, front = rng.uniform(0.8, 2.5), rng.uniform(8.0, 25.0)
            case _:
                parking = float(rng.uniform(2.0, 3.0) if side > 0 else rng.uniform(0.5, 1.0))
                pavement, front = rng.uniform(1.0, 3.0), 60.0
        lanes = self.lanes if side > 0 else self.oncoming
        edge = lanes * self.lane_width + parking
        return RoadSide(parking, float(edge), float(kerb), float(pavement), float(front))

    def _draw_marking(self, rng: np.random.Generator) -> Marking:
        own, oncoming, width = self.lanes, self.oncoming, self.lane_width
        lines, dashes = [], []
        period = float(rng.choice((6.0, 9.0, 12.0)))
        dash = period * rng.uniform(0.33, 0.5)
        painted = self.theme in ("city", "highway") or rng.random() < 0.55
        if painted:
            low, high = (-oncoming, own) if self.ours > 0 else (-own, oncoming)
            for boundary in range(low, high + 1):
                middle = boundary == 0 and oncoming
                rim = boundary in (low, high)
                border = self.sides[-1 if boundary == low else 1]
                if rim and border.kerb and not border.parking and rng.random() < 0.8:
                    continue
                inset = (0.15 if boundary == low else -0.15) if rim and not border.parking else 0.0
                lines.append(boundary * width + inset)
                solid = (rim and not border.kerb) or (middle and rng.random() < 0.3)
                dashes.append(0.0 if solid else dash)
        return Marking(
            np.array(lines),
            np.array(dashes),
            period,
            float(rng.uniform(0.10, 0.18)),
            bool(rng.random() < 0.08),
            bool(self.theme == "city" and rng.random() < 0.6),
        )

    def _draw_bays(self, rng: np.random.Generator) -> list[tuple[float, float, float]]:
        bays = []
        for side, border in self.sides.items():
            if border.kerb and border.parking and rng.random() < 0.4:
                edges = sorted((side * border.edge, side * (border.edge - border.parking)))
                bays.append((edges[0], edges[1], 2.7 if border.parking > 4 else 5.9))
        return bays

    def _draw_junctions(self, rng: np.random.Generator) -> list[Junction]:
        junctions = []
        gap = {"city": 75.0, "suburb": 65.0, "rural": 150.0}[self.theme]
        s = self.start + rng.uniform(0, gap)
        while s < self.end - 20:
            half = rng.uniform(2.6, 4.5)
            left, right = ((True, True), (True, False), (False, True))[rng.integers(3)]
            first = STEP * round((s - half) / STEP) + 0.7
            junctions.append(Junction(first, first + 2 * half + 0.013, left, right))
            s += rng.uniform(0.5, 1.6) * gap
        return junctions

    def _draw_road(self, rng: np.random.Generator, congested: bool) -> Road:
        theme = self.theme
        hilly = rng.choice((0.2, 1.0), p=(0.5, 0.5))
        slope = {"city": 0.025, "suburb": 0.035, "rural": 0.055, "highway": 0.03}[theme] * hilly
        if congested:
            slope *= 0.4  # long vehicles stand on the ground with all their wheels
        bend = {"city": 0.15, "suburb": 0.45, "rural": 0.6, "highway": 0.3}[theme]
        return Road(
            rng,
            start=self.start,
            end=self.end,
            bend=float(bend * rng.uniform(0, 1) ** 1.5 * rng.choice((-1, 1))),
            slope=float(slope * rng.uniform(0.3, 1.0)),
            strips=self._draw_strips(rng),
            junctions=self.junctions,
        )

    def _draw_strips(self, rng: np.random.Generator) -> list[Strip]:
        outwards = {}
        for side, border in self.sides.items():
            edge, kerb, pavement = border.edge, border.kerb, border.pavement
            beyond = Ground.GRASS if self.theme != "city" or rng.random() < 0.25 else Ground.YARD
            if kerb:
                near = [
                    (edge, 0.0, 0.0, Ground.KERB),
                    (edge + 0.03, kerb, 0.0, Ground.KERB),
                    (edge + 0.20, kerb, 0.0, Ground.PAVEMENT),
                    (edge + pavement, kerb, 0.0, beyond),
                ]
            else:
                ditch = rng.uniform(-0.6, 0.1)
                near = [
                    (edge, 0.0, 0.0, Ground.GRASS),
                    (edge + pavement, -0.04, 0.0, Ground.GRASS),
                    (edge + pavement + 1.6, ditch, 0.1, Ground.GRASS),
                ]
            if self.theme == "highway" and side < 0:
                # The other carriageway lies beyond the central reservation.
                other = edge + pavement + 1.7
                near = [
                    (edge, 0.0, 0.0, Ground.GRASS),
                    (other, 0.0, 0.0, Ground.SIDE_ROAD),
                    (other + 8.5, 0.0, 0.0, Ground.GRASS),
                ]
            start = near[-1][0]
            tilt = {"city": 0.2, "suburb": 1.2, "rural": 3.0, "highway": 3.5}[self.theme]
            bank = rng.normal(0, tilt)
            far = Ground.FIELD if self.theme in ("rural", "highway") else Ground.GRASS
            near += [
                (max(start + 6.0, edge + 14.0), 0.3 * bank, 0.15 * tilt, far),
                (max(start + 18.0, 40.0), bank, 0.5 * tilt, far),
                (90.0, bank * rng.uniform(0.5, 2.2), tilt, far),
            ]
            outwards[side] = near
        left, right = outwards[-1], outwards[1]
        strips = [
            Strip(-outer[0], outer[1], outer[2], inner[3])
            for outer, inner in reversed(list(zip(left[1:], left[:-1], strict=True)))
        ]
        strips.append(Strip(-left[0][0], 0.0, 0.0, Ground.ROAD))
        return strips + [Strip(*edge) for edge in right]
