"""Obstacles of all frames of a drive: counts, the nearest one ahead, and time to contact."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.evaluation.bootstrap import Interval, mean_interval
from depthformer_core.evaluation.obstacle_grid import ObstacleOptions
from depthformer_core.evaluation.obstacles import FrameObstacles
from depthformer_core.types import Json

Values = npt.NDArray[np.float64]

# Closing speeds follow from the distances of the last second, of so many frames at least.
_WINDOW = 1.0
_FEWEST = 3
# Metres a second: what closes less does not close, and what changes more is another obstacle.
_SLOWEST = 0.2
_FASTEST = 70.0
# Seconds to contact that are compared, and those in which a robot must act.
_SOON, _URGENT = 10.0, 3.0
_LATE = 1.5


@dataclass(frozen=True, kw_only=True)
class ObstacleCounts:
    """Obstacles whose nearest point lies in one range of distance.

    Attributes:
        near: Nearest distance, metres.
        far: Farthest, metres.
        obstacles: True obstacles that have a prediction.
        missed: Those of them that were missed.
        phantoms: Predicted obstacles where there is none.
    """

    near: float
    far: float
    obstacles: int
    missed: int
    phantoms: int

    @property
    def missed_share(self) -> float:
        """Share of the true obstacles that were missed; NaN without any."""
        return self.missed / self.obstacles if self.obstacles else math.nan


@dataclass(frozen=True, kw_only=True)
class NearestErrors:
    """Errors of the distance to the nearest obstacle in the driving corridor.

    Attributes:
        frames: Frames in which truth and prediction have one.
        mae: Mean of |error|, metres; NaN without frames, as the others.
        interval: Its 95 % bootstrap interval.
        median_rel: Median of |error| / truth.
        bias: Mean of prediction - truth, metres: positive is too far.
        free: Frames in which the corridor is free in truth and prediction.
        falsely_blocked: Frames in which it is free in truth alone.
        falsely_free: Frames in which it is free in the prediction alone.
    """

    frames: int
    mae: float
    interval: Interval
    median_rel: float
    bias: float
    free: int
    falsely_blocked: int
    falsely_free: int


@dataclass(frozen=True, kw_only=True)
class ContactErrors:
    """Errors of the time to contact: distance of the nearest obstacle over its closing speed.

    Attributes:
        frames: Frames with a true time under 10 s.
        predicted: Those of them in which the prediction has one too.
        median_error: Median of |error| over the latter, seconds; NaN without any.
        urgent: Frames with a true time under 3 s.
        late: Those of them in which the prediction says more than 1.5 times as much, or none.
    """

    frames: int
    predicted: int
    median_error: float
    urgent: int
    late: int

    @property
    def late_share(self) -> float:
        """Share of the urgent frames in which the prediction is late; NaN without any."""
        return self.late / self.urgent if self.urgent else math.nan


@dataclass(frozen=True, kw_only=True)
class Obstacles:
    """Obstacles of a drive.

    Attributes:
        options: What counts as an obstacle.
        frames: Frames that were compared.
        without_ground: Frames that were not, because no ground was found.
        obstacles: True obstacles of all frames that have a prediction.
        detected: Those that were detected.
        missed: Those that were missed.
        phantoms: Predicted obstacles where there is none.
        unpredicted: True obstacles where most pixels have no prediction.
        missed_share: Share of `obstacles` that were missed; NaN without any.
        phantoms_per_frame: Mean; NaN without frames.
        phantoms_interval: Its 95 % bootstrap interval.
        by_distance: Counts of each range of distance, nearest first.
        nearest: Errors of the nearest obstacle in the driving corridor.
        contact: Errors of the time to contact.
    """

    options: ObstacleOptions
    frames: int
    without_ground: int
    obstacles: int
    detected: int
    missed: int
    phantoms: int
    unpredicted: int
    missed_share: float
    phantoms_per_frame: float
    phantoms_interval: Interval
    by_distance: list[ObstacleCounts]
    nearest: NearestErrors
    contact: ContactErrors

    def to_json(self) -> dict[str, Json]:
        """Return all numbers by name; those that do not exist are NaN."""
        values = asdict(self)
        for counts, row in zip(self.by_distance, values["by_distance"], strict=True):
            row["missed_share"] = counts.missed_share
        values["contact"]["late_share"] = self.contact.late_share
        return values


class ObstacleAccumulator:
    """Obstacles of many frames, of which a few numbers each are kept.

    Args:
        options: As for `find_obstacles`.
    """

    def __init__(self, options: ObstacleOptions) -> None:
        self._options = options
        # Detected, missed and phantom obstacles by range of distance.
        self._counts = np.zeros((3, len(options.ranges) - 1), np.int64)
        self._unpredicted = 0
        self._without_ground = 0
        # Stamp, phantoms and the nearest distances of each frame.
        self._frames: list[tuple[int, int, float, float]] = []

    def add(self, stamp_ns: int, frame: FrameObstacles | None) -> None:
        """Add a frame.

        Args:
            stamp_ns: Its time, nanoseconds.
            frame: Its obstacles; None where no ground was found.
        """
        if frame is None:
            self._without_ground += 1
            return
        inner = self._options.ranges[1:-1]
        for total, distances in zip(
            self._counts, (frame.detected, frame.missed, frame.phantoms), strict=True
        ):
            total += np.bincount(np.digitize(distances, inner), minlength=len(total))
        self._unpredicted += len(frame.unpredicted)
        row = frame.row
        self._frames.append(
            (stamp_ns, len(frame.phantoms), row["nearest"], row["nearest_predicted"])
        )

    def merge(self, other: "ObstacleAccumulator") -> None:
        """Add the frames of another one, of the same options."""
        self._counts += other._counts
        self._unpredicted += other._unpredicted
        self._without_ground += other._without_ground
        self._frames += other._frames

    def result(self) -> Obstacles:
        """Return the result; frames are taken in the order of their stamps."""
        frames = sorted(self._frames)
        # Integers, because a double cannot hold nanoseconds since 1970.
        seconds = np.array([(stamp - frames[0][0]) / 1e9 for stamp, *_ in frames])
        phantoms, truth, prediction = np.array([row[1:] for row in frames]).reshape(-1, 3).T
        detected, missed, invented = self._counts.sum(axis=1).tolist()
        return Obstacles(
            options=self._options,
            frames=len(frames),
            without_ground=self._without_ground,
            obstacles=detected + missed,
            detected=detected,
            missed=missed,
            phantoms=invented,
            unpredicted=self._unpredicted,
            missed_share=missed / (detected + missed) if detected + missed else math.nan,
            phantoms_per_frame=_mean(phantoms),
            phantoms_interval=mean_interval(phantoms.tolist()),
            by_distance=[
                ObstacleCounts(
                    near=near,
                    far=far,
                    obstacles=found + overlooked,
                    missed=overlooked,
                    phantoms=invented,
                )
                for near, far, found, overlooked, invented in zip(
                    *(self._options.ranges[:-1], self._options.ranges[1:]),
                    *self._counts.tolist(),
                    strict=True,
                )
            ],
            nearest=_nearest_errors(truth, prediction),
            contact=_contact_errors(
                times_to_contact(seconds, truth), times_to_contact(seconds, prediction)
            ),
        )


def times_to_contact(
    seconds: Sequence[float] | Values, distances: Sequence[float] | Values
) -> Values:
    """Compute when an obstacle is reached if its distance goes on to change as in the last second.

    The closing speed is the median of the slopes between all pairs of frames (Theil and Sen). A
    series ends where the corridor is free, and where the distance changes by more than 70 m/s:
    there another obstacle has become the nearest.

    Args:
        seconds: (N,), times of the frames, ascending.
        distances: (N,), metres; NaN where the corridor is free.

    Returns:
        (N,), seconds; NaN where nothing closes, or fewer than three frames tell.
    """
    time, distance = np.asarray(seconds, np.float64), np.asarray(distances, np.float64)
    result = np.full(len(time), np.nan)
    start = 0
    for end in range(len(time)):
        if end and not abs(distance[end] - distance[end - 1]) <= _FASTEST * (
            time[end] - time[end - 1]
        ):
            start = end
        while time[end] - time[start] > _WINDOW + 1e-6:
            start += 1
        if end + 1 - start < _FEWEST:
            continue
        first, second = np.triu_indices(end + 1 - start, k=1)
        passed = time[start + second] - time[start + first]
        change = distance[start + second] - distance[start + first]
        closing = -float(np.median(change[passed > 0] / passed[passed > 0]))
        if closing > _SLOWEST:
            result[end] = distance[end] / closing
    return result


def _nearest_errors(truth: Values, prediction: Values) -> NearestErrors:
    error = prediction - truth
    blocked, predicted = np.isfinite(truth), np.isfinite(prediction)
    both = blocked & predicted
    size = np.abs(error)
    return NearestErrors(
        frames=int(both.sum()),
        mae=_mean(size[both]),
        interval=mean_interval(size.tolist()),
        median_rel=_median(size[both] / truth[both]),
        bias=_mean(error[both]),
        free=int((~blocked & ~predicted).sum()),
        falsely_blocked=int((~blocked & predicted).sum()),
        falsely_free=int((blocked & ~predicted).sum()),
    )


def _contact_errors(truth: Values, prediction: Values) -> ContactErrors:
    # Comparisons with NaN are false.
    soon, urgent = truth < _SOON, truth < _URGENT
    both = soon & np.isfinite(prediction)
    return ContactErrors(
        frames=int(soon.sum()),
        predicted=int(both.sum()),
        median_error=_median(np.abs(prediction - truth)[both]),
        urgent=int(urgent.sum()),
        late=int((urgent & ~(prediction <= _LATE * truth)).sum()),
    )


def _mean(values: Values) -> float:
    return float(values.mean()) if values.size else math.nan


def _median(values: Values) -> float:
    return float(np.median(values)) if values.size else math.nan
