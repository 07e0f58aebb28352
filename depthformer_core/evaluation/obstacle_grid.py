"""A grid on the ground: obstacles of a depth image in its cells, and cells as groups."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane
from depthformer_core.types import BoolArray, FloatArray

Indices = npt.NDArray[np.intp]

# Cells within this distance are of one obstacle, metres; and cells at one bearing, within this
# share of the tolerance: the pixels of a surface seen from its edge lie far apart.
_LINK = 1.0
_LINK_ALONG = 0.5
# Bearings, as slopes to the direction ahead.
_WIDTH = 1 / 64
_WIDEST = 4.0
# Distances ahead, in metres, and in shares of each other.
_NEAREST = 0.25
_FINEST = 0.01
_MOST_CELLS = 1000
# Rows at a time: arrays of so many stay in the cache, which makes it several times as fast.
_BAND = 32


@dataclass(frozen=True, kw_only=True)
class ObstacleOptions:
    """What counts as an obstacle, and as the same place.

    Attributes:
        cell: Side of the grid's cells, metres.
        lowest: Lowest height of an obstacle above the ground, metres.
        highest: Highest, metres: about the robot's own height.
        farthest: Largest distance from the camera on the ground, metres.
        corridor: Width of the driving corridor along the camera's forward direction, metres.
        tolerance: Largest error of a distance, as a share of it; at least a cell's diagonal.

    Raises:
        DepthFormerError: A value is out of range.
    """

    cell: float = 0.25
    lowest: float = 0.3
    highest: float = 2.0
    farthest: float = 40.0
    corridor: float = 2.0
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        """Reject values that are out of range."""
        for name in ("cell", "farthest", "corridor"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise DepthFormerError(f"{name} must be positive, got {value:g} m")
        if not 0 < self.lowest < self.highest < math.inf:
            raise DepthFormerError(
                "lowest and highest must be heights above the ground, the lowest first, got "
                f"{self.lowest:g} and {self.highest:g} m"
            )
        if not 0 < self.tolerance < 1:
            raise DepthFormerError(
                f"tolerance must be a share between 0 and 1, got {self.tolerance:g}"
            )
        if not 4 * self.cell <= self.farthest <= _MOST_CELLS * self.cell:
            raise DepthFormerError(
                f"farthest must be 4 to {_MOST_CELLS} cells of {self.cell:g} m, "
                f"got {self.farthest:g} m"
            )

    @property
    def ranges(self) -> tuple[float, ...]:
        """Edges of the distance ranges of results, metres: halves of the farthest, from 0."""
        return (0.0, self.farthest / 8, self.farthest / 4, self.farthest / 2, self.farthest)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of the grid, ahead from the camera, and columns, from the left to the right."""
        rows = math.ceil(self.farthest / self.cell)
        return rows, 2 * rows

    @property
    def diagonal(self) -> float:
        """Diagonal of a cell, metres."""
        return math.sqrt(2) * self.cell


@dataclass(frozen=True)
class ObstaclePoints:
    """Pixels of a depth image that are obstacles.

    Attributes:
        pixel: (N,), counted row by row.
        depth: (N,), metres along the optical axis.
        right: (N,), metres to the right on the ground.
        forward: (N,), metres ahead on the ground.
        distance: (N,), metres from the camera on the ground.
        cell: (N,), cell of the grid, counted row by row.
        cells: Number of the grid's cells.
    """

    pixel: Indices
    depth: FloatArray
    right: FloatArray
    forward: FloatArray
    distance: FloatArray
    cell: Indices
    cells: int


def obstacle_points(
    depth: FloatArray, camera: Camera, ground: Plane, options: ObstacleOptions
) -> ObstaclePoints:
    """Find the pixels of a depth image that are obstacles.

    Args:
        depth: (H, W), metres along the optical axis; what is not finite or not positive is none.
        camera: The camera.
        ground: The ground.
        options: Heights and distance of obstacles.
    """
    axes = np.array((*ground.axes(), ground.normal), np.float32)
    across, down = camera.slopes()
    columns = axes[:, :1] * across
    rows = axes[:, 1:2] * down + axes[:, 2:]
    low = np.float32(options.lowest - ground.height)
    high = np.float32(options.highest - ground.height)
    # Little is left of an image without what is too far.
    slope = columns[1].min() + rows[1].min()
    deepest = np.float32(options.farthest / slope if slope > 0 else np.inf)
    parts = []
    for top in range(0, camera.height, _BAND):
        band = slice(top, top + _BAND)
        z = depth[band]
        # Comparisons with NaN are false.
        with np.errstate(invalid="ignore"):
            rise = z * (columns[2] + rows[2, band, None])
        pixel = np.flatnonzero((rise >= low) & (rise <= high) & (z > 0) & (z <= deepest))
        row = pixel // camera.width
        column = pixel - row * camera.width
        z = z.reshape(-1)[pixel]
        right, forward = (z * (columns[k, column] + rows[k, band][row]) for k in (0, 1))
        distance = np.sqrt(right * right + forward * forward)
        near = (forward >= 0) & (distance < options.farthest)
        pixel += top * camera.width
        parts.append([values[near] for values in (pixel, z, right, forward, distance)])
    pixel, z, right, forward, distance = map(np.concatenate, zip(*parts, strict=True))
    cell = cells_of(right, forward, options)
    cells = math.prod(options.shape)
    return ObstaclePoints(pixel, z, right, forward, distance, cell, cells)


def cells_of(right: FloatArray, forward: FloatArray, options: ObstacleOptions) -> Indices:
    """Return the cells of places within the grid, counted row by row."""
    rows, columns = options.shape
    scale = np.float32(1 / options.cell)
    row = np.minimum((forward * scale).astype(np.int32), rows - 1)
    column = (right * scale + np.float32(rows)).astype(np.int32)
    return (row * columns + np.clip(column, 0, columns - 1)).astype(np.intp)


def centres(cells: Indices, options: ObstacleOptions) -> tuple[FloatArray, FloatArray]:
    """Return how far the middles of cells lie to the right and ahead, metres."""
    rows, columns = options.shape
    row, column = np.divmod(cells, columns)
    half = np.float32(0.5)
    size = np.float32(options.cell)
    return (column.astype(np.float32) - rows + half) * size, (row.astype(np.float32) + half) * size


def within_tolerance(cells: Indices, options: ObstacleOptions) -> BoolArray:
    """Mark the places within the tolerance of cells: (cells of the grid,).

    They lie at the same bearing or in the cells beside it: bearings are those of pixels, and
    hardly ever wrong.
    """
    marks = _spread_along(cells, options.tolerance, options, less=options.diagonal)
    return np.asarray(cv2.dilate(marks, np.ones((3, 3), np.uint8)).reshape(-1) > 0)


def _spread_along(
    cells: Indices, share: float, options: ObstacleOptions, *, less: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Mark cells, and those at the same bearing that are nearer or farther by a share of it.

    Args:
        cells: The cells.
        share: Of a cell's distance.
        options: The grid.
        less: Metres that are taken off again.
    """
    marks = np.zeros(options.shape, np.uint8)
    right, forward = centres(cells, options)
    reach = np.maximum(np.float32(share) - np.float32(less) / np.hypot(right, forward), 0)
    steps = math.ceil(share * options.farthest / options.cell)
    factor = 1 + np.linspace(-1, 1, 2 * steps + 1, dtype=np.float32)[:, None] * reach
    right, forward = (right * factor).reshape(-1), (forward * factor).reshape(-1)
    marks.reshape(-1)[cells_of(right, forward, options)] = 1
    return marks


def group_cells(
    cells: Indices, hiding: ObstaclePoints, options: ObstacleOptions, *, through: float
) -> Indices:
    """Group cells to obstacles.

    Cells within a metre are of one obstacle. So are those on both sides of a nearer obstacle, at
    the same distance, if all between is hidden by it.

    Args:
        cells: (N,), the cells.
        hiding: Obstacles that hide what lies behind.
        options: The grid.
        through: Distance from which on a place behind such an obstacle is hidden, as a share of
            the obstacle's distance.

    Returns:
        (N,), number of each one's group, from 0.
    """
    marks = _spread_along(cells, _LINK_ALONG / 2 * options.tolerance, options)
    radius = round(_LINK / 2 / options.cell)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    count, image = cv2.connectedComponents(cv2.dilate(marks, disc), connectivity=8)
    labels = np.asarray(image.reshape(-1)[cells], np.intp) - 1
    if count > 2:
        pairs = _hidden_pairs(cells, labels, hiding, options, through)
        labels = _join(pairs, count - 1)[labels]
    groups: Indices = np.unique(labels, return_inverse=True)[1]
    return groups


def _hidden_pairs(
    cells: Indices,
    labels: Indices,
    hiding: ObstaclePoints,
    options: ObstacleOptions,
    through: float,
) -> Indices:
    """Return pairs (N, 2) of labels with nothing but hidden places between them.

    The ground is seen as an image: columns are bearings, rows are distances ahead in equal ratios.
    """
    bearings = round(2 * _WIDEST / _WIDTH)

    def bearing(right: FloatArray, forward: FloatArray) -> Indices:
        slope = right / np.maximum(forward, np.float32(_NEAREST)) + np.float32(_WIDEST)
        return np.asarray(np.clip(slope / np.float32(_WIDTH), 0, bearings - 1), np.intp)

    nearest = np.full(bearings, np.inf, np.float32)
    np.minimum.at(nearest, bearing(hiding.right, hiding.forward), hiding.forward)
    ratio = math.log1p(max(options.tolerance / 2, _FINEST))
    rows = math.ceil(math.log(options.farthest / _NEAREST) / ratio) + 2
    right, forward = centres(cells, options)
    row = (np.log(np.maximum(forward, _NEAREST) / _NEAREST) / ratio).astype(np.intp) + 1
    column = bearing(right, forward)
    seen_as = np.full((rows + 1, bearings), -1, np.intp)
    for step in (-1, 1, 0):  # a wall need not face the camera
        seen_as[row + step, column] = labels
    ahead = _NEAREST * np.exp(ratio * (np.arange(rows + 1) - 0.5))
    is_open = (ahead[:, None] < through * nearest) & (seen_as < 0)
    opened = np.cumsum(is_open, axis=1)
    # Each labelled place and the next one to its right.
    place = np.flatnonzero(seen_as >= 0)
    start, end = place[:-1], place[1:]
    row = start // bearings
    label, opened = seen_as.reshape(-1), opened.reshape(-1)
    gap = (opened[end] - opened[start]) * _WIDTH * ahead[row]
    linked = (end // bearings == row) & (label[start] != label[end]) & (gap <= _LINK)
    pairs = np.stack((label[start[linked]], label[end[linked]]), axis=1)
    return np.asarray(np.unique(pairs, axis=0), np.intp)


def _join(pairs: Indices, count: int) -> Indices:
    """Return the smallest label that pairs join each of so many labels with."""
    labels = np.arange(count)
    for first, second in pairs.tolist():
        low, high = sorted((labels[first], labels[second]))
        labels[labels == high] = low
    return labels
