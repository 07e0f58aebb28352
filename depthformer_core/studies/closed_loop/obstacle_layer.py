"""Obstacle layer of a costmap, as Nav2's marks and clears it."""

import math
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.studies.closed_loop.vehicle import Pose
from depthformer_core.types import BoolArray, FloatArray, FloatingArray


class Cell(IntEnum):
    """What a cell holds."""

    FREE = 0
    OBSTACLE = 254
    UNKNOWN = 255


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """Parameters of Nav2's `ObstacleLayer` and of its observation source.

    Attributes:
        resolution: Side of the cells, metres.
        min_obstacle_height: Of points that mark, metres over the ground under the camera.
        max_obstacle_height: Of points that mark.
        clearing_heights: Heights of points that clear: the observation source leaves out all
            others. With the same heights for both, the ground clears nothing.
        obstacle_max_range: Points beyond it do not mark, metres from the camera.
        raytrace_min_range: Cells nearer than it are not cleared, metres from the camera.
        raytrace_max_range: Cells beyond it are not cleared.

    Raises:
        DepthFormerError: A value is out of range.
    """

    resolution: float = 0.2
    min_obstacle_height: float = 0.35
    max_obstacle_height: float = 2.0
    clearing_heights: tuple[float, float] = (0.35, 2.0)
    obstacle_max_range: float = 18.0
    raytrace_min_range: float = 0.0
    raytrace_max_range: float = 25.0

    def __post_init__(self) -> None:
        """Reject values that are out of range."""
        for name in ("resolution", "obstacle_max_range", "raytrace_max_range"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise DepthFormerError(f"{name} must be positive, got {value:g} m")
        for low, high in (
            (self.min_obstacle_height, self.max_obstacle_height),
            self.clearing_heights,
        ):
            if not low < high:
                raise DepthFormerError(f"heights must rise, got {low:g} and {high:g} m")


def points_over_ground(
    depth: FloatArray, camera: Camera, *, camera_height: float, stride: int = 1
) -> FloatArray:
    """Return the points of a depth image of a level camera in the robot's frame.

    Args:
        depth: (H, W), metres along the optical axis; NaN where there is none.
        camera: The camera.
        camera_height: Metres over the ground.
        stride: Every `stride`-th row and column gives a point.

    Returns:
        (N, 3): metres to the right and ahead of the camera, and above the ground under it.
    """
    across, down = camera.slopes(stride=stride)
    z = depth[::stride, ::stride]
    points = np.stack((z * across, z, camera_height - z * down[:, None]), axis=-1)
    return np.asarray(points[np.isfinite(z)], np.float32)


class ObstacleLayer:
    """Cells on the ground that stay marked until a ray passes through them.

    Args:
        options: Its parameters.
        low: Smallest x and z that the cells cover, metres.
        high: Largest x and z.

    Attributes:
        cells: (rows along z, columns along x), `Cell`.
    """

    def __init__(
        self, options: LayerOptions, *, low: tuple[float, float], high: tuple[float, float]
    ) -> None:
        self.options = options
        self._low = np.array(low)
        self._side = options.resolution
        columns, rows = np.ceil((np.array(high) - self._low) / options.resolution).astype(int)
        self.cells = np.full((rows, columns), Cell.UNKNOWN, np.uint8)

    def update(self, points: FloatArray, camera: Pose, *, camera_height: float) -> None:
        """Clear the cells along the rays of points, then mark those of obstacles.

        Args:
            points: (N, 3), to the right and ahead of the camera and above the ground, metres.
            camera: Where the camera is.
            camera_height: Metres over the ground.
        """
        options = self.options
        up = points[:, 2]
        low, high = options.clearing_heights
        self._clear(points[(up >= low) & (up <= high)], camera)
        distance = np.hypot(np.hypot(points[:, 0], points[:, 1]), up - np.float32(camera_height))
        marking = (
            (up >= options.min_obstacle_height)
            & (up <= options.max_obstacle_height)
            & (distance < options.obstacle_max_range)
        )
        self.cells[self._cells_with(_on_ground(points[marking, :2], camera))] = Cell.OBSTACLE

    def obstacles(self) -> FloatingArray:
        """Return the middles of marked cells, (N, 2), x and z."""
        row, column = np.nonzero(self.cells == Cell.OBSTACLE)
        middles = np.stack((column, row), axis=1) + 0.5
        return np.asarray(self._low + self._side * middles)

    def _clear(self, points: FloatArray, camera: Pose) -> None:
        flat = points[:, :2]
        reach = np.linalg.norm(flat, axis=1, keepdims=True)
        shrink = np.minimum(1, self.options.raytrace_max_range / np.maximum(reach, 1e-6))
        row, column = self._cells_with(_on_ground(flat * shrink, camera)).nonzero()
        ends = np.stack((column, row), axis=1)
        start = np.floor((np.array((camera.x, camera.z)) - self._low) / self._side)
        away = ends - start
        nearest = self.options.raytrace_min_range / self._side
        share = nearest / np.maximum(np.hypot(*away.T), 1.0)
        rays = np.stack((np.rint(start + share[:, None] * away), ends), axis=1)
        rays = rays[share <= 1].astype(np.int32)
        passed = np.zeros_like(self.cells)
        cv2.polylines(passed, list(rays), isClosed=False, color=1)
        self.cells[passed > 0] = Cell.FREE

    def _cells_with(self, places: FloatingArray) -> BoolArray:
        """Return which cells hold places (N, 2), as a mask of all; places outside are left out."""
        rows, columns = self.cells.shape
        column, row = np.floor((places - self._low) / self._side).astype(np.intp).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        mask = np.zeros((rows, columns), np.bool_)
        mask[row[inside], column[inside]] = True
        return mask


def _on_ground(points: FloatingArray, camera: Pose) -> FloatingArray:
    """Return x and z of points (N, 2) to the right and ahead of a camera."""
    sine, cosine = math.sin(camera.yaw), math.cos(camera.yaw)
    right, ahead = points[:, 0], points[:, 1]
    return np.stack(
        (camera.x + cosine * right + sine * ahead, camera.z - sine * right + cosine * ahead),
        axis=1,
    )
