"""Obstacles on the ground that a prediction misses or makes up."""

import math
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.obstacle_grid import (
    Indices,
    ObstacleOptions,
    ObstaclePoints,
    group_cells,
    obstacle_points,
    within_tolerance,
)
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane
from depthformer_core.types import BoolArray, FloatArray

__all__ = ["Cell", "FrameObstacles", "ObstacleOptions", "find_obstacles"]

# Fewer points are no obstacle.
_FEWEST = 3
# Obstacles hang together where the prediction is wrong by this share of the tolerance.
_WEAK = 0.5


class Cell(IntEnum):
    """What a cell of the grid holds."""

    FREE = 0
    DETECTED = 1
    MISSED = 2
    PHANTOM = 3
    UNPREDICTED = 4


@dataclass(frozen=True)
class FrameObstacles:
    """Obstacles of one frame.

    Attributes:
        detected: Distance of the nearest point of each true obstacle that was detected, metres.
        missed: Of each that was missed.
        phantoms: Of each predicted obstacle where there is none.
        unpredicted: Of each true obstacle where most pixels have no prediction.
        nearest: Distance to the nearest true obstacle in the driving corridor, metres ahead; None
            where it is free.
        nearest_predicted: To the nearest predicted one.
        grid: What the cells hold, (rows ahead, columns from left to right), `Cell`; the camera is
            below the middle of the first row.
    """

    detected: tuple[float, ...]
    missed: tuple[float, ...]
    phantoms: tuple[float, ...]
    unpredicted: tuple[float, ...]
    nearest: float | None
    nearest_predicted: float | None
    grid: npt.NDArray[np.uint8]

    @property
    def obstacles(self) -> int:
        """Number of true obstacles that have a prediction: detected and missed."""
        return len(self.detected) + len(self.missed)

    @property
    def row(self) -> dict[str, float]:
        """Numbers of the frame by name; NaN for a distance where the corridor is free."""
        return {
            "obstacles": self.obstacles,
            "missed": len(self.missed),
            "phantoms": len(self.phantoms),
            "nearest": math.nan if self.nearest is None else self.nearest,
            "nearest_predicted": (
                math.nan if self.nearest_predicted is None else self.nearest_predicted
            ),
        }


def find_obstacles(
    truth: FloatArray,
    prediction: FloatArray,
    camera: Camera,
    ground: Plane,
    options: ObstacleOptions,
    *,
    true: ObstaclePoints | None = None,
) -> FrameObstacles:
    """Compare the obstacles of a prediction with the true ones.

    Each pixel is compared along its own ray, since what lies behind a surface is unknown and not
    free. A true obstacle is missed where the prediction is farther than the tolerance on most
    pixels of its cells, and no predicted obstacle lies within the tolerance of them. A predicted
    one is a phantom where the truth is farther, likewise. So of an obstacle that is predicted too
    far, only its miss counts, and of one too near, its phantom.

    Args:
        truth: (H, W), metres along the optical axis; 0 or NaN where unknown, infinite where there
            is nothing, as in the sky. It may be sparse.
        prediction: (H, W), metres; NaN where there is none.
        camera: The camera of both.
        ground: The ground, in the camera's optical frame.
        options: What counts as an obstacle.
        true: The obstacles of the truth by `obstacle_points`, where they are found already, as for
            several predictions.

    Raises:
        DepthFormerError: An image is not of the camera's size, or the camera looks straight down.
    """
    size = (camera.height, camera.width)
    for name, depth in (("truth", truth), ("prediction", prediction)):
        if depth.shape != size:
            raise DepthFormerError(f"{name} has shape {depth.shape}, the camera {size}")
    truth, prediction = (np.ascontiguousarray(depth, np.float32) for depth in (truth, prediction))
    true = true or obstacle_points(truth, camera, ground, options)
    predicted = obstacle_points(prediction, camera, ground, options)
    of_true, of_predicted = _compare(true, prediction, options), _compare(predicted, truth, options)
    # Where a phantom meets a true obstacle it is right by chance, but goes on.
    phantoms = _wrong_groups(of_predicted, true, options, through=1 - options.tolerance / 2)
    missed = _wrong_groups(of_true, predicted, options, through=1 + options.tolerance)

    count, compared = of_true.count(), of_true.count(of_true.compared)
    others = count > 0
    others[missed.cells] = False
    blank = others & (2 * compared < count)
    everything = np.ones(len(true.pixel), np.bool_)
    unpredicted, detected = (
        _groups(np.flatnonzero(chosen), everything, true, options, through=1 + options.tolerance)
        for chosen in (blank, others & ~blank)
    )
    grid = np.zeros(options.shape, np.uint8)
    for kind, groups in (
        (Cell.UNPREDICTED, unpredicted),
        (Cell.DETECTED, detected),
        (Cell.PHANTOM, phantoms),
        (Cell.MISSED, missed),
    ):
        grid.reshape(-1)[groups.cells] = kind
    return FrameObstacles(
        detected=detected.distances,
        missed=missed.distances,
        phantoms=phantoms.distances,
        unpredicted=unpredicted.distances,
        nearest=_nearest_ahead(true, everything, options),
        nearest_predicted=_nearest_ahead(predicted, of_predicted.compared, options),
        grid=grid,
    )


@dataclass(frozen=True)
class _Compared:
    """Obstacles of one depth image on the same pixels of another.

    Attributes:
        points: The obstacles.
        compared: (N,), whether the other depth is known.
        beyond: (N,), whether it is farther than the tolerance, on the pixels around too.
        suspect: (N,), whether it is farther by the part of it that obstacles hang together by.
    """

    points: ObstaclePoints
    compared: BoolArray
    beyond: BoolArray
    suspect: BoolArray

    def count(self, chosen: BoolArray | None = None) -> Indices:
        """Count the points of each cell of the grid, all or those chosen."""
        cells = self.points.cell if chosen is None else self.points.cell[chosen]
        return np.bincount(cells, minlength=self.points.cells)


def _compare(points: ObstaclePoints, other: FloatArray, options: ObstacleOptions) -> _Compared:
    known = other.reshape(-1)[points.pixel] > 0  # comparisons with NaN are false
    # Edges are known to a pixel.
    around = cv2.erode(np.where(other > 0, other, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    margin = points.depth * np.maximum(
        np.float32(options.tolerance), np.float32(options.diagonal) / points.distance
    )
    gap = np.asarray(around, np.float32).reshape(-1)[points.pixel] - points.depth
    return _Compared(points, known, known & (gap > margin), known & (gap > _WEAK * margin))


@dataclass(frozen=True)
class _Groups:
    """Groups of cells.

    Attributes:
        cells: Cells of all groups.
        distances: Distance of each one's nearest point, metres.
    """

    cells: Indices
    distances: tuple[float, ...]


def _wrong_groups(
    compared: _Compared, others: ObstaclePoints, options: ObstacleOptions, *, through: float
) -> _Groups:
    """Group the cells where another depth image has no obstacle on most pixels, nor near by."""
    known = compared.count(compared.compared)
    wrong = 2 * compared.count(compared.beyond) > known
    cells = np.flatnonzero(2 * compared.count(compared.suspect) > known)
    if not wrong.any():
        return _Groups(cells[:0], ())
    wrong &= ~within_tolerance(np.flatnonzero(np.bincount(others.cell)), options)
    counted = compared.beyond & wrong[compared.points.cell]
    return _groups(cells, counted, compared.points, options, through=through)


def _groups(
    cells: Indices,
    counted: BoolArray,
    points: ObstaclePoints,
    options: ObstacleOptions,
    *,
    through: float,
) -> _Groups:
    """Group cells by `group_cells`, and keep groups with enough of the points that count."""
    if not cells.size:
        return _Groups(cells, ())
    labels = group_cells(cells, points, options, through=through)
    of_cell = np.full(points.cells, -1, np.intp)
    of_cell[cells] = labels
    label = of_cell[points.cell[counted]]
    distance = points.distance[counted][label >= 0]
    label = label[label >= 0]
    groups = int(labels.max()) + 1
    kept = np.bincount(label, minlength=groups) >= _FEWEST
    nearest = np.full(groups, np.inf, np.float32)
    np.minimum.at(nearest, label, distance)
    return _Groups(cells[kept[labels]], tuple(np.sort(nearest[kept]).tolist()))


def _nearest_ahead(
    points: ObstaclePoints, chosen: BoolArray, options: ObstacleOptions
) -> float | None:
    """Return how far ahead the corridor's first points within one cell's length begin."""
    inside = chosen & (np.abs(points.right) <= options.corridor / 2)
    ahead = np.sort(points.forward[inside])
    together = ahead[_FEWEST - 1 :] - ahead[: 1 - _FEWEST] <= options.cell
    return float(ahead[together.argmax()]) if together.any() else None
