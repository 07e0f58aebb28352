"""A vehicle with a bicycle model that follows a lane.

Places on the ground are those of the generated world: x to the right and z forward, metres, and a
yaw that is positive to the right of z.
"""

import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.types import FloatingArray

STEP = 0.1
"""Distance between two poses of a course, metres."""

_TARGET = 5.0  # metres ahead that pure pursuit steers at


@dataclass(frozen=True)
class Pose:
    """Place and direction on the ground.

    Attributes:
        x: Metres.
        z: Metres.
        yaw: Radians.
    """

    x: float
    z: float
    yaw: float

    def ahead(self, distance: float) -> "Pose":
        """Return the pose so many metres straight ahead."""
        return Pose(
            self.x + distance * math.sin(self.yaw), self.z + distance * math.cos(self.yaw), self.yaw
        )


@dataclass(frozen=True)
class Vehicle:
    """Size and limits of a vehicle; its pose is that of the middle of its rear axle.

    Attributes:
        width: Metres.
        height: Metres; what hangs higher is no obstacle.
        front: Front bumper, metres ahead of the rear axle.
        rear: Rear bumper, metres behind the rear axle.
        wheelbase: Metres between the axles.
        camera: Metres ahead of the rear axle.
        camera_height: Metres over the ground.
        steering: Largest angle of the front wheels, radians.
        braking: Deceleration of braking, m/s².
        driving: Acceleration, m/s².
        reaction: Longest time from something in reach to the first effect of the brake, seconds.
        standoff: Distance that is kept to what was seen as soon as it was in reach, metres.
    """

    width: float = 1.8
    height: float = 1.9
    front: float = 3.3
    rear: float = 0.7
    wheelbase: float = 2.6
    camera: float = 2.6
    camera_height: float = 1.65
    steering: float = 0.6
    braking: float = 4.0
    driving: float = 2.0
    reaction: float = 0.4
    standoff: float = 1.5

    def roll(self, pose: Pose, steering: float, distance: float) -> Pose:
        """Drive a distance with the front wheels at an angle: kinematic bicycle model.

        Args:
            pose: Of the rear axle.
            steering: Angle of the front wheels, radians, positive to the right.
            distance: Metres.
        """
        turn = distance * math.tan(steering) / self.wheelbase
        middle = pose.yaw + turn / 2
        chord = distance * float(np.sinc(turn / (2 * math.pi)))
        return Pose(
            pose.x + chord * math.sin(middle), pose.z + chord * math.cos(middle), pose.yaw + turn
        )

    def steer(self, pose: Pose, target: FloatingArray) -> float:
        """Return the steering angle that leads the rear axle to a point (2,): pure pursuit."""
        away_x, away_z = float(target[0]) - pose.x, float(target[1]) - pose.z
        right = away_x * math.cos(pose.yaw) - away_z * math.sin(pose.yaw)
        curvature = 2 * right / (away_x**2 + away_z**2)
        return float(np.clip(math.atan(self.wheelbase * curvature), -self.steering, self.steering))

    def stopping_distance(self, speed: float) -> float:
        """Return the distance to stop in, metres: reaction, braking and what is kept."""
        return speed * self.reaction + speed**2 / (2 * self.braking) + self.standoff


@dataclass(frozen=True)
class Motion:
    """Progress on a course.

    Attributes:
        s: Metres.
        speed: Metres a second.
    """

    s: float
    speed: float

    def after(self, seconds: float, *, acceleration: float, cruise: float) -> "Motion":
        """Return the motion a while later; the speed stays between 0 and that of cruising."""
        end = float(np.clip(self.speed + acceleration * seconds, 0.0, cruise))
        changing = (
            min(seconds, abs((end - self.speed) / acceleration)) if acceleration != 0 else 0.0
        )
        distance = (self.speed + end) / 2 * changing + end * (seconds - changing)
        return Motion(self.s + distance, end)


class Course:
    """Poses of the rear axle of a vehicle that follows a lane.

    A bicycle model's path follows from its steering angles over distance: it is the same at every
    speed, and a vehicle that brakes stays on it.

    Args:
        vehicle: The vehicle.
        lane: (N, 2), points of the middle of the lane, less than 5 m apart; the first one is where
            the rear axle starts. It must lead 5 m farther than the course.
        length: Length of the course, metres.
    """

    def __init__(self, vehicle: Vehicle, lane: FloatingArray, *, length: float) -> None:
        first = lane[1] - lane[0]
        pose = Pose(float(lane[0, 0]), float(lane[0, 1]), math.atan2(first[0], first[1]))
        poses = [pose]
        for _ in range(math.ceil(length / STEP)):
            distance = np.hypot(lane[:, 0] - pose.x, lane[:, 1] - pose.z)
            nearest = int(distance.argmin())
            beyond = np.flatnonzero(distance[nearest:] >= _TARGET)
            target = lane[nearest + beyond[0]] if len(beyond) else lane[-1]
            pose = vehicle.roll(pose, vehicle.steer(pose, target), STEP)
            poses.append(pose)
        self.vehicle = vehicle
        self.length = length
        self._s = STEP * np.arange(len(poses))
        self._poses = np.array([(pose.x, pose.z, pose.yaw) for pose in poses])

    def at(self, s: FloatingArray | float) -> FloatingArray:
        """Return the poses at places of the course: (..., 3), x, z and yaw.

        Before and beyond the course they go straight on.
        """
        s = np.asarray(s, np.float64)
        x, z, yaw = (np.interp(s, self._s, column) for column in self._poses.T)
        over = s - np.clip(s, 0.0, self._s[-1])
        return np.stack((x + over * np.sin(yaw), z + over * np.cos(yaw), yaw), axis=-1)

    def pose(self, s: float) -> Pose:
        """Return the pose of the rear axle at a place of the course."""
        return Pose(*(float(value) for value in self.at(s)))
