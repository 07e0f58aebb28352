"""What other packages read from the node's depth and points, by the rules of their sources.

- depthimage_to_laserscan, branch ros2: `DepthImageToLaserScan.cpp` and its header.
- depth_image_proc, branch rolling: `point_cloud_xyz.cpp`, `depth_traits.hpp`.
- nav2_costmap_2d, branch main: `obstacle_layer.cpp`, `observation_buffer.cpp`, `costmap_2d.hpp`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Cell = tuple[int, int]

_TYPES = {"32FC1": np.dtype("<f4"), "16UC1": np.dtype("<u2")}


def depth_pixels(image: Any) -> npt.NDArray[Any]:
    """Read a depth image as C++ does: by its step, little endian whatever it claims."""
    dtype = _TYPES[image.encoding]
    columns = image.step // dtype.itemsize
    values = np.frombuffer(bytes(image.data), dtype).reshape(image.height, columns)
    return values[:, : image.width]


def metres_of(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Depth in metres; NaN where it is not valid: not finite, or 0 millimetres."""
    if pixels.dtype == np.uint16:
        return np.where(pixels == 0, np.float32(np.nan), pixels * np.float32(0.001))
    return np.where(np.isfinite(pixels), pixels, np.float32(np.nan))


def depth_points(image: Any, info: Any) -> npt.NDArray[np.float32]:
    """Points of depth_image_proc, (H, W, 3): by the projection matrix P of camera_info."""
    z = metres_of(depth_pixels(image))
    rows, columns = np.indices(z.shape, np.float32)
    fx, cx, fy, cy = (np.float32(info.p[index]) for index in (0, 2, 5, 6))
    return np.stack(((columns - cx) * z / fx, (rows - cy) * z / fy, z), axis=-1)


@dataclass(frozen=True)
class LaserScan:
    """A scan of depthimage_to_laserscan.

    Attributes:
        angle_min: Angle of the first range, radians, positive to the left.
        angle_max: Angle of the last range.
        ranges: (W,), metres; NaN, or an infinity of the depth image.
    """

    angle_min: float
    angle_max: float
    ranges: npt.NDArray[np.float32]


def laser_scan(
    image: Any, info: Any, *, rows: int = 1, nearest: float, farthest: float
) -> LaserScan:
    """Make a scan of the rows around the principal point of a depth image."""
    fx, cx, cy = info.p[0], info.p[2], info.p[6]
    angle_min = np.float32(-math.atan((image.width - 1 - cx) / fx))
    angle_max = np.float32(math.atan(cx / fx))
    increment = (angle_max - angle_min) / np.float32(image.width - 1)
    ranges = np.full(image.width, np.nan, np.float32)
    top = int(cy - rows / 2)
    for row in depth_pixels(image)[top : top + rows]:
        for column, (depth, metres) in enumerate(zip(row, metres_of(row), strict=True)):
            slope = (column - cx) / fx
            index = int((-math.atan(slope) - angle_min) / increment)
            distance = float(depth) if math.isnan(metres) else math.hypot(slope * metres, metres)
            if _is_better(distance, ranges[index], nearest, farthest):
                ranges[index] = distance
    return LaserScan(float(angle_min), float(angle_max), ranges)


def _is_better(new: float, old: float, nearest: float, farthest: float) -> bool:
    if not math.isfinite(new) and not math.isfinite(old):
        return not math.isnan(new)
    if not nearest <= new <= farthest:
        return False
    return not math.isfinite(old) or new < old


def points_of_cloud(cloud: Any) -> npt.NDArray[np.float32]:
    """Read x, y and z of a PointCloud2 by its fields, (N, 3), as PointCloud2Iterator does."""
    offsets = {field.name: field.offset for field in cloud.fields}
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": ["<f4"] * 3,
            "offsets": [offsets[name] for name in "xyz"],
            "itemsize": cloud.point_step,
        }
    )
    values = np.frombuffer(bytes(cloud.data), layout, count=cloud.height * cloud.width)
    return np.stack([values[name] for name in "xyz"], axis=-1)


def ray_cells(start: Cell, end: Cell, *, longest: float = math.inf) -> Iterator[Cell]:
    """Cells of a ray in a costmap, first and last included, as `Costmap2D::raytraceLine`."""
    steps = [end[axis] - start[axis] for axis in (0, 1)]
    major = 0 if abs(steps[0]) >= abs(steps[1]) else 1
    minor = 1 - major
    signs = [1 if step > 0 else -1 for step in steps]
    distance = math.hypot(*steps)
    scale = 1.0 if distance == 0 else min(1.0, longest / distance)
    far, near = abs(steps[major]), abs(steps[minor])
    cell = list(start)
    error = far // 2
    for _ in range(min(int(scale * far), far)):
        yield cell[0], cell[1]
        cell[major] += signs[major]
        error += near
        if error >= far:
            cell[minor] += signs[minor]
            error -= far
    yield cell[0], cell[1]


@dataclass
class Observation:
    """One observation source of an obstacle layer.

    Attributes:
        min_height: Points below are ignored, also for clearing, metres in the map.
        max_height: Points above are ignored, also for clearing.
        reach: obstacle_max_range of a marking source, raytrace_max_range of a clearing one.
    """

    min_height: float
    max_height: float
    reach: float


class ObstacleLayer:
    """Nav2's obstacle layer on a map that does not move, centred on the origin.

    Args:
        size: Side of the map, metres.
        resolution: Side of a cell, metres.
        marking: The marking source.
        clearing: The clearing source, or None.
    """

    def __init__(
        self, size: float, resolution: float, marking: Observation, clearing: Observation | None
    ) -> None:
        self.resolution = resolution
        self.marking, self.clearing = marking, clearing
        cells = round(size / resolution)
        self._half = size / 2
        self.lethal = np.zeros((cells, cells), np.bool_)

    def cell(self, x: float, y: float) -> Cell:
        """Cell of a place, metres."""
        return (
            int((x + self._half) / self.resolution),
            int((y + self._half) / self.resolution),
        )

    def update(self, cloud: Any, matrix: FloatArray) -> None:
        """Clear, then mark, by a cloud; (4, 4) takes its points to the map."""
        points = points_of_cloud(cloud) @ matrix[:3, :3].T + matrix[:3, 3]
        origin = matrix[:3, 3]
        if self.clearing is not None:
            source = self.clearing
            start = self.cell(origin[0], origin[1])
            longest = source.reach / self.resolution
            for point in _within(points, source):
                for x, y in ray_cells(start, self._end(point, origin), longest=longest):
                    self.lethal[x, y] = False
        source = self.marking
        for point in _within(points, source):
            x, y = self.cell(point[0], point[1])
            if math.dist(point, origin) < source.reach and self._has(x, y):
                self.lethal[x, y] = True

    def _has(self, x: int, y: int) -> bool:
        return 0 <= x < len(self.lethal) and 0 <= y < len(self.lethal)

    def _end(self, point: FloatArray, origin: FloatArray) -> Cell:
        """Cell where a ray ends, or leaves the map."""
        share = 1.0
        for axis in (0, 1):
            step = point[axis] - origin[axis]
            bound = (self._half - 1e-3) * (1 if step > 0 else -1)
            if abs(point[axis]) > self._half:
                share = min(share, (bound - origin[axis]) / step)
        x, y = origin[:2] + share * (point[:2] - origin[:2])
        return self.cell(x, y)


def _within(points: FloatArray, source: Observation) -> FloatArray:
    # Comparisons with NaN are false, in C++ as here.
    heights = points[:, 2]
    return points[(heights >= source.min_height) & (heights <= source.max_height)]
