"""Streets with something in the way of a vehicle, or with nothing."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from depthformer_core.studies.closed_loop.footprints import (
    Rectangles,
    footprints,
    free_distance,
    join,
    overlap,
)
from depthformer_core.studies.closed_loop.vehicle import Course, Vehicle
from depthformer_core.synthetic import Scene, Theme
from depthformer_core.synthetic.scene import furniture, vehicles
from depthformer_core.synthetic.scene.solids import Builder, Solids
from depthformer_core.types import FloatingArray

Kind: TypeAlias = Literal["parked car", "wall", "pedestrian", "cars beside", "free"]
KINDS: tuple[Kind, ...] = ("parked car", "wall", "pedestrian", "cars beside", "free")
"""Kinds of drives, which take turns."""

BLOCKED: tuple[Kind, ...] = ("parked car", "wall", "pedestrian")
"""Kinds with something in the vehicle's way."""

LENGTH = 34.0
"""Largest length of a drive, metres."""

CORRIDOR_MARGIN = 0.3
"""Width of the corridor on each side of the vehicle, metres."""

# Own streets: the world's datasets have seeds of 1 to 3 million and some.
_FIRST_SEED = 10_000_000
_ATTEMPTS = 200
_VEHICLE = Vehicle()
_THEMES: tuple[Theme, ...] = ("city", "suburb")
# Beside the course nothing may stand in the corridor or closer to it than so many metres.
_CLEARANCE = 0.1


class Street(Scene):
    """A generated street on which bodies were placed.

    Args:
        seed: As of `Scene`.
        theme: Kind of place.
    """

    def __init__(self, seed: int, *, theme: Theme) -> None:
        # Standing traffic keeps clear of the length.
        super().__init__(seed, length=LENGTH + 20.0, theme=theme)
        self._standing = super().solids()
        self._placed: Callable[[float], Solids] | None = None

    def place(self, placed: Callable[[float], Solids]) -> None:
        """Place bodies, given as a function of seconds since the start."""
        self._placed = placed

    def placed(self, time: float) -> Solids | None:
        """Return the bodies that were placed."""
        return None if self._placed is None else self._placed(time)

    def standing(self) -> Solids:
        """Return the bodies of the street itself; its traffic stands still."""
        return self._standing

    def solids(self, time: float | None = None) -> Solids:
        """Return all bodies at a time, seconds since the start."""
        placed = self.placed(time or 0.0)
        return self._standing if placed is None else Solids.join([self._standing, placed])


@dataclass(frozen=True)
class Scenario:
    """A drive to be driven.

    Attributes:
        kind: What is in the way.
        street: The street.
        course: The vehicle's course.
        speed: Of cruising, metres a second.
        standing: Footprints of the street's own bodies.
        end: Where the drive ends on the course, metres.
        moving: From when to when something moves, seconds since the start.
    """

    kind: Kind
    street: Street
    course: Course
    speed: float
    standing: Rectangles
    end: float = LENGTH
    moving: tuple[float, float] = (0.0, 0.0)

    @property
    def reach(self) -> float:
        """Length of the corridor that the vehicle needs to stop, metres."""
        return self.course.vehicle.stopping_distance(self.speed)

    def moment(self, time: float) -> float:
        """Return the first time at which all is where it is at a time, or the last before."""
        return float(np.clip(time, *self.moving))

    def bodies(self, time: float) -> Rectangles:
        """Return the footprints of all bodies at a time, seconds since the start."""
        placed = self.street.placed(self.moment(time))
        if placed is None:
            return self.standing
        return join(self.standing, footprints(placed, self.course))

    def camera_pose(self, s: float) -> FloatingArray:
        """Return the pose of the camera with the vehicle at a place of its course.

        Returns:
            (4, 4), takes points from the camera to the world.
        """
        vehicle, street = self.course.vehicle, self.street
        camera = self.course.pose(s).ahead(vehicle.camera)
        road = _along(street, camera.x, camera.z)
        turn = camera.yaw - float(street.road.heading(road))
        pose = street.pose(road, height=vehicle.camera_height, yaw=turn)
        pose[[0, 2], 3] = camera.x, camera.z
        return pose


def draw_scenario(seed: int, drive: int) -> Scenario:
    """Draw a drive.

    Args:
        seed: Equal arguments give equal drives.
        drive: Its number, from 0; the kinds take turns.
    """
    rng = np.random.default_rng((seed, 25, drive))
    kind = KINDS[drive % len(KINDS)]
    for _ in range(_ATTEMPTS):
        theme = _THEMES[rng.integers(len(_THEMES))]
        street = Street(int(_FIRST_SEED + rng.integers(1 << 30)), theme=theme)
        lane = street.road.place(np.arange(0.0, LENGTH + 20.0, 0.5), street.lane)[:, [0, 2]]
        course = Course(_VEHICLE, lane, length=LENGTH)
        standing = footprints(street.standing(), course)
        margin = CORRIDOR_MARGIN + _CLEARANCE
        if free_distance(standing, course, 0.0, reach=LENGTH, margin=margin) is not None:
            continue
        scenario = Scenario(
            kind=kind,
            street=street,
            course=course,
            speed=float(rng.uniform(6.0, 8.0)),
            standing=standing,
        )
        placed = _place(rng, scenario)
        if placed is not None:
            return placed
    raise RuntimeError(f"found no street for drive {drive} of seed {seed}")


def _along(street: Street, x: float, z: float) -> float:
    """Return the place along the road of a point on the ground near its lane."""
    s = np.arange(-2.0, LENGTH + 10.0, 0.1)
    lane = street.road.place(s, street.lane)
    return float(s[np.hypot(lane[:, 0] - x, lane[:, 2] - z).argmin()])


def _place(rng: np.random.Generator, scenario: Scenario) -> Scenario | None:
    """Place what belongs to the kind; return None where there is no room for it."""
    match scenario.kind:
        case "parked car":
            ahead = rng.uniform(15.0, 23.0, 1)
            return _park(rng, scenario, ahead, rng.uniform(-0.8, 0.8, 1))
        case "wall":
            return _wall(rng, scenario)
        case "pedestrian":
            tries = (_walk(rng, scenario) for _ in range(20))
            return next((walk for walk in tries if walk is not None), None)
        case "cars beside":
            count = int(rng.integers(1, 4))
            distances: FloatingArray = rng.uniform(8.0, 14.0) + 7.0 * np.arange(count)
            # Half of a car's width is 0.82 to 0.98 m.
            gap = scenario.course.vehicle.width / 2 + CORRIDOR_MARGIN + 0.95
            right = rng.choice((-1, 1)) * (gap + rng.uniform(0.25, 1.0, count))
            return _park(rng, scenario, distances, right)
        case _:
            return scenario


def _on_lane(
    scenario: Scenario, ahead: FloatingArray, right: FloatingArray | float
) -> tuple[FloatingArray, FloatingArray]:
    """Return points on the ground and the road's directions there.

    Args:
        scenario: The drive.
        ahead: (N,), metres along the road ahead of the front bumper at the start.
        right: (N,), metres to the right of the lane's middle.
    """
    road, s = scenario.street.road, ahead + scenario.course.vehicle.front
    return road.place(s, scenario.street.lane + np.asarray(right)), road.heading(s)


def _park(
    rng: np.random.Generator, scenario: Scenario, ahead: FloatingArray, right: FloatingArray
) -> Scenario | None:
    builder = Builder()
    # The middle of a car is about 2.2 m ahead of its rear bumper.
    origin, yaw = _on_lane(scenario, ahead + 2.2, right)
    add = vehicles.add_vans if rng.random() < 0.2 else vehicles.add_cars
    add(builder, rng, origin, yaw + rng.normal(0, 0.03, len(ahead)))
    return _stand(scenario, builder.build())


def _wall(rng: np.random.Generator, scenario: Scenario) -> Scenario | None:
    builder = Builder()
    origin, yaw = _on_lane(scenario, rng.uniform(15.0, 23.0, 1), rng.uniform(-0.5, 0.5, 1))
    furniture.add_walls(
        builder,
        rng,
        origin,
        yaw + np.pi / 2 + rng.normal(0, 0.1, 1),
        length=rng.uniform(3.0, 6.0, 1),
        kind="wall",
        height=float(rng.uniform(0.7, 2.2)),
    )
    return _stand(scenario, builder.build())


def _stand(scenario: Scenario, solids: Solids) -> Scenario | None:
    """Place standing bodies, unless they stand in others or, beside the way, in the way."""
    new = footprints(solids, scenario.course)
    if scenario.kind != "wall" and overlap(new, scenario.standing).any():
        return None
    margin = CORRIDOR_MARGIN + _CLEARANCE
    met = free_distance(new, scenario.course, 0.0, reach=LENGTH, margin=margin)
    if (met is not None) != (scenario.kind in BLOCKED):
        return None
    scenario.street.place(lambda _: solids)
    return scenario


def _walk(rng: np.random.Generator, scenario: Scenario) -> Scenario | None:
    """Place a pedestrian who steps into the corridor while the vehicle can still stop."""
    half = scenario.course.vehicle.width / 2 + CORRIDOR_MARGIN
    side = float(rng.choice((-1, 1)))
    start, pace = half + rng.uniform(1.2, 3.0), rng.uniform(1.0, 1.8)
    # So far is the front bumper when the corridor is entered, after so many seconds.
    left, entered = scenario.reach + rng.uniform(0.0, 5.0), rng.uniform(1.0, 2.0)
    begin = entered - (start - half - 0.2) / pace
    end = begin + (2 * start + 1.0) / pace
    ahead = left + scenario.speed * entered
    if begin < 0.2 or ahead > LENGTH - 2.0:
        return None
    draw = int(rng.integers(1 << 30))

    def walker(time: float) -> Solids:
        builder = Builder()
        right = side * (start - pace * float(np.clip(time - begin, 0.0, end - begin)))
        origin, yaw = _on_lane(scenario, np.array([ahead]), right)
        facing = yaw - side * np.pi / 2
        vehicles.add_pedestrians(builder, np.random.default_rng(draw), origin, facing)
        return builder.build()

    for time in np.arange(begin, end + 0.2, 0.2):
        if overlap(footprints(walker(float(time)), scenario.course), scenario.standing).any():
            return None
    scenario.street.place(functools.lru_cache(maxsize=256)(walker))
    return dataclasses.replace(scenario, end=ahead + 2.0, moving=(begin, end))
