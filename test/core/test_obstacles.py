"""Obstacles that predictions miss or make up, on generated drives and simple scenes."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest
from altered_scenes import RATE, cars, exact_depth, with_wall

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.obstacle_tally import ObstacleAccumulator
from depthformer_core.evaluation.obstacles import Cell, ObstacleOptions, find_obstacles
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, fit_ground
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic import CAMERA_HEIGHT, STREET_CAMERA, Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)
GROUND = Plane((0.0, -1.0, 0.0), CAMERA_HEIGHT)
OPTIONS = ObstacleOptions()


def scanned(drive, frame):
    return scan_truth([(drive.scan(frame)[:, :3], VELO_TO_CAMERA)], drive.camera)


@functools.lru_cache(maxsize=2)
def scene(seed, camera=SMALL, frame=0):
    """Exact depth of a frame, its LiDAR truth, the ground, and depth without its nearest car."""
    drive = Drive(seed, frames=30, camera=camera, rate=RATE)
    depth, view = exact_depth(drive, frame)
    lidar = scanned(drive, frame)
    found = cars(drive, frame, view)
    removed = exact_depth(drive, frame, without=found[0])[0] if found else None
    ground = fit_ground(camera.unproject(depth).reshape(-1, 3))
    return depth, lidar, ground, removed


SCENES = [
    pytest.param(seed, camera, frame, id=f"{seed}-{camera.width}-{frame}")
    for seed in (3, 12, 13, 21)
    for camera, frame in ((SMALL, 0), (SMALL, 20), (STREET_CAMERA, 10))
]


def counts(found):
    return len(found.missed), len(found.phantoms)


@pytest.mark.parametrize(("seed", "camera", "frame"), SCENES)
@pytest.mark.slow
def test_generated_drives(seed, camera, frame):
    """What was put into exact predictions is counted exactly, with dense truth and a LiDAR's."""
    depth, lidar, ground, removed = scene(seed, camera, frame)
    for truth in (depth, lidar):
        find = functools.partial(
            find_obstacles, truth, camera=camera, ground=ground, options=OPTIONS
        )
        exact = find(prediction=depth)
        assert counts(exact) == (0, 0)
        assert exact.obstacles == len(exact.detected) > 0
        for distance in (6.0, 10.0, 15.0, 25.0):
            for left, right in ((0.35, 0.65), (0.0, 1.0)):
                wall = with_wall(depth, camera, distance, left=left, right=right)
                assert counts(find(prediction=wall)) == (0, 1), (distance, left)
        if removed is not None:
            assert counts(find(prediction=removed)) == (1, 0)


@pytest.mark.parametrize("seed", [3, 21])
def test_a_generated_frame(seed):
    depth, _, ground, removed = scene(seed)
    find = functools.partial(find_obstacles, depth, camera=SMALL, ground=ground, options=OPTIONS)
    assert counts(find(prediction=depth)) == (0, 0)
    assert counts(find(prediction=with_wall(depth, SMALL, 8.0))) == (0, 1)
    if removed is not None:
        assert counts(find(prediction=removed)) == (1, 0)
    far, near = find(prediction=1.2 * depth), find(prediction=0.8 * depth)
    assert far.missed
    assert not far.phantoms
    assert near.phantoms
    assert not near.missed


@pytest.mark.parametrize(
    "seed", [21, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (3, 12))]
)
def test_a_drive_with_a_phantom_wall_and_a_removed_car(seed):
    """One phantom in each frame with the wall, one miss in each without the car, none elsewhere."""
    drive = Drive(seed, frames=12, camera=SMALL, rate=RATE)
    removed = cars(drive, 8, exact_depth(drive, 8)[1])[0]
    accumulator = ObstacleAccumulator(OPTIONS)
    missed, phantoms = [], []
    for frame in range(drive.frames):
        truth, _ = exact_depth(drive, frame)
        prediction = truth
        if frame in range(1, 5):
            prediction = with_wall(truth, SMALL, 8.0)
        elif frame in range(6, 9):
            prediction, _ = exact_depth(drive, frame, without=removed)
        ground = fit_ground(SMALL.unproject(truth).reshape(-1, 3))
        found = find_obstacles(truth, prediction, SMALL, ground, OPTIONS)
        accumulator.add(frame * 100_000_000, found)
        missed += [frame] * len(found.missed)
        phantoms += [frame] * len(found.phantoms)
    assert phantoms == [1, 2, 3, 4]
    assert missed == [6, 7, 8]
    result = accumulator.result()
    assert (result.frames, result.missed, result.phantoms) == (12, 3, 4)
    assert result.by_distance[1].phantoms == 4
    assert result.nearest.falsely_blocked + result.nearest.frames >= 4


class Room:
    """Boxes on level ground, as a camera sees them: x left and right, depth, width of each."""

    def __init__(self, camera=SMALL, ground=GROUND):
        self.camera, self.ground = camera, ground
        across, down = camera.slopes()
        self._x, self._y = np.meshgrid(across, down)
        with np.errstate(divide="ignore"):
            floor = CAMERA_HEIGHT / self._y
        self.empty = np.where(floor > 0, floor, np.inf).astype(np.float32)

    def depth(self, *boxes):
        """Return the depth with upright boards: (left, right, ahead[, bottom, top])."""
        depth = self.empty.copy()
        for left, right, ahead, *heights in boxes:
            bottom, top = heights or (0.0, 1.8)
            height = CAMERA_HEIGHT - self._y * ahead
            inside = (self._x * ahead >= left) & (self._x * ahead <= right)
            inside &= (height >= bottom) & (height <= top)
            depth[inside] = np.minimum(depth[inside], np.float32(ahead))
        return depth

    def find(self, truth, prediction, **options):
        return find_obstacles(
            truth, prediction, self.camera, self.ground, ObstacleOptions(**options)
        )


ROOM = Room()


def test_one_of_three_is_missed():
    boxes = [(-4, -2, 8.0), (0, 1.5, 12.0), (3, 5, 16.0)]
    found = ROOM.find(ROOM.depth(*boxes), ROOM.depth(boxes[0], boxes[2]))
    assert len(found.detected) == 2
    assert found.missed == pytest.approx([12.0], abs=0.1)
    assert not found.phantoms
    assert found.nearest == pytest.approx(12.0)
    assert found.nearest_predicted is None
    assert found.row == {
        "obstacles": 3,
        "missed": 1,
        "phantoms": 0,
        "nearest": pytest.approx(12.0),
        "nearest_predicted": pytest.approx(np.nan, nan_ok=True),
    }


def test_prediction_and_truth_exchanged():
    """What is missed the one way is a phantom the other way."""
    first, second = ROOM.depth((0, 1, 9.0)), ROOM.depth((-5, -4, 7.0), (3, 4, 11.0))
    there, back = ROOM.find(first, second), ROOM.find(second, first)
    assert counts(there) == (1, 2)
    assert counts(back) == (2, 1)
    assert there.missed == pytest.approx(back.phantoms)
    assert there.phantoms == pytest.approx(back.missed)


@pytest.mark.parametrize(("factor", "wanted"), [(1.09, (0, 0)), (0.92, (0, 0))])
def test_within_the_tolerance(factor, wanted):
    truth = ROOM.depth((-1, 1, 10.0))
    assert counts(ROOM.find(truth, ROOM.depth((-factor, factor, 10.0 * factor)))) == wanted


@pytest.mark.parametrize(("factor", "wanted"), [(1.2, (1, 0)), (0.8, (0, 1))])
def test_beyond_the_tolerance(factor, wanted):
    """Of an obstacle too far only its miss counts, of one too near its phantom."""
    truth = ROOM.depth((-1, 1, 10.0))
    assert counts(ROOM.find(truth, ROOM.depth((-factor, factor, 10.0 * factor)))) == wanted
    relaxed = ROOM.find(truth, ROOM.depth((-factor, factor, 10.0 * factor)), tolerance=0.3)
    assert counts(relaxed) == (0, 0)


def test_near_tolerance_is_a_cell_diagonal():
    truth, prediction = ROOM.depth((-1, 1, 2.0)), ROOM.depth((-1, 1, 2.3))
    assert counts(ROOM.find(truth, prediction)) == (0, 0)
    assert counts(ROOM.find(truth, prediction, cell=0.1)) == (1, 0)


@pytest.mark.parametrize(
    ("bottom", "top", "wanted"),
    [(0.0, 0.25, 0), (0.0, 0.6, 1), (1.5, 3.0, 1), (2.1, 3.0, 0)],
    ids=["kerb", "bollard", "beam", "bridge"],
)
def test_heights(bottom, top, wanted):
    prediction = ROOM.depth((-1, 1, 7.0, bottom, top))
    assert counts(ROOM.find(ROOM.empty, prediction)) == (0, wanted)
    assert counts(ROOM.find(prediction, ROOM.empty)) == (wanted, 0)


def test_a_robot_of_another_height():
    truth = ROOM.depth((-1, 1, 7.0, 2.1, 3.0))
    assert counts(ROOM.find(truth, ROOM.empty, highest=2.8)) == (1, 0)


def test_farthest():
    truth = ROOM.depth((-3, 3, 30.0))
    assert counts(ROOM.find(truth, ROOM.empty)) == (1, 0)
    assert counts(ROOM.find(truth, ROOM.empty, farthest=20.0)) == (0, 0)


@pytest.mark.parametrize("hides", [(-0.2, 0.2), (-1.0, 1.0), (-2.0, 0.5)])
def test_what_stands_in_front_splits_nothing(hides):
    front = (*hides, 6.0)
    truth, wall = ROOM.depth(front), ROOM.depth(front, (-6, 6, 14.0))
    assert counts(ROOM.find(truth, wall)) == (0, 1)
    assert counts(ROOM.find(wall, truth)) == (1, 0)


def test_what_a_gap_parts_are_two():
    """Seen past the thing in front: nothing joins them."""
    front = (-0.3, 0.3, 6.0)
    wall = ROOM.depth(front, (-6, -2, 14.0), (2, 6, 14.0))
    assert counts(ROOM.find(ROOM.depth(front), wall)) == (0, 2)


def test_a_true_obstacle_in_a_phantom_wall_splits_it_not():
    within = (-1.0, 1.0, 14.3)
    wall = ROOM.depth(within, (-6, 6, 14.0))
    assert counts(ROOM.find(ROOM.depth(within), wall)) == (0, 1)


def test_two_missed_beside_a_detected_one_are_two():
    cars = [(-4.2, -2.4, 12.0), (-0.9, 0.9, 12.0), (2.4, 4.2, 12.0)]
    found = ROOM.find(ROOM.depth(*cars), ROOM.depth(cars[1]))
    assert counts(found) == (2, 0)
    assert len(found.detected) == 1


def test_few_flying_pixels_are_no_obstacle():
    prediction = ROOM.depth((-1, 1, 20.0))
    truth = prediction.copy()
    prediction[50, 150], prediction[52, 155] = 9.0, 12.0
    found = ROOM.find(truth, prediction)
    assert counts(found) == (0, 0)
    assert found.nearest_predicted == found.nearest == pytest.approx(20.0)


def test_unknown_is_not_compared():
    box = ROOM.depth((-1, 1, 10.0))
    for unknown in (0.0, np.nan):
        truth = np.where(box == 10, np.float32(unknown), ROOM.empty)
        assert counts(ROOM.find(truth, box)) == (0, 0)
    found = ROOM.find(box, np.full_like(box, np.nan))
    assert counts(found) == (0, 0)
    assert found.obstacles == 0
    assert found.unpredicted == pytest.approx([10.0], abs=0.1)
    assert (found.grid == Cell.UNPREDICTED).any()


@pytest.mark.filterwarnings("error")
def test_sky_and_nothing():
    sky = np.full((94, 310), np.inf, np.float32)
    nothing = np.zeros_like(sky)
    for truth in (sky, nothing):
        for prediction in (sky, np.full_like(sky, np.nan), np.full_like(sky, 80)):
            found = ROOM.find(truth, prediction)
            assert counts(found) == (0, 0)
            assert found.nearest is None
    assert counts(ROOM.find(sky, ROOM.depth((-1, 1, 10.0)))) == (0, 1)
    assert counts(ROOM.find(ROOM.depth((-1, 1, 10.0)), sky)) == (1, 0)


def test_corridor():
    aside, ahead = (1.2, 3.0, 6.0), (-0.5, 0.5, 15.0)
    depth = ROOM.depth(aside, ahead)
    found = ROOM.find(depth, ROOM.depth(aside))
    assert found.nearest == pytest.approx(15.0)
    assert found.nearest_predicted is None
    wide = ROOM.find(depth, ROOM.depth(aside), corridor=3.0)
    assert wide.nearest == wide.nearest_predicted == pytest.approx(6.0)


def test_pitched_camera():
    """The same boards, seen from a camera that looks down by 8 degrees."""
    angle = np.deg2rad(8)
    ground = Plane((0.0, -float(np.cos(angle)), -float(np.sin(angle))), CAMERA_HEIGHT)
    across, down = SMALL.slopes()
    x, y = np.meshgrid(across, down)
    ahead = np.cos(angle) - y * np.sin(angle)  # of the ray (x, y, 1), on the ground
    below = np.sin(angle) + y * np.cos(angle)
    with np.errstate(divide="ignore"):
        floor = np.where(below > 0, CAMERA_HEIGHT / below, np.inf)
    board = 8.0 / ahead
    height = CAMERA_HEIGHT - board * below
    inside = (abs(x * board) < 0.8) & (height > 0) & (height < 1.7)
    depth = np.where(inside, np.minimum(board, floor), floor).astype(np.float32)
    room = Room(ground=ground)
    found = room.find(depth, floor.astype(np.float32))
    assert found.missed == pytest.approx([8.0], abs=0.1)
    assert found.nearest == pytest.approx(8.0, abs=0.01)


def test_grid_shows_the_cells():
    boxes = [(-4, -2, 8.0), (0, 1.5, 12.0)]
    found = ROOM.find(ROOM.depth(*boxes), ROOM.depth(boxes[0], (4, 5, 10.0)))
    assert found.grid.shape == OPTIONS.shape == (160, 320)
    for kind, right, ahead in (
        (Cell.DETECTED, -3.0, 8.0), (Cell.MISSED, 0.7, 12.0), (Cell.PHANTOM, 4.5, 10.0)
    ):  # fmt: skip
        row, column = np.nonzero(found.grid == kind)
        assert (row * 0.25).mean() == pytest.approx(ahead, abs=0.3)
        assert ((column - 159.5) * 0.25).mean() == pytest.approx(right, abs=0.3)
    assert dataclasses.replace(pickle.loads(pickle.dumps(found)), grid=None) == (
        dataclasses.replace(found, grid=None)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 0.0}, "cell must be positive, got 0 m"),
        ({"cell": float("nan")}, "cell must be positive, got nan m"),
        ({"corridor": -1.0}, "corridor must be positive, got -1 m"),
        ({"farthest": float("inf")}, "farthest must be positive, got inf m"),
        ({"cell": 0.01}, "farthest must be 4 to 1000 cells of 0.01 m, got 40 m"),
        ({"cell": 20.0}, "farthest must be 4 to 1000 cells of 20 m, got 40 m"),
        ({"lowest": 0.0}, "lowest first, got 0 and 2 m"),
        ({"lowest": 2.5}, "lowest first, got 2.5 and 2 m"),
        ({"tolerance": 0.0}, "tolerance must be a share between 0 and 1, got 0"),
        ({"tolerance": 10.0}, "tolerance must be a share between 0 and 1, got 10"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(DepthFormerError, match=message):
        ObstacleOptions(**options)


def test_sizes_must_agree():
    with pytest.raises(DepthFormerError, match=r"prediction has shape \(2, 2\), the camera"):
        ROOM.find(ROOM.empty, np.ones((2, 2), np.float32))
