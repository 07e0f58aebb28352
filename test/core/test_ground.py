"""The ground plane of frames and of points."""

import numpy as np
import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, fit_ground, plane_of_frame
from depthformer_core.synthetic import CAMERA_HEIGHT, Drive, Mount
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA
from depthformer_core.synthetic.rendering.render import trace

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)
LEVEL = (0.0, -1.0, 0.0)


def mounted_up(mount):
    """Up of a level road, in the optical frame of a mounted camera."""
    cp, sp, cr, sr = (f(angle) for angle in (mount.pitch, mount.roll) for f in (np.cos, np.sin))
    pitched = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rolled = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (pitched @ rolled).T @ LEVEL


def degrees_between(first, second):
    return np.degrees(np.arccos(np.clip(np.dot(first, second), -1, 1)))


def seen_points(drive, frame=0):
    view = trace(drive.scene, drive.camera, drive.pose(frame))
    depth = 1 / np.maximum(view.hits.nearness, 1e-9)
    return drive.camera.unproject(np.where(depth < 300, depth, np.inf)).reshape(-1, 3)


def scanned_points(drive, frame=0):
    points = drive.scan(frame)[:, :3] @ VELO_TO_CAMERA[:3, :3].T + VELO_TO_CAMERA[:3, 3]
    return points[points[:, 2] > 0]


@pytest.mark.parametrize(
    "mount",
    [Mount(), Mount(height=1.2, pitch=np.deg2rad(-6), roll=np.deg2rad(5))],
    ids=["level", "tilted"],
)
@pytest.mark.parametrize("seed", [3, 12, 13, 21])
def test_generated_drives(seed, mount):
    drive = Drive(seed, frames=1, camera=SMALL, mount=mount)
    for points in (seen_points(drive), scanned_points(drive)):
        ground = fit_ground(points)
        assert ground is not None
        assert ground.height == pytest.approx(mount.height, abs=0.06)
        assert degrees_between(ground.normal, mounted_up(mount)) < 1


def test_known_direction_of_up():
    """A camera that is mounted on its side."""
    points = seen_points(Drive(13, frames=1, camera=SMALL))
    turned = points[:, [1, 0, 2]] * (1, -1, 1)
    assert fit_ground(turned) is None
    ground = fit_ground(turned, up=(-1.0, 0.0, 0.0))
    assert ground is not None
    assert ground.height == pytest.approx(CAMERA_HEIGHT, abs=0.05)
    assert degrees_between(ground.normal, (-1, 0, 0)) < 1


def test_equal_points_give_equal_planes():
    points = seen_points(Drive(3, frames=1, camera=SMALL))
    assert fit_ground(points) == fit_ground(points.copy())


def grid(x, y, z, noise=0.02):
    """Points of a box's faces that x, y and z span."""
    points = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)
    return points + np.random.default_rng(0).normal(0, noise, points.shape)


def test_ground_among_walls():
    road = grid(np.arange(-4, 4, 0.2), [1.5], np.arange(4, 25, 0.4))
    walls = grid([-4, 4], np.arange(-3, 1.5, 0.1), np.arange(4, 25, 0.4))
    ground = fit_ground(np.concatenate((road, walls)))
    assert ground is not None
    assert ground.height == pytest.approx(1.5, abs=0.02)


def test_not_the_table_but_the_floor():
    table = grid(np.arange(-1, 1, 0.03), [0.5], np.arange(1, 2, 0.03))
    floor = grid(np.arange(-2, 2, 0.1), [1.3], np.arange(2, 6, 0.1))
    ground = fit_ground(np.concatenate((table, floor)))
    assert ground is not None
    assert ground.height == pytest.approx(1.3, abs=0.03)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.empty((0, 3)), id="nothing"),
        pytest.param(np.full((500, 3), np.nan), id="NaN"),
        pytest.param(grid(np.arange(-5, 5, 0.1), np.arange(-2, 2, 0.1), [6]), id="wall ahead"),
        pytest.param(grid([2], np.arange(-2, 2, 0.1), np.arange(2, 20, 0.1)), id="wall aside"),
        pytest.param(grid(np.arange(-9, 9, 0.2), [-3], np.arange(2, 9, 0.2)), id="ceiling"),
        pytest.param(grid(np.arange(-9, 9, 0.2), [9], np.arange(2, 9, 0.2)), id="far below"),
        pytest.param(grid([0], [1.5], np.arange(2, 20, 0.01)), id="line"),
        pytest.param(grid([0.0, 1, 2], [1.5], [5.0, 6, 7]), id="few points"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_ground(points):
    assert fit_ground(points) is None


def test_a_slope_too_steep_is_no_ground():
    x, z = np.meshgrid(np.arange(-3, 3, 0.1), np.arange(2, 6, 0.1))
    for angle, found in ((20, True), (30, False)):
        y = 4 - z * np.tan(np.deg2rad(angle))
        ground = fit_ground(np.stack((x, y, z), axis=-1).reshape(-1, 3))
        assert (ground is not None) == found


def test_plane_of_frame():
    """A camera 1.2 m up that looks down by 10 degrees, in a frame x ahead, y left, z up."""
    angle = np.deg2rad(10)
    ahead = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    down = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = down @ ahead, (0.3, 0.1, 1.2)
    ground = plane_of_frame(matrix)
    points = np.random.default_rng(1).normal(size=(20, 3))
    wanted = (points @ matrix[:3, :3].T + matrix[:3, 3])[:, 2]
    np.testing.assert_allclose(ground.heights(points), wanted)
    right, forward = ground.axes()
    np.testing.assert_allclose(matrix[:3, :3] @ forward, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(matrix[:3, :3] @ right, [0, -1, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plane_of_frame(np.eye(3)), "finite 4x4 matrix"),
        (lambda: plane_of_frame(np.full((4, 4), np.nan)), "finite 4x4 matrix"),
        (lambda: plane_of_frame(np.diag((1.0, 1, 2, 1))), "unit vector"),
        (lambda: plane_of_frame(np.eye(4)), "above the ground, got the height 0 m"),
        (lambda: Plane(LEVEL, -1.65), "above the ground, got the height -1.65 m"),
        (lambda: Plane((0.0, 0.0, -1.0), 2.0).axes(), "straight at the ground"),
    ],
    ids=["3x3", "NaN", "scaled", "on the ground", "below", "straight down"],
)
def test_what_is_refused(make, message):
    with pytest.raises(DepthFormerError, match=message):
        make()
