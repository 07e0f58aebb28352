"""Depth of one camera on the pixels of another."""

import numpy as np
import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.resampling import points_to_depth, resample_depth, resize_depth

TARGET = Camera(64, 32, 40.0, 40.0, 31.5, 15.5)
SAME = np.eye(4)


def moved(x=0.0, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def wall(camera, *, distance=10.0, slope=0.3):
    """Depth of a plane that goes away to the right."""
    across, _ = camera.slopes()
    line = distance / (1 - slope * across)
    return np.repeat(line[None], camera.height, axis=0).astype(np.float32)


def test_one_camera_is_left_alone():
    depth = wall(TARGET)
    assert resample_depth(depth, TARGET, TARGET, SAME) is depth


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_other_resolutions_keep_their_place(factor):
    source = TARGET.resized(round(TARGET.height * factor), round(TARGET.width * factor))
    found = resample_depth(wall(source), source, TARGET, SAME)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wall(TARGET), rtol=0.02)


def test_a_wider_and_a_narrower_view():
    wide, narrow = Camera(128, 64, 40.0, 40.0, 63.5, 31.5), Camera(32, 16, 40.0, 40.0, 15.5, 7.5)
    np.testing.assert_allclose(
        resample_depth(wall(wide), wide, TARGET, SAME), wall(TARGET), rtol=1e-6
    )
    found = resample_depth(wall(narrow), narrow, TARGET, SAME)
    known = np.isfinite(found)
    assert known.sum() == 32 * 16
    np.testing.assert_allclose(found[known], wall(TARGET)[known], rtol=1e-6)


def test_infinite_depth_stays_infinite_along_the_rays():
    source = TARGET.resized(16, 32)
    depth = np.full((16, 32), np.inf, np.float32)
    assert np.isposinf(resample_depth(depth, source, TARGET, SAME)).all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_another_place_moves_the_points(factor):
    source = TARGET.resized(round(TARGET.height * factor), round(TARGET.width * factor))
    depth = np.full((source.height, source.width), 10.0, np.float32)
    # The source stands half a metre behind the target and a little beside it.
    found = resample_depth(depth, source, TARGET, moved(x=0.2, z=-0.5))
    middle = found[8:-8, 8:-8]
    assert np.isfinite(middle).all()
    np.testing.assert_allclose(middle, 9.5, rtol=1e-5)


def test_the_nearer_of_two_surfaces_is_seen():
    depth = np.full((32, 64), 20.0, np.float32)
    depth[10:20, 20:40] = 5.0
    found = resample_depth(depth, TARGET, TARGET, moved(x=0.5))
    # 0.5 m at 5 m are 4 pixels; the background moves by one alone.
    assert (found[11:19, 25:43] == 5.0).all()
    assert np.isnan(found[12:18, 21:24]).all(), "nothing was measured behind the nearer surface"


def test_points():
    points = np.array([[[0, 0, 4.0]], [[1, 0, 8.0]], [[np.nan, 0, 4]], [[0, 0, 0]], [[0, 0, -3.0]]])
    found = points_to_depth(points, TARGET, moved(z=1.0))
    rows, columns = np.nonzero(np.isfinite(found))
    assert sorted(found[rows, columns]) == [5.0, 9.0]


def test_resize():
    depth = np.arange(32, dtype=np.float32).reshape(4, 8)
    assert resize_depth(depth, height=4, width=8) is depth
    assert (resize_depth(depth, height=8, width=16)[::2, ::2] == depth).all()
    with pytest.raises(DepthFormerError, match=r"8x4 is not the view of an image of 8x8"):
        resize_depth(depth, height=8, width=8)


def test_a_calibration_of_another_size_is_refused():
    with pytest.raises(DepthFormerError, match="depth is 8x4, its camera_info is for 64x32"):
        resample_depth(np.ones((4, 8), np.float32), TARGET, TARGET, SAME)
