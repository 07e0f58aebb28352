"""Footprints of bodies on the ground: the truth about what is in a vehicle's way."""

from dataclasses import dataclass

import numpy as np

from depthformer_core.studies.closed_loop.vehicle import Course
from depthformer_core.synthetic.scene.solids import Solids
from depthformer_core.types import BoolArray, FloatingArray

# What is lower is driven over, metres.
_LOWEST = 0.2
# Depth of what is not shown, metres.
_UNDERGROUND = 500.0
# Distance between the places at which a vehicle's way is examined, metres.
_STEP = 0.1


@dataclass(frozen=True)
class Rectangles:
    """Rectangles on the ground, one a row.

    Attributes:
        centre: (N, 2), x and z, metres.
        half: (N, 2), half of the width and of the length, metres.
        yaw: (N,), direction of the length, radians to the right of z.
    """

    centre: FloatingArray
    half: FloatingArray
    yaw: FloatingArray

    def __len__(self) -> int:
        """Count the rectangles."""
        return len(self.yaw)

    def __getitem__(self, chosen: BoolArray) -> "Rectangles":
        """Return the chosen ones."""
        return Rectangles(self.centre[chosen], self.half[chosen], self.yaw[chosen])


def footprints(solids: Solids, course: Course) -> Rectangles:
    """Return the footprints of the bodies that a vehicle on a course could meet.

    Args:
        solids: The bodies; of an ellipsoid, the box around it counts.
        course: The course; bodies that are not beside it or hang over the vehicle are left out.
    """
    low, high = solids.low, solids.high
    yaw = solids.yaw
    middle = (low + high) / 2
    sine, cosine = np.sin(yaw), np.cos(yaw)
    x = solids.origin[:, 0] + cosine * middle[:, 0] + sine * middle[:, 2]
    z = solids.origin[:, 2] + cosine * middle[:, 2] - sine * middle[:, 0]
    half = (high - low)[:, [0, 2]] / 2
    reach = np.hypot(*half.T) + course.vehicle.front + course.vehicle.width
    places = course.at(np.arange(0.0, course.length + course.vehicle.front, 2.0))[:, :2]
    distance = np.hypot(x[:, None] - places[:, 0], z[:, None] - places[:, 1]).min(axis=1)
    tall = (low[:, 1] < course.vehicle.height) & (high[:, 1] > _LOWEST)
    # Traffic beyond the ends of the world is far below it.
    shown = solids.origin[:, 1] < _UNDERGROUND
    chosen = (distance < reach) & tall & shown
    return Rectangles(np.stack((x, z), axis=1), half, yaw)[chosen]


def join(first: Rectangles, second: Rectangles) -> Rectangles:
    """Put two sets of rectangles into one."""
    return Rectangles(
        np.concatenate((first.centre, second.centre)),
        np.concatenate((first.half, second.half)),
        np.concatenate((first.yaw, second.yaw)),
    )


def vehicle_at(course: Course, s: FloatingArray | float, *, margin: float = 0.0) -> Rectangles:
    """Return the footprint of the vehicle at places of its course.

    Args:
        course: The course.
        s: The places, metres.
        margin: Added to both sides, metres.
    """
    vehicle = course.vehicle
    poses = course.at(np.atleast_1d(s))
    ahead = (vehicle.front - vehicle.rear) / 2
    yaw = poses[:, 2]
    centre = poses[:, :2] + ahead * np.stack((np.sin(yaw), np.cos(yaw)), axis=-1)
    half = np.array((vehicle.width / 2 + margin, (vehicle.front + vehicle.rear) / 2))
    return Rectangles(centre, np.broadcast_to(half, (len(yaw), 2)), yaw)


def overlap(first: Rectangles, second: Rectangles) -> BoolArray:
    """Return which rectangles overlap, (N of the first, N of the second).

    Two rectangles are apart if an axis of one of them separates them.
    """
    away_x, away_z = (second.centre - first.centre[:, None]).transpose(2, 0, 1)
    turn = second.yaw - first.yaw[:, None]
    cosine, sine = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = np.zeros(turn.shape, np.bool_)
    for yaw, (wide, long), (other_wide, other_long) in (
        (first.yaw[:, None], first.half.T[:, :, None], second.half.T[:, None]),
        (second.yaw[None], second.half.T[:, None], first.half.T[:, :, None]),
    ):
        right = away_x * np.cos(yaw) - away_z * np.sin(yaw)
        ahead = away_x * np.sin(yaw) + away_z * np.cos(yaw)
        apart |= np.abs(right) > wide + other_wide * cosine + other_long * sine
        apart |= np.abs(ahead) > long + other_long * cosine + other_wide * sine
    return ~apart


def free_distance(
    bodies: Rectangles, course: Course, s: float, *, reach: float, margin: float = 0.0
) -> float | None:
    """Return how far a vehicle can go until it meets a body, metres.

    Args:
        bodies: The bodies.
        course: Its course.
        s: Its place on the course.
        reach: Largest distance to examine.
        margin: Added to both sides of the vehicle, metres.

    Returns:
        The distance, 0 where it stands in a body; None where the way is free.
    """
    middle = vehicle_at(course, s + reach / 2).centre
    around = reach / 2 + course.vehicle.front + course.vehicle.width
    near = np.hypot(*(bodies.centre - middle).T) < around + np.hypot(*bodies.half.T)
    bodies = bodies[near]
    if not len(bodies):
        return None
    ahead = np.arange(0.0, reach + _STEP / 2, _STEP)
    met = overlap(vehicle_at(course, s + ahead, margin=margin), bodies).any(axis=1)
    return float(ahead[met.argmax()]) if met.any() else None
