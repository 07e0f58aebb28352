"""What is seen of a source over the frames of a drive: its obstacles and its course in time."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.consistency import ConsistencyAccumulator
from depthformer_core.evaluation.frame import FrameEvaluation
from depthformer_core.evaluation.ground_scale import GroundScaleAccumulator
from depthformer_core.evaluation.obstacle_grid import ObstaclePoints, obstacle_points
from depthformer_core.evaluation.obstacle_tally import ObstacleAccumulator
from depthformer_core.evaluation.obstacles import FrameObstacles, ObstacleOptions, find_obstacles
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.stability import StabilityAccumulator
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, fit_ground
from depthformer_core.geometry.visual_motion import estimate_motion
from depthformer_core.replay.bag_pass import BagFrame
from depthformer_core.replay.sources import DepthSource, SourceEvaluation
from depthformer_core.types import FloatingArray, Rgb


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame that the next one is compared with."""

    rgb: Rgb
    depth: FloatingArray
    camera: Camera
    pose: FloatingArray | None


class Observer:
    """Follows sources over the frames of a drive, in bounded memory but for numbers a frame.

    Args:
        sources: The sources.
        protocol: What counts.
        obstacles: What counts as an obstacle.
        ground: The ground in the images' optical frame; None to fit it to the truth of each frame.

    Attributes:
        estimated: Number of frames whose motion was estimated from the images.
        without_ground: Number of frames with truth in which no ground was found.
        cameras: Camera of each image by its name, where it is known.
    """

    def __init__(
        self,
        sources: Sequence[DepthSource],
        *,
        protocol: Protocol,
        obstacles: ObstacleOptions,
        ground: Plane | None = None,
    ) -> None:
        self.estimated = 0
        self.without_ground = 0
        self.cameras: dict[str, Camera] = {}
        self._far = protocol.limit
        self._options = obstacles
        self._ground = ground
        self._last: _Seen | None = None
        names = [source.name for source in sources]
        self._obstacles = {name: ObstacleAccumulator(obstacles) for name in names}
        self._worst: dict[str, FrameObstacles] = {}
        self._consistency = {name: ConsistencyAccumulator() for name in names}
        # Aligned predictions have no scale of their own.
        self._stability = {
            source.name: StabilityAccumulator() for source in sources if source.alignment == "none"
        }
        self._ground_scale = {
            name: GroundScaleAccumulator(ground) for name in self._stability if ground is not None
        }

    def add(self, item: BagFrame, results: Mapping[str, FrameEvaluation]) -> None:
        """Add the next frame.

        Args:
            item: The frame.
            results: The comparison of each source.
        """
        for name, stability in self._stability.items():
            stability.add(item.stamp, results[name].comparison)
        for name, scale in self._ground_scale.items():
            scale.add(item.stamp, results[name].comparison.prediction, item.frame.camera)
        camera = item.frame.camera
        first = next(iter(results.values())).comparison
        if camera is None or first.truth.shape != (camera.height, camera.width):
            self._last = None
            return
        # Mostly the one of the frame before: equal ones need no memory of their own.
        if self._last is not None and self._last.camera == camera:
            camera = self._last.camera
        self.cameras[item.frame.file] = camera
        self._follow(item, results, camera)
        if item.frame.depth is None:
            return
        ground = self._ground or _fit(first.truth, camera)
        true = None
        if ground is None:
            self.without_ground += 1
        else:
            true = obstacle_points(first.truth, camera, ground, self._options)
        for name, result in results.items():
            self._add_obstacles(name, item.stamp, result.comparison, camera, ground, true)

    def complete(self, source: SourceEvaluation) -> SourceEvaluation:
        """Return the evaluation of a source with what was seen of it."""
        obstacles = self._obstacles[source.name].result()
        consistency = self._consistency[source.name].result()
        stability = self._stability.get(source.name)
        scale = self._ground_scale.get(source.name)
        return dataclasses.replace(
            source,
            obstacles=obstacles if obstacles.frames else None,
            worst_obstacles=self._worst.get(source.name),
            stability=None if stability is None else stability.result(),
            consistency=None if math.isnan(consistency.inconsistency) else consistency,
            ground_scale=None if scale is None else scale.result(),
        )

    def _follow(
        self, item: BagFrame, results: Mapping[str, FrameEvaluation], camera: Camera
    ) -> None:
        """Compare each prediction with the one before."""
        first = next(iter(results.values())).comparison
        depth = first.truth if (first.truth > 0).any() else first.prediction
        seen = _Seen(item.frame.rgb, depth, camera, item.pose)
        motion = None
        if self._last is not None and self._last.camera == camera:
            motion = self._motion(self._last, seen)
        for name, result in results.items():
            prediction = result.comparison.prediction
            # Beyond the range, all depth is the same.
            near = np.where(prediction < self._far, prediction, np.float32(np.nan))
            self._consistency[name].add(
                item.stamp, near.astype(np.float32, copy=False), camera=camera, motion=motion
            )
        self._last = seen

    def _motion(self, before: "_Seen", now: "_Seen") -> FloatingArray | None:
        """Return the motion from one frame to the next: of `/tf`, else of the images."""
        if before.pose is not None and now.pose is not None:
            return np.asarray(np.linalg.inv(now.pose) @ before.pose)
        self.estimated += 1
        return estimate_motion(before.rgb, before.depth, now.rgb, camera=now.camera)

    def _add_obstacles(
        self,
        name: str,
        stamp: int,
        comparison: Comparison,
        camera: Camera,
        ground: Plane | None,
        true: ObstaclePoints | None,
    ) -> None:
        if ground is None:
            self._obstacles[name].add(stamp, None)
            return
        found = find_obstacles(
            comparison.truth, comparison.prediction, camera, ground, self._options, true=true
        )
        self._obstacles[name].add(stamp, found)
        if name not in self._worst or _wrong(found) > _wrong(self._worst[name]):
            self._worst[name] = found


def _wrong(frame: FrameObstacles) -> int:
    return len(frame.missed) + len(frame.phantoms)


def _fit(truth: FloatingArray, camera: Camera) -> Plane | None:
    """Fit the ground to the truth of a frame."""
    rows, columns = np.nonzero(np.isfinite(truth) & (truth > 0))
    across, down = camera.slopes()
    depth = truth[rows, columns]
    points = np.stack((across[columns] * depth, down[rows] * depth, depth), axis=1)
    return fit_ground(points)
