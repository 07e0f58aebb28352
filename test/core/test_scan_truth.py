"""Truth from scans against exact depth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from depthformer_core.data.kitti import KittiDrive
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.scan_truth import remove_hidden, scan_truth
from depthformer_core.synthetic import STREET_CAMERA, Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

CAMERA = Camera(200, 120, 150.0, 150.0, 99.5, 59.5)


def right_share(truth, depth):
    """Share of the truth's pixels within 2 % of the exact depth."""
    known = truth > 0
    return (abs(truth[known] / depth[known] - 1) <= 0.02).mean()


def sampled(depth, *, across=3, down=6):
    """Every few pixels of a depth image, as a scanner's shots."""
    sparse = np.zeros_like(depth)
    sparse[down // 2 :: down, across // 2 :: across] = depth[
        down // 2 :: down, across // 2 :: across
    ]
    return sparse


def plane(camera, *, slope=(0.0, 0.0), nearness=0.1):
    """Depth of a plane that nears by shares of `nearness` a pixel rightwards and downwards."""
    row, column = np.mgrid[: camera.height, : camera.width]
    share = 1 + slope[0] * (column - camera.cx) + slope[1] * (row - camera.cy)
    return (1 / (nearness * share)).astype(np.float32)


@pytest.mark.parametrize("keep_hidden", [False, True])
def test_shots_without_a_return_are_no_truth(keep_hidden):
    """Of several scans too: the scanner's own place, 0.2 m ahead, is seen by the camera."""
    beams = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 300), np.linspace(-0.3, 0.3, 12)), -1)
    scan = np.insert(beams.reshape(-1, 2), 2, 1, axis=1).astype(np.float32) * 10
    matrix, later = np.eye(4), np.eye(4)
    matrix[:3, 3], later[:3, 3] = (0, 0, 0.2), (0, 0, 1.2)
    silent = np.zeros((500, 3), np.float32)
    wanted = scan_truth([(scan, matrix), (scan, later)], CAMERA, keep_hidden=keep_hidden)
    marked = [(np.concatenate((silent, scan, -silent)), pose) for pose in (matrix, later)]
    assert wanted[wanted > 0].min() > 10
    np.testing.assert_array_equal(scan_truth(marked, CAMERA, keep_hidden=keep_hidden), wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "theme"), [(12, "rural"), (13, "suburb")], ids=["rural", "suburb"]
)
def test_truth_of_generated_drives(seed, theme):
    """The remaining pixels are right to 99 %; those of the plain scan are not."""
    drive = Drive(seed, frames=3, rate=1.0, theme=theme)
    before, after, kept = [], [], []
    for frame in range(drive.frames):
        _, depth = drive.picture(frame)
        points = drive.scan(frame)[:, :3]
        plain = scan_truth([(points, VELO_TO_CAMERA)], STREET_CAMERA, keep_hidden=True)
        truth = scan_truth([(points, VELO_TO_CAMERA)], STREET_CAMERA)
        before.append(right_share(plain, depth))
        after.append(right_share(truth, depth))
        kept.append((truth > 0).sum() / (plain > 0).sum())
        np.testing.assert_array_equal(truth[truth > 0], plain[truth > 0])
    assert np.mean(before) < 0.98
    assert min(after) > 0.99
    assert min(kept) > 0.85


def test_background_does_not_shine_through_a_near_box():
    """A scanner above and behind the camera sees a wall over a box, and past its sides."""
    wall, box = 20.0, 4.0
    x, y = np.meshgrid(np.arange(-14, 14, 0.15), np.arange(-6, 6, 0.3))
    behind = np.stack((x, y, np.full_like(x, wall)), axis=-1).reshape(-1, 3)
    x, y = np.meshgrid(np.arange(-0.75, 0.76, 0.03), np.arange(-0.45, 0.46, 0.06))
    front = np.stack((x, y, np.full_like(x, box)), axis=-1).reshape(-1, 3)
    scanner = np.array([0, -0.3, -0.6])
    # Where the line from the scanner to a point of the wall passes the box.
    passing = scanner + (behind - scanner) * (box - scanner[2]) / (wall - scanner[2])
    seen = (abs(passing[:, 0]) > 0.78) | (abs(passing[:, 1]) > 0.48)
    matrix = np.eye(4)
    matrix[:3, 3] = scanner
    points = np.concatenate((behind[seen], front)) - scanner
    depth = scan_truth([(points, matrix)], CAMERA, keep_hidden=True)
    truth = scan_truth([(points, matrix)], CAMERA)
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width]
    side, level = (column - CAMERA.cx) / CAMERA.fx * box, (row - CAMERA.cy) / CAMERA.fy * box
    boxed = (abs(side) < 0.78) & (abs(level) < 0.48)
    through = boxed & (depth > 5)
    assert through.sum() > 20
    assert not (boxed & (truth > 5)).any()
    # Points of the box beside those of the wall are in doubt too.
    assert (truth[boxed] > 0).sum() > 0.6 * (depth[boxed & ~through] > 0).sum()
    assert (truth[~boxed] > 0).sum() > 0.8 * (depth[~boxed] > 0).sum()


@pytest.mark.parametrize(
    "slope",
    [(0.0, 0.0), (0.0, 0.011), (0.006, 0.0), (0.002, 0.006)],
    ids=["facing", "road", "house front", "oblique"],
)
def test_planes_keep_their_points(slope):
    sparse = sampled(plane(CAMERA, slope=slope))
    np.testing.assert_array_equal(remove_hidden(sparse), sparse)


def test_ground_goes_where_a_pixel_spans_too_much():
    """Far ground: its depth falls by 1 / (row - horizon) a pixel."""
    camera = STREET_CAMERA
    below = np.maximum(np.arange(camera.height) - camera.cy, 1e-3)
    depth = np.repeat((1.65 * camera.fy / below)[:, None], camera.width, axis=1)
    sparse = sampled(np.where(below[:, None] > 4, depth, 0).astype(np.float32))
    truth = remove_hidden(sparse)
    rows = np.flatnonzero(sparse.any(axis=1))
    kept = truth[rows].any(axis=1)
    assert kept[below[rows] > 1 / 0.03 + 1].all()
    assert not kept[1:][below[rows][1:] < 1 / 0.03 - 1].any()


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 5), (3, 24)])
def test_both_sides_of_an_edge_go_whatever_the_spacing(across, down):
    depth = np.full((CAMERA.height, CAMERA.width), 20, np.float32)
    depth[:, 100:] = 5
    sparse = sampled(depth, across=across, down=down)
    truth = remove_hidden(sparse)
    columns = np.flatnonzero(sparse.any(axis=0))
    lost = columns[~truth[:, columns].any(axis=0)]
    assert lost.min() < 100 <= lost.max()
    assert lost.max() - lost.min() <= 2 * (across + 1)
    assert (truth > 0).sum() > 0.95 * (sparse > 0).sum()


def test_noise_of_near_surfaces_is_no_edge():
    rng = np.random.default_rng(1)
    depth = (0.8 + rng.normal(0, 0.015, (CAMERA.height, CAMERA.width))).astype(np.float32)
    sparse = sampled(depth)
    assert (remove_hidden(sparse) > 0).sum() > 0.98 * (sparse > 0).sum()


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.empty((0, 3), np.float32), id="none"),
        pytest.param(np.full((5, 3), np.nan, np.float32), id="NaN"),
        pytest.param(np.array([[0, 0, -1], [np.inf, 0, 1]], np.float32), id="behind, infinite"),
    ],
)
@pytest.mark.parametrize("camera", [CAMERA, Camera(1, 1, 1, 1, 0, 0)], ids=["camera", "1x1"])
@pytest.mark.filterwarnings("error")
def test_no_points_no_truth(points, camera):
    truth = scan_truth([(points, np.eye(4))], camera)
    assert truth.shape == (camera.height, camera.width)
    assert not truth.any()


def test_layout_in_memory_does_not_matter():
    depth = np.full((CAMERA.height, CAMERA.width), 20, np.float32)
    depth[:, 100:] = 5
    sparse = sampled(depth)
    truth = remove_hidden(sparse)
    assert truth.any()
    np.testing.assert_array_equal(remove_hidden(np.asfortranarray(sparse)), truth)
    np.testing.assert_array_equal(remove_hidden(sparse.astype(np.float64)), truth)


def test_the_nearest_of_several_scans_wins():
    near, far = np.array([[0, 0, 2.0]]), np.array([[0, 0, 5.0], [0.1, 0, 5]])
    aside = np.eye(4)
    aside[0, 3] = 0.5
    scans = [(far, np.eye(4)), (near, np.eye(4)), (near, aside)]
    depth = scan_truth(scans, CAMERA, keep_hidden=True)
    assert {(row, column): depth[row, column] for row, column in np.argwhere(depth)} == {
        (60, 100): 2,
        (60, 102): 5,
        (60, 137): 2,
    }
    assert not scan_truth([], CAMERA).any()


def test_a_single_pixel():
    truth = scan_truth([(np.array([[0, 0, 2.0]]), np.eye(4))], Camera(1, 1, 1, 1, 0, 0))
    np.testing.assert_array_equal(truth, [[2]])


@pytest.mark.parametrize("depth", [np.ones(5, np.float32), np.ones((2, 2), np.uint16)])
def test_only_depth_images(depth):
    with pytest.raises(ValueError, match=f"floating-point image .*{depth.dtype}"):
        remove_hidden(depth)


@settings(deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.just(0.0) | st.floats(width=32),
    )
)
def test_only_points_of_the_scan_stay(depth):
    truth = remove_hidden(depth)
    assert np.isfinite(truth).all()
    assert (truth >= 0).all()
    np.testing.assert_array_equal(truth[truth > 0], depth[truth > 0])


def test_real_scan_agrees_with_its_direct_projection(samples):
    drive = KittiDrive(samples / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0052_sync")
    points = drive.scan(0)[:, :3]
    scans = [(points, drive.velo_to_camera)]
    plain = scan_truth(scans, drive.camera, keep_hidden=True)
    np.testing.assert_array_equal(plain, drive.scan_depth(0))
    truth = scan_truth(scans, drive.camera)
    assert 0.8 < (truth > 0).sum() / (plain > 0).sum() < 0.95
