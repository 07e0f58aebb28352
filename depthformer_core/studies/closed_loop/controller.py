"""A controller that brakes for obstacles in the corridor ahead."""

from dataclasses import dataclass

import numpy as np

from depthformer_core.studies.closed_loop.vehicle import STEP, Course
from depthformer_core.types import FloatingArray


def corridor_distance(
    obstacles: FloatingArray, course: Course, s: float, *, reach: float, margin: float
) -> float | None:
    """Return how far ahead of the front bumper the first obstacle in the corridor is.

    The corridor is what the front bumper passes over on the course ahead.

    Args:
        obstacles: (N, 2), x and z of marked cells.
        course: The vehicle's course.
        s: Its place on the course.
        reach: Length of the corridor, metres.
        margin: Added to both sides of the vehicle, metres.

    Returns:
        Metres along the course; None where the corridor is free.
    """
    vehicle = course.vehicle
    ahead = np.arange(0.0, reach + STEP / 2, STEP)
    poses = course.at(s + ahead)
    sine, cosine = np.sin(poses[:, 2]), np.cos(poses[:, 2])
    bumper = poses[:, :2] + vehicle.front * np.stack((sine, cosine), axis=1)
    middle = bumper[len(bumper) // 2]
    near = np.hypot(*(obstacles - middle).T) < reach + vehicle.width
    away = obstacles[near] - bumper[:, None]
    right = away[..., 0] * cosine[:, None] - away[..., 1] * sine[:, None]
    forward = away[..., 0] * sine[:, None] + away[..., 1] * cosine[:, None]
    met = ((np.abs(right) <= vehicle.width / 2 + margin) & (np.abs(forward) <= STEP)).any(axis=1)
    return float(ahead[met.argmax()]) if met.any() else None


@dataclass
class StopController:
    """Brakes while an obstacle is in the corridor, and until it has been free for a while.

    Attributes:
        release: Frames with a free corridor after which the brake is released.
        braking: Whether it brakes.
    """

    release: int
    braking: bool = False
    _free: int = 0

    def decide(self, distance: float | None) -> bool:
        """Return whether to brake, given the distance of an obstacle in the corridor."""
        self._free = 0 if distance is not None else self._free + 1
        if distance is not None:
            self.braking = True
        elif self._free >= self.release:
            self.braking = False
        return self.braking
