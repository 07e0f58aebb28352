"""What is seen of a source over the frames of a drive: its obstacles and its course in time."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.frame import FrameEvaluation
from depthformer_core.evaluation.obstacle_tally import ObstacleAccumulator
from depthformer_core.evaluation.obstacles import FrameObstacles, ObstacleOptions, find_obstacles
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, fit_ground
from depthformer_core.replay.bag_pass import BagFrame
from depthformer_core.replay.sources import DepthSource, SourceEvaluation
from depthformer_core.types import FloatingArray


class Observer:
    """Follows sources over the frames of a drive, in bounded memory but for numbers a frame.

    Args:
        sources: The sources.
        obstacles: What counts as an obstacle.
        ground: The ground in the images' optical frame; None to fit it to the truth of each frame.
    """

    def __init__(
        self,
        sources: Sequence[DepthSource],
        *,
        obstacles: ObstacleOptions,
        ground: Plane | None = None,
    ) -> None:
        self._options = obstacles
        self._ground = ground
        self._obstacles = {source.name: ObstacleAccumulator(obstacles) for source in sources}
        self._worst: dict[str, FrameObstacles] = {}

    def add(self, item: BagFrame, results: Mapping[str, FrameEvaluation]) -> None:
        """Add the next frame.

        Args:
            item: The frame.
            results: The comparison of each source.
        """
        if item.frame.camera is None or item.frame.depth is None:
            return
        truth = next(iter(results.values())).comparison.truth
        if truth.shape != (item.frame.camera.height, item.frame.camera.width):
            return
        ground = self._ground or _fit(truth, item.frame.camera)
        for name, result in results.items():
            self._add_obstacles(name, item, result.comparison, ground)

    def complete(self, source: SourceEvaluation) -> SourceEvaluation:
        """Return the evaluation of a source with what was seen of it."""
        obstacles = self._obstacles[source.name].result()
        if not obstacles.frames:
            return source
        return dataclasses.replace(
            source, obstacles=obstacles, worst_obstacles=self._worst.get(source.name)
        )

    def _add_obstacles(
        self, name: str, item: BagFrame, comparison: Comparison, ground: Plane | None
    ) -> None:
        if ground is None or item.frame.camera is None:
            self._obstacles[name].add(item.stamp, None)
            return
        found = find_obstacles(
            comparison.truth, comparison.prediction, item.frame.camera, ground, self._options
        )
        self._obstacles[name].add(item.stamp, found)
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
