"""One drive: what the vehicle sees decides whether it brakes, and the bodies judge it."""

from dataclasses import dataclass, field

import numpy as np

from depthformer_core.studies.closed_loop.conditions import CAMERA, STRIDE, Condition, Views
from depthformer_core.studies.closed_loop.controller import StopController, corridor_distance
from depthformer_core.studies.closed_loop.footprints import free_distance, overlap, vehicle_at
from depthformer_core.studies.closed_loop.obstacle_layer import ObstacleLayer, points_over_ground
from depthformer_core.studies.closed_loop.scenario import CORRIDOR_MARGIN, LENGTH, Scenario
from depthformer_core.studies.closed_loop.vehicle import Motion

PERIOD = 0.2
"""Seconds between two frames; a frame's decision takes effect one period later."""

RELEASE = 5
"""Frames with a free corridor after which the brake is released."""

MOST_SECONDS = 9.0
"""Longest drive."""

# So long a vehicle stands before the drive ends, or before it stands needlessly, seconds.
_STAND = 2.0
# Braking is needless if nothing is in the corridor, widened and lengthened by so much, then or a
# second later.
_WIDER = 0.3
_LONGER = 1.5
_LATER = 1.0
# Moments between two frames at which collisions are looked for.
_MOMENTS = 4


@dataclass(frozen=True)
class Outcome:
    """Outcome of a drive.

    Attributes:
        collision: Speed at which the vehicle met a body, metres a second; None if it did not.
        braked: Whether it braked needlessly: its way was free.
        stuck: Whether it stood on although its way was free.
        kept: Distance to the body that it stopped for, metres; None if it stopped for none.
        seconds: Length of the drive.
    """

    collision: float | None
    braked: bool
    stuck: bool
    kept: float | None
    seconds: float


class Perception:
    """The obstacle layer of a vehicle on its drive.

    Args:
        scenario: The drive.
        views: What the camera sees on it.
        condition: What the obstacle layer is given of it.

    Attributes:
        layer: The obstacle layer.
    """

    def __init__(self, scenario: Scenario, views: Views, condition: Condition) -> None:
        self._scenario = scenario
        self._views = views
        self._condition = condition
        options = condition.layer
        places = scenario.course.at(np.arange(0.0, LENGTH + 5.0, 1.0))[:, :2]
        around = options.raytrace_max_range + 2.0
        (left, near), (right, far) = places.min(axis=0) - around, places.max(axis=0) + around
        self.layer = ObstacleLayer(options, low=(left, near), high=(right, far))

    def look(self, s: float, time: float) -> float | None:
        """Take the frame of a place and a time into the obstacle layer.

        Returns:
            How far ahead the first obstacle is within the stopping distance, metres.
        """
        course, reach = self._scenario.course, self._scenario.reach
        height = course.vehicle.camera_height
        depth = self._views.cloud(self._condition, s, time)
        points = points_over_ground(depth, CAMERA, camera_height=height, stride=STRIDE)
        camera = course.pose(s).ahead(course.vehicle.camera)
        self.layer.update(points, camera, camera_height=height)
        return corridor_distance(
            self.layer.obstacles(), course, s, reach=reach, margin=CORRIDOR_MARGIN
        )


@dataclass
class _Judge:
    """Truth about a drive so far."""

    scenario: Scenario
    braked: bool = False
    stuck: bool = False
    kept: float | None = None
    stood: float = 0.0
    _waited: float = field(default=0.0, repr=False)

    def judge(self, motion: Motion, time: float, *, braking: bool, begins: bool) -> None:
        """Judge a frame.

        Args:
            motion: Of the vehicle.
            time: Seconds since the start.
            braking: Whether the controller brakes.
            begins: Whether it did not before.
        """
        blocked = braking and self._is_blocked(motion.s, time)
        self.braked |= begins and not blocked
        if motion.speed > 0:
            self.stood = self._waited = 0.0
            return
        self.stood += PERIOD
        self._waited = self._waited + PERIOD if braking and not blocked else 0.0
        self.stuck |= self._waited > _STAND - PERIOD / 2
        scenario = self.scenario
        ahead = free_distance(
            scenario.bodies(time), scenario.course, motion.s, reach=2 * scenario.reach
        )
        self.kept = self.kept if ahead is None else ahead
        if time < scenario.moving[1] and not self._waited:
            self.stood = 0.0  # the drive may go on later

    def collides(self, s: float, time: float) -> bool:
        """Return whether the vehicle meets a body."""
        vehicle = vehicle_at(self.scenario.course, s)
        return bool(overlap(vehicle, self.scenario.bodies(time)).any())

    def outcome(self, seconds: float, *, collision: float | None = None) -> Outcome:
        """Return the outcome of the drive that ends now."""
        kept = None if collision is not None else self.kept
        return Outcome(collision, self.braked, self.stuck, kept, seconds)

    def _is_blocked(self, s: float, time: float) -> bool:
        """Return whether something is in the way, or about to be."""
        return any(
            free_distance(
                self.scenario.bodies(time + later),
                self.scenario.course,
                s,
                reach=_LONGER * self.scenario.reach,
                margin=CORRIDOR_MARGIN + _WIDER,
            )
            is not None
            for later in (0.0, _LATER)
        )


def drive(scenario: Scenario, views: Views, condition: Condition) -> Outcome:
    """Drive until the end of the course, a collision or a stop.

    Args:
        scenario: The drive.
        views: What the camera sees on it.
        condition: What the vehicle is given of it.
    """
    vehicle = scenario.course.vehicle
    perception = Perception(scenario, views, condition)
    controller, judge = StopController(release=RELEASE), _Judge(scenario)
    motion, time, brake = Motion(0.0, scenario.speed), 0.0, False
    while motion.s < scenario.end and time < MOST_SECONDS and judge.stood < _STAND + PERIOD / 2:
        before = controller.braking
        braking = controller.decide(perception.look(motion.s, time))
        judge.judge(motion, time, braking=braking, begins=braking and not before)
        for moment in range(1, _MOMENTS + 1):
            motion = motion.after(
                PERIOD / _MOMENTS,
                acceleration=-vehicle.braking if brake else vehicle.driving,
                cruise=scenario.speed,
            )
            now = time + moment * PERIOD / _MOMENTS
            if motion.speed > 0 and judge.collides(motion.s, now):
                return judge.outcome(now, collision=motion.speed)
        brake = braking
        time = round(time + PERIOD, 3)
    return judge.outcome(time)
