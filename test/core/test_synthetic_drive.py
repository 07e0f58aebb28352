"""Drives: motion and depth agree, and so do scans."""

import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_scan
from depthformer_core.synthetic import STREET_CAMERA, Drive, Mount, Theme
from depthformer_core.synthetic.rendering.lidar import LONGEST, VELO_TO_CAMERA

AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def neighbours(depth, row, column):
    return np.array([depth[row + down, column + right] for down, right in AROUND])


@pytest.mark.parametrize(
    ("seed", "theme"), [(1, "suburb"), (2, "city"), (3, "rural"), (4, "highway")]
)
def test_two_frames_see_one_world(seed: int, theme: Theme):
    """Points seen in one frame lie where the next one sees them, or are hidden there."""
    drive = Drive(seed, frames=2, theme=theme, traffic=False, mount=Mount(1.5, 0.02, 0.01, 0.03))
    (_, before), (_, after) = drive.picture(0), drive.picture(1)
    points = STREET_CAMERA.unproject(before).reshape(-1, 3)
    motion = np.linalg.inv(drive.pose(1)) @ drive.pose(0)
    points = points[np.isfinite(points).all(axis=1)] @ motion[:3, :3].T + motion[:3, 3]
    points = points[(points[:, 2] > 1) & (points[:, 2] < 100)]
    pixels = np.rint(STREET_CAMERA.project(points)).astype(int)
    inside = ((pixels >= 1) & (pixels < (STREET_CAMERA.width - 1, STREET_CAMERA.height - 1))).all(1)
    points, (column, row) = points[inside], pixels[inside].T
    ratio = neighbours(after, row, column) / points[:, 2]
    assert ((ratio > 0.98) & (ratio < 1.02)).any(axis=0).mean() > 0.95
    assert (ratio > 1.03).all(axis=0).mean() < 0.005, "points are seen through"
    assert (abs(ratio[4] - 1) < 0.01).mean() > 0.88


def test_a_picture_of_the_sky():
    rgb, depth = Drive(0, frames=1, camera=Camera(32, 8, 60.0, 60.0, 16.0, 200.0)).picture(0)
    assert not np.isfinite(depth).any()
    assert rgb.min() > 0


@pytest.mark.parametrize(("seed", "theme"), [(1, "suburb"), (2, "city"), (3, "rural")])
def test_scan_agrees_with_depth(seed: int, theme: Theme):
    drive = Drive(seed, frames=1, theme=theme)
    _, depth = drive.picture(0)
    sparse = project_scan(drive.scan(0), VELO_TO_CAMERA, STREET_CAMERA)
    row, column = np.nonzero(sparse[1:-1, 1:-1])
    row, column = row + 1, column + 1
    measured = sparse[row, column]
    assert len(measured) > 10_000
    around = neighbours(depth, row, column)
    # The scanner sits a little higher and farther back: it sees over and past some edges.
    smooth = around.max(axis=0) < 1.03 * around.min(axis=0)
    assert smooth.mean() > 0.7
    error = (measured - around[4])[smooth]
    slack = 0.5 * (around.max(axis=0) - around.min(axis=0))[smooth]
    assert (abs(error) < 3 * 0.02 + slack).mean() > 0.95
    assert abs(np.median(error)) < 0.01
    flat = slack < 0.005
    assert np.median(abs(error[flat])) == pytest.approx(0.6745 * 0.02, rel=0.25)


def test_scan_looks_like_a_scanner():
    scan = Drive(5, frames=1).scan(0)
    assert scan.dtype == np.float32
    assert scan.shape[1] == 4
    assert 80_000 < len(scan) < 64 * 2084
    assert np.isfinite(scan).all()
    distance = np.linalg.norm(scan[:, :3], axis=1)
    assert distance.max() < LONGEST + 0.2
    elevation = np.rad2deg(np.arcsin(scan[:, 2] / distance))
    assert elevation.min() > -24.9
    assert elevation.max() < 2.1
    assert len(np.unique(np.round(elevation, 1))) <= 70
    assert ((scan[:, 3] >= 0) & (scan[:, 3] <= 1)).all()
    # All around.
    sides = np.histogram(np.arctan2(scan[:, 1], scan[:, 0]), 8, (-np.pi, np.pi))[0]
    assert sides.min() > 5_000


def test_drive_is_repeatable():
    camera = Camera(155, 47, 90.2, 90.2, 76.2, 21.6)
    first, second = (Drive(7, frames=3, camera=camera) for _ in range(2))
    second.picture(0)
    for one, other in zip(first.picture(2), second.picture(2), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.scan(1), second.scan(1))


def test_pose_follows_the_road():
    drive = Drive(2, frames=11, rate=10.0, speed=8.0)
    start, end = drive.pose(0), drive.pose(10)
    assert np.linalg.norm(end[:3, 3] - start[:3, 3]) == pytest.approx(8.0, rel=0.02)
    for pose in (start, end):
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    ahead = (end[:3, 3] - start[:3, 3]) @ start[:3, 2]
    assert ahead > 7.5


@pytest.mark.parametrize("seed", range(3))
def test_mounts_stay_in_their_ranges(seed):
    rng = np.random.default_rng(seed)
    mounts = [Mount.draw(rng) for _ in range(300)]
    assert all(1.2 <= mount.height <= 2.2 for mount in mounts)
    assert max(abs(mount.pitch) for mount in mounts) <= np.deg2rad(4)
    assert max(abs(mount.roll) for mount in mounts) <= np.deg2rad(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 0}, "got 0 and 10.0"),
        ({"frames": 3, "rate": 0.0}, "got 3 and 0.0"),
        ({"frames": 3, "rate": float("nan")}, "got 3 and nan"),
        ({"frames": 3, "speed": -1.0}, "got -1.0"),
    ],
    ids=["frames", "rate", "rate nan", "speed"],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Drive(0, **arguments)
