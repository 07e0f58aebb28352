"""Generated scenes: everything about one follows from its seed."""

from typing import get_args

import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic.rendering.atmosphere import Atmosphere, Lens
from depthformer_core.synthetic.scene.barriers import add_barriers
from depthformer_core.synthetic.scene.congestion import add_queues
from depthformer_core.synthetic.scene.layout import Layout, Marking, RoadSide, Theme
from depthformer_core.synthetic.scene.pattern_layout import clear_tracks, draw_patterns
from depthformer_core.synthetic.scene.road import STEP
from depthformer_core.synthetic.scene.roadside import add_roadside
from depthformer_core.synthetic.scene.solids import Builder, Solids
from depthformer_core.synthetic.scene.traffic import add_traffic, lanes_of
from depthformer_core.types import FloatingArray

__all__ = ["AHEAD", "Marking", "Scene", "RoadSide", "Theme"]


AHEAD = 240.0
"""Length of the world beyond the last camera, metres."""

_SHARES = (0.30, 0.34, 0.22, 0.14)
_CONGESTED_SHARES = (0.55, 0.10, 0.05, 0.30)
_SPEEDS = {"city": 11.0, "suburb": 9.0, "rural": 19.0, "highway": 30.0}


class Scene:
    """A piece of world along a road.

    Args:
        seed: Scenes of equal arguments are equal.
        length: Length of the drive, metres.
        duration: Seconds of a drive at the scene's usual speed, in place of `length`.
        behind: Length of the world behind the first camera, metres.
        theme: Kind of place; drawn at random by default.
        congested: Whether the camera stands in a queue, with standing traffic in its lane and in
            those beside it.
        walled: Whether there are walls close to the road; half of the congested scenes have some
            anyway.
        patterned: Whether there are strong patterns flat on the ground: railway tracks, cobbles,
            furrows, large markings, shadows. Nothing stands on a track beside the lanes.

    Attributes:
        theme: Kind of place.
        road: The road with the ground beside it.
        marking: Lines on it.
        lane_width: Width of a lane, metres.
        bays: Parking strips with marked bays: left and right edge, length of a bay.
        grey: Brightness of the asphalt, 0 to 1.
        season: Yellowness of the grass.
        patterns: Patterns on the ground, in the order that they are painted in.
        junctions: Side roads.
        lane: The camera's place across the road, metres to the right of its middle.
        speed: Usual speed, metres a second.
        atmosphere: Light and weather.
        lens: The camera's marks on pictures.
        plain: Height of the ground far away, y of the world.
        rough: Seed of the ground's texture.

    Raises:
        DepthFormerError: The length is negative or the theme unknown.
    """

    def __init__(
        self,
        seed: int,
        *,
        length: float = 0.0,
        duration: float | None = None,
        behind: float = 16.0,
        theme: Theme | None = None,
        congested: bool = False,
        walled: bool = False,
        patterned: bool = False,
    ) -> None:
        if not 0 <= length < np.inf:
            raise DepthFormerError(f"length must not be negative, got {length}")
        if theme is not None and theme not in get_args(Theme):
            raise DepthFormerError(f"theme must be one of {get_args(Theme)}, got {theme!r}")
        rng = np.random.default_rng((seed, 0))
        shares = _CONGESTED_SHARES if congested else _SHARES
        drawn: Theme = get_args(Theme)[int(rng.choice(len(_SHARES), p=shares))]
        self.seed = seed
        self.theme: Theme = drawn if theme is None else theme
        self.rough = int(rng.integers(1 << 20))
        self.grey = float(rng.uniform(0.24, 0.46))  # of the asphalt
        self.season = rng.uniform(-0.05, 0.12)
        self.atmosphere = Atmosphere.draw(rng)
        self.lens = Lens.draw(rng)
        self.speed = _SPEEDS[self.theme] * float(rng.uniform(0.75, 1.1))
        if duration is not None:
            length = self.speed * duration
        self.length = length
        right_hand = rng.random() < 0.85
        self._layout = Layout(
            rng,
            theme=self.theme,
            right_hand=right_hand,
            start=-float(STEP * np.ceil(behind / STEP)),
            end=float(STEP * np.ceil((length + AHEAD) / STEP)),
            congested=congested,
        )
        self.road = self._layout.road
        self.marking = self._layout.marking
        self.lane_width = self._layout.lane_width
        self.bays = self._layout.bays
        self.junctions = self._layout.junctions
        self.patterns = (
            draw_patterns(np.random.default_rng((seed, 8)), self._layout) if patterned else []
        )
        self.lane = self._layout.lane
        self.plain = float(-self.road.lowest + 0.3)
        builder = Builder()
        add_roadside(builder, rng, self._layout)
        self._lanes = lanes_of(self._layout)
        if congested:
            # Streams of their own, as walls have: traffic and roadside draw what they draw without.
            own = np.random.default_rng((seed, 6))
            oncoming = own.random() < 0.35
            walled = walled or own.random() < 0.5
            full = [lane for lane in self._lanes if lane.direction > 0 or oncoming]
            self._lanes = [lane for lane in self._lanes if lane not in full]
            add_queues(builder, own, self._layout, full, length=length)
        if walled:
            add_barriers(builder, np.random.default_rng((seed, 7)), self._layout)
        self._static = clear_tracks(builder.build(), self.road, self.patterns)

    def solids(self, time: float | None = None) -> Solids:
        """Return the bodies of the scene.

        Args:
            time: Seconds since the start, for traffic that moves; without, it stands still.
        """
        builder = Builder()
        rng = np.random.default_rng((self.seed, 1))
        if self._lanes:
            add_traffic(
                builder, rng, self._layout, self._lanes,
                speed=self.speed, length=self.length, time=time,
            )  # fmt: skip
        return Solids.join([self._static, builder.build()]) if builder.count else self._static

    def pose(
        self,
        s: float,
        *,
        height: float,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
    ) -> FloatingArray:
        """Return the pose of a camera over the camera's lane.

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
