"""Generated scenes: everything about one follows from its seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from depthformer_core.data.synthetic import furniture, vehicles
from depthformer_core.data.synthetic.air import Air, Lens
from depthformer_core.data.synthetic.road import STEP, Ground, Junction, Road, Strip
from depthformer_core.data.synthetic.solids import Builder, Solids

Array = npt.NDArray[np.floating[Any]]
Theme = Literal["city", "suburb", "rural", "highway"]

AHEAD = 240.0
"""How far the world reaches beyond the last camera, metres."""

_SHARES = (0.30, 0.34, 0.22, 0.14)
_SPEEDS = {"city": 11.0, "suburb": 9.0, "rural": 19.0, "highway": 30.0}


@dataclass(frozen=True)
class Side:
    """One side of a road, from its edge outwards, metres.

    Attributes:
        parking: Width of a parking strip inside the edge.
        edge: Distance of the edge from the road's middle.
        kerb: Height of the kerb, 0 for none.
        pavement: Width of the pavement, or of the verge where there is no kerb.
        front: Where houses begin, from the edge.
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

    lines: Array
    dashes: Array
    period: float
    width: float
    yellow: bool
    zebra: bool


class Scene:
    """A piece of world along a road.

    Args:
        seed: Scenes of equal arguments are equal.
        length: How far a camera may drive from its start, metres.
        behind: How far the world reaches behind the first camera, metres.
        theme: What kind of place; drawn without.

    Attributes:
        theme: What kind of place it is.
        road: The road with the ground beside it.
        marking: Lines on it.
        lane_width: Width of a lane, metres.
        bays: Parking strips whose bays are marked: left and right edge, length of a bay.
        grey: Brightness of the asphalt, 0 to 1.
        season: How yellow the grass is.
        junctions: Side roads.
        lane: The camera's place across the road, metres to the right of its middle.
        speed: What one drives here, metres a second.
        air: Light and weather.
        lens: The camera's marks on pictures.
        plain: Height of the ground far away, y of the world.
        rough: Seed of the ground's texture.

    Raises:
        ValueError: The length is negative or the theme unknown.
    """

    def __init__(
        self,
        seed: int,
        *,
        length: float = 0.0,
        behind: float = 16.0,
        theme: Theme | None = None,
    ) -> None:
        if not 0 <= length < np.inf:
            raise ValueError(f"length must not be negative, got {length}")
        if theme is not None and theme not in get_args(Theme):
            raise ValueError(f"theme must be one of {get_args(Theme)}, got {theme!r}")
        rng = np.random.default_rng((seed, 0))
        drawn: Theme = get_args(Theme)[int(rng.choice(len(_SHARES), p=_SHARES))]
        self.seed = seed
        self.length = length
        self.theme: Theme = drawn if theme is None else theme
        self.rough = int(rng.integers(1 << 20))
        self.grey = float(rng.uniform(0.24, 0.46))  # of the asphalt
        self.season = rng.uniform(-0.05, 0.12)
        self.air = Air.draw(rng)
        self.lens = Lens.draw(rng)
        self.speed = _SPEEDS[self.theme] * float(rng.uniform(0.75, 1.1))
        self._right_hand = rng.random() < 0.85
        self._start = -float(STEP * np.ceil(behind / STEP))
        self._end = float(STEP * np.ceil((length + AHEAD) / STEP))
        self._lay_out(rng)
        builder = Builder()
        self._furnish(builder, rng)
        self._static = builder.build()

    def solids(self, time: float | None = None) -> Solids:
        """Bodies of the scene.

        Args:
            time: Seconds since the start, for traffic that moves; without, it stands still.
        """
        builder = Builder()
        self._drive(builder, np.random.default_rng((self.seed, 1)), time)
        return Solids.join([self._static, builder.build()]) if builder.count else self._static

    def pose(
        self,
        s: float,
        *,
        height: float,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
    ) -> Array:
        """Pose of a camera over the camera's lane.

        Args:
            s: Place along the road, metres.
            height: Height over the ground, metres.
            yaw: Turn to the right of the road's direction, radians.
            pitch: Turn upwards from the road's slope, radians.
            roll: Turn clockwise, radians.

        Returns:
            (4, 4), takes points from the camera (x right, y down, z forward) to the world.
        """
        turn = float(self.road.heading(s)) + yaw
        rise = float(np.arctan(self.road.grade(s))) + pitch
        cy, sy, cp, sp = np.cos(turn), np.sin(turn), np.cos(rise), np.sin(rise)
        cr, sr = np.cos(roll), np.sin(roll)
        yaws = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitches = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        rolls = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        pose = np.eye(4)
        pose[:3, :3] = yaws @ pitches @ rolls
        pose[:3, 3] = self.road.place(s, self.lane) - (0, height, 0)
        return pose

    def _lay_out(self, rng: np.random.Generator) -> None:
        theme = self.theme
        lanes = {"city": (1, 1, 2), "suburb": (1,), "rural": (1,), "highway": (2, 3)}[theme]
        own = int(rng.choice(lanes))
        width = {
            "city": rng.uniform(2.9, 3.5), "suburb": rng.uniform(2.5, 3.2),
            "rural": rng.uniform(2.6, 3.6), "highway": rng.uniform(3.5, 3.75),
        }[theme]  # fmt: skip
        oncoming = 0 if theme == "highway" else own
        sides = {
            side: self._draw_side(rng, own if side > 0 else oncoming, width, side)
            for side in (-1, 1)
        }
        if not self._right_hand and theme != "highway":
            sides = {1: sides[-1], -1: sides[1]}
        self._sides = sides
        self.lane_width, self._lanes = width, own
        ours = 1 if self._right_hand or theme == "highway" else -1
        self._ours = ours
        lane = int(rng.integers(own))
        self.lane = float(ours * width * (lane + 0.5) + rng.normal(0, 0.18))
        self._mark(rng, own, oncoming, width)
        self.bays: list[tuple[float, float, float]] = []
        for side, layout in sides.items():
            if layout.kerb and layout.parking and rng.random() < 0.4:
                edges = sorted((side * layout.edge, side * (layout.edge - layout.parking)))
                self.bays.append((edges[0], edges[1], 2.7 if layout.parking > 4 else 5.9))

        junctions: list[Junction] = []
        if theme != "highway":
            gap = {"city": 75.0, "suburb": 65.0, "rural": 150.0}[theme]
            s = self._start + rng.uniform(0, gap)
            while s < self._end - 20:
                half = rng.uniform(2.6, 4.5)
                left, right = ((True, True), (True, False), (False, True))[rng.integers(3)]
                first = STEP * round((s - half) / STEP) + 0.7
                junctions.append(Junction(first, first + 2 * half + 0.013, left, right))
                s += rng.uniform(0.5, 1.6) * gap
        self.junctions = junctions
        hilly = rng.choice((0.2, 1.0), p=(0.5, 0.5))
        slope = {"city": 0.025, "suburb": 0.035, "rural": 0.055, "highway": 0.03}[theme] * hilly
        bend = {"city": 0.15, "suburb": 0.45, "rural": 0.6, "highway": 0.3}[theme]
        self.road = Road(
            rng,
            start=self._start,
            end=self._end,
            bend=float(bend * rng.uniform(0, 1) ** 1.5 * rng.choice((-1, 1))),
            slope=float(slope * rng.uniform(0.3, 1.0)),
            strips=self._strips(rng),
            junctions=junctions,
        )
        self.plain = float(-self.road.lowest + 0.3)

    def _draw_side(self, rng: np.random.Generator, lanes: int, width: float, side: int) -> Side:
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
        edge = lanes * width + parking
        return Side(parking, float(edge), float(kerb), float(pavement), float(front))

    def _strips(self, rng: np.random.Generator) -> list[Strip]:
        outwards = {}
        for side, layout in self._sides.items():
            edge, kerb, pavement = layout.edge, layout.kerb, layout.pavement
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

    def _mark(self, rng: np.random.Generator, own: int, oncoming: int, width: float) -> None:
        lines, dashes = [], []
        period = float(rng.choice((6.0, 9.0, 12.0)))
        dash = period * rng.uniform(0.33, 0.5)
        painted = self.theme in ("city", "highway") or rng.random() < 0.55
        if painted:
            low, high = (-oncoming, own) if self._ours > 0 else (-own, oncoming)
            for boundary in range(low, high + 1):
                middle = boundary == 0 and oncoming
                rim = boundary in (low, high)
                layout = self._sides[-1 if boundary == low else 1]
                if rim and layout.kerb and not layout.parking and rng.random() < 0.8:
                    continue
                inset = (0.15 if boundary == low else -0.15) if rim and not layout.parking else 0.0
                lines.append(boundary * width + inset)
                solid = (rim and not layout.kerb) or (middle and rng.random() < 0.3)
                dashes.append(0.0 if solid else dash)
        self.marking = Marking(
            np.array(lines),
            np.array(dashes),
            period,
            float(rng.uniform(0.10, 0.18)),
            bool(rng.random() < 0.08),
            bool(self.theme == "city" and rng.random() < 0.6),
        )

    def _furnish(self, builder: Builder, rng: np.random.Generator) -> None:
        for side in (-1, 1):
            layout = self._sides[side]
            if self.theme in ("city", "suburb"):
                self._houses(builder, rng, side, layout)
                self._park(builder, rng, side, layout)
            if self.theme == "suburb":
                self._fence(builder, rng, side, layout)
            if self.theme == "rural":
                self._farms(builder, rng, side, layout)
            self._plants(builder, rng, side, layout)
            self._poles(builder, rng, side, layout)
            self._people(builder, rng, side, layout)
        self._rails(builder, rng)
        self._overhead(builder, rng)

    def _free(self, s: Array, side: int, margin: float) -> npt.NDArray[np.bool_]:
        free = np.ones(len(s), bool)
        for junction in self.junctions:
            free &= ~junction.covers(s, side, margin)
        return free

    def _stand(self, s: Array, t: Array | float, turn: float = 0.0) -> tuple[Array, Array]:
        """Points on the ground and directions there, `turn` to the right of the road's."""
        return self.road.place(s, t), self.road.heading(s) + turn

    def _spread(self, rng: np.random.Generator, gap: float, jitter: float = 0.3) -> Array:
        """Places along the road about `gap` metres apart."""
        count = int((self._end - self._start) / gap)
        grid = self._start + gap * (np.arange(count) + rng.random())
        return grid + rng.uniform(-jitter, jitter, count) * gap

    def _houses(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        city = self.theme == "city"
        count = int((self._end - self._start) / 9)
        widths = rng.uniform(8.0, 26.0, count) if city else rng.uniform(7.5, 15.0, count)
        dense = rng.random() < 0.6
        if city:
            gaps = np.where(
                rng.random(count) < (0.08 if dense else 0.3), rng.uniform(3, 15, count), 0
            )
        else:
            gaps = rng.uniform(2.0, 9.0 if dense else 25.0, count)
        s = self._start + np.cumsum(widths + gaps) - widths / 2
        keep = (s < self._end) & self._free(s, side, 0.0)
        for junction in self.junctions:
            if junction.left if side < 0 else junction.right:
                keep &= (s + widths / 2 < junction.start - 1.5) | (
                    s - widths / 2 > junction.end + 1.5
                )
        s, widths = s[keep], widths[keep]
        count = len(s)
        back = rng.uniform(0, 0.3, count) if city else rng.uniform(0, 4.0, count)
        origin, yaw = self._stand(s, side * (layout.edge + layout.front + back), side * np.pi / 2)
        gable_share = rng.choice((0.1, 0.9)) if city else 0.93
        tall = rng.uniform(2, 6) if city else 1.6
        furniture.add_houses(
            builder,
            rng,
            origin,
            yaw + (0.0 if city else rng.normal(0, 0.04, count)),
            width=widths,
            depth=rng.uniform(9.0, 14.0, count),
            storeys=np.clip(np.rint(rng.normal(tall, 0.9 if city else 0.6, count)), 1, 8),
            gable=rng.random(count) < gable_share,
            shops=city,
        )

    def _farms(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        s = self._spread(rng, rng.uniform(60, 160))
        s = s[self._free(s, side, 12.0)]
        count = len(s)
        origin, yaw = self._stand(
            s, side * (layout.edge + rng.uniform(8, 30, count)), side * np.pi / 2
        )
        furniture.add_houses(
            builder, rng, origin, yaw + rng.normal(0, 0.4, count),
            width=rng.uniform(8, 22, count), depth=rng.uniform(8, 14, count),
            storeys=rng.integers(1, 3, count).astype(float), gable=np.ones(count, bool),
            shops=False,
        )  # fmt: skip

    def _park(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        share = rng.uniform(0.1, 0.95)
        s: Array
        ways = 0.0 if side == self._ours else np.pi
        if layout.parking > 4:  # across the road's direction
            s = np.arange(self._start, self._end, rng.uniform(2.5, 2.9))
            t, turn = layout.edge - 2.3, ways + np.pi / 2
        elif layout.parking:
            s = np.arange(self._start, self._end, rng.uniform(5.3, 6.6))
            s = s + rng.uniform(-0.25, 0.25, len(s))
            t, turn = layout.edge - layout.parking / 2 - 0.05, ways
        else:
            # Driveways of houses.
            if self.theme != "suburb":
                return
            s = self._spread(rng, 22.0)
            t, turn, share = layout.edge + layout.pavement + 3.0, np.pi / 2, 0.5
        s = s[self._free(s, side, 5.5) & (rng.random(len(s)) < share)]
        offset = side * (t + rng.normal(0, 0.08, len(s)))
        origin, yaw = self._stand(s, offset, turn)
        yaw = yaw + rng.normal(0, 0.025, len(s)) + np.pi * (rng.random(len(s)) < 0.12)
        van = rng.random(len(s)) < 0.1
        vehicles.add_cars(builder, rng, origin[~van], yaw[~van])
        vehicles.add_vans(builder, rng, origin[van], yaw[van])

    def _fence(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        place = layout.edge + layout.pavement + 0.3
        s = self._start
        while s < self._end:
            run = rng.uniform(10, 30)
            pieces: Array = np.arange(s + 1, min(s + run, self._end), 3.0)
            if rng.random() < 0.7 and len(pieces):
                pieces = pieces[self._free(pieces, side, 4.0)]
                origin, yaw = self._stand(pieces, side * place)
                kind = ("wall", "hedge", "fence")[rng.integers(3)]
                furniture.add_walls(
                    builder, rng, origin, yaw, length=np.full(len(pieces), 3.0),
                    kind=kind, height=float(rng.uniform(0.7, 1.8 if kind != "wall" else 1.3)),
                )  # fmt: skip
            s += run + rng.uniform(3.0, 6.0)

    def _plants(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        avenue = {"city": 0.45, "suburb": 0.3, "rural": 0.35, "highway": 0.0}[self.theme]
        if rng.random() < avenue:
            s = self._spread(rng, rng.uniform(8, 22), 0.15)
            s = s[self._free(s, side, 3.0)]
            reach = layout.edge + (0.9 if layout.kerb else layout.pavement + 1.0)
            origin, _ = self._stand(s, side * reach)
            size = rng.uniform(4.5, 11.0) * rng.uniform(0.85, 1.15, len(s))
            furniture.add_trees(builder, rng, origin, size)
        density = {"city": 24.0, "suburb": 9.0, "rural": 5.0, "highway": 6.0}[self.theme]
        s = self._spread(rng, density * rng.uniform(0.7, 2.0), 2.0)
        s = s[self._free(s, side, 6.0)]
        count = len(s)
        first = layout.edge + {
            "city": layout.front + 14.0, "suburb": layout.pavement + 1.5,
            "rural": layout.pavement + 2.5,
            "highway": layout.pavement + (5.0 if side > 0 else 16.0),
        }[self.theme]  # fmt: skip
        spread = {"city": 10.0, "suburb": 22.0, "rural": 40.0, "highway": 25.0}[self.theme]
        t = first + spread * rng.random(count) ** 1.7
        origin, _ = self._stand(s, side * t)
        draw = rng.random(count)
        conifers = rng.choice((0.05, 0.5), p=(0.7, 0.3))
        bushes = rng.uniform(0.15, 0.5)
        kinds = np.where(draw < conifers, 0, np.where(draw < conifers + bushes, 1, 2))
        size = rng.uniform(5, 14, count)
        furniture.add_conifers(builder, rng, origin[kinds == 0], size[kinds == 0] * 1.2)
        furniture.add_bushes(
            builder, rng, origin[kinds == 1], rng.uniform(0.6, 2.4, (kinds == 1).sum())
        )
        furniture.add_trees(builder, rng, origin[kinds == 2], size[kinds == 2])
        if self.theme in ("rural", "highway") and rng.random() < 0.6:
            self._wood(builder, rng, side * (first + rng.uniform(6, 25)), conifers)

    def _wood(self, builder: Builder, rng: np.random.Generator, t: float, conifers: float) -> None:
        """Add the rim of a wood."""
        start = rng.uniform(self._start, self._end)
        s = np.arange(start, min(start + rng.uniform(60, 160), self._end - 1), 3.2)
        origin, _ = self._stand(s, t + np.sign(t) * rng.uniform(0, 7, len(s)))
        size = rng.uniform(9, 16, len(s))
        fir = rng.random(len(s)) < conifers
        furniture.add_conifers(builder, rng, origin[fir], size[fir] * 1.2)
        furniture.add_trees(builder, rng, origin[~fir], size[~fir])

    def _poles(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        t = side * (layout.edge + (0.45 if layout.kerb else layout.pavement + 0.2))
        inwards = np.pi if side > 0 else 0.0
        if self.theme in ("city", "suburb") and rng.random() < 0.7:
            s = self._spread(rng, rng.uniform(22, 45), 0.1)
            origin, yaw = self._stand(s[self._free(s, side, 1.0)], t, inwards)
            furniture.add_lamps(builder, rng, origin, yaw, float(rng.uniform(4.5, 9.0)))
        if self.theme in ("rural", "suburb") and rng.random() < 0.4:
            s = self._spread(rng, rng.uniform(30, 50), 0.05)
            origin, yaw = self._stand(s[self._free(s, side, 1.0)], t + side * 2.0)
            furniture.add_masts(builder, rng, origin, yaw)
        if self.theme in ("rural", "highway") and rng.random() < 0.7:
            s = self._spread(rng, 25.0 if self.theme == "rural" else 50.0, 0.0)
            origin, yaw = self._stand(s[self._free(s, side, 1.0)], t)
            furniture.add_posts(builder, origin, yaw)
        s = self._spread(rng, rng.uniform(25, 70), 0.5)
        s = s[self._free(s, side, 0.5)]
        turn = 0.0 if side == self._ours else np.pi
        origin, yaw = self._stand(s, t + side * rng.uniform(0, 0.6, len(s)), turn)
        furniture.add_signs(builder, rng, origin, yaw + rng.normal(0, 0.1, len(s)))
        if self.theme == "city" and rng.random() < 0.5:
            s = np.array([junction.start - 1.5 for junction in self.junctions])
            origin, yaw = self._stand(s, t)
            furniture.add_lights(builder, origin, yaw)

    def _people(self, builder: Builder, rng: np.random.Generator, side: int, layout: Side) -> None:
        if not layout.kerb:
            return
        s = self._spread(rng, rng.choice((9.0, 25.0, 80.0)), 0.8)
        t = side * (layout.edge + rng.uniform(0.6, max(0.7, layout.pavement - 0.3), len(s)))
        origin, yaw = self._stand(s, t, np.pi * rng.integers(2))
        vehicles.add_pedestrians(builder, rng, origin, yaw + rng.normal(0, 0.4, len(s)))

    def _rails(self, builder: Builder, rng: np.random.Generator) -> None:
        for side in (-1, 1):
            layout = self._sides[side]
            share = {"highway": 0.85, "rural": 0.3}.get(self.theme, 0.0)
            if rng.random() < share:
                s: Array = np.arange(self._start + 2, self._end - 2, 4.0)
                s = s[self._free(s, side, 3.0)]
                origin, yaw = self._stand(s, side * (layout.edge + 0.6))
                furniture.add_walls(
                    builder, rng, origin, yaw, length=np.full(len(s), 4.0), kind="rail", height=0.75
                )
        if self.theme == "highway" and rng.random() < 0.35:
            s = np.arange(self._start + 2, self._end - 2, 4.0)
            origin, yaw = self._stand(s, self._sides[1].edge + rng.uniform(4, 9))
            furniture.add_walls(
                builder, rng, origin, yaw, length=np.full(len(s), 4.0), kind="wall",
                height=float(rng.uniform(2.5, 4.5)),
            )  # fmt: skip

    def _overhead(self, builder: Builder, rng: np.random.Generator) -> None:
        left, right = self._sides[-1].edge, self._sides[1].edge
        share = {"city": 0.12, "suburb": 0.04, "rural": 0.12, "highway": 0.5}[self.theme]
        if rng.random() < share:
            s = rng.uniform(25, self._end - 60)
            origin, yaw = self._stand(np.array([s]), 0.0)
            reach = left + (12.0 if self.theme == "highway" else 3.5)
            furniture.add_bridge(
                builder,
                rng,
                origin[0],
                float(yaw[0] + rng.normal(0, 0.12)),
                left=reach,
                right=right + 3.5,
            )
        if self.theme == "highway" and rng.random() < 0.6:
            s = rng.uniform(20, self._end - 80)
            origin, yaw = self._stand(np.array([s]), 0.0)
            furniture.add_gantry(
                builder, rng, origin[0], float(yaw[0]), left=left + 1.5, right=right + 1.5
            )

    def _drive(self, builder: Builder, rng: np.random.Generator, time: float | None) -> None:
        """Add the traffic."""
        gap = {"city": 30.0, "suburb": 60.0, "rural": 70.0, "highway": 45.0}[self.theme]
        gap *= float(rng.choice((0.6, 1.0, 2.5)))
        lanes = [(self._ours * (k + 0.5) * self.lane_width, 1) for k in range(self._lanes)]
        if self.theme == "highway":
            other = self._sides[-1].edge + self._sides[-1].pavement + 1.7
            lanes += [(-other - 2.4, -1), (-other - 6.1, -1)]
        else:
            lanes += [(-self._ours * (k + 0.5) * self.lane_width, -1) for k in range(self._lanes)]
        places, offsets, turns = [], [], []
        for lane, way in lanes:
            t = lane
            s: Array = self._start + np.cumsum(rng.uniform(0.35, 1.8, 200) * gap + 7)
            speed = self.speed * (1.0 if abs(t - self.lane) < 2 else rng.uniform(0.85, 1.15))
            if abs(t - self.lane) < 2:
                # Nobody is in the camera's way.
                clear = 9.0 + rng.exponential(15.0) + (0.0 if time is not None else self.length)
                s = s[s > 0] + clear
            else:
                t += rng.normal(0, 0.2)
            if time is not None:
                s = s + way * speed * time
                span = self._end - self._start
                if abs(t - self.lane) >= 2:  # what leaves at one end comes in at the other
                    laps = np.ceil(np.ptp(s) / span) * span
                    s = self._start + (s - self._start) % laps
            places.append(s)
            offsets.append(np.full(len(s), t))
            turns.append(np.full(len(s), 0.0 if way > 0 else np.pi))
        place, offset, turn = (np.concatenate(part) for part in (places, offsets, turns))
        hidden = (place < self._start + 8) | (place > self._end - 8)
        origin, yaw = self._stand(np.clip(place, self._start, self._end), offset)
        # Underground nobody sees them, and all draws stay the same at all times.
        origin[hidden, 1] += 1000.0
        yaw = yaw + turn
        kind = rng.choice(5, len(place), p=(0.76, 0.10, 0.07, 0.03, 0.04))
        if self.theme == "highway":
            kind = rng.choice(5, len(place), p=(0.70, 0.10, 0.20, 0.0, 0.0))
        adders: list[Callable[..., None]] = [
            vehicles.add_cars, vehicles.add_vans, vehicles.add_trucks, vehicles.add_buses,
            vehicles.add_cyclists,
        ]  # fmt: skip
        for number, add in enumerate(adders):
            pick = kind == number
            add(builder, rng, origin[pick], yaw[pick])
