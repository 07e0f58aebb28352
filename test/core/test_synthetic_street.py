import numpy as np
import pytest

from depthformer_core.camera import Camera
from depthformer_core.data.synthetic import CAMERA_HEIGHT, STREET_CAMERA, Street

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)


@pytest.mark.parametrize("camera", [STREET_CAMERA, SMALL], ids=["kitti", "small"])
def test_picture_and_depth(camera):
    rgb, depth = Street(1).render(camera, 3.0)
    assert rgb.shape == (camera.height, camera.width, 3)
    assert rgb.dtype == np.uint8
    assert depth.shape == (camera.height, camera.width)
    assert depth.dtype == np.float32
    assert not np.isnan(depth).any()
    assert depth.min() > 0
    assert 0.005 < np.isinf(depth).mean() < 0.5
    assert np.isinf(depth[0]).any(), "sky above the vanishing point"
    assert np.isfinite(depth[-1]).all()


@pytest.mark.parametrize("seed", range(4))
def test_road_lies_on_its_plane(seed):
    """In the empty lane ahead the depth is that of the analytic plane."""
    _, depth = Street(seed).render(STREET_CAMERA, 11.0)
    rows = np.arange(230, STREET_CAMERA.height)
    plane = CAMERA_HEIGHT * STREET_CAMERA.fy / (rows - STREET_CAMERA.cy)
    lane = depth[rows, round(STREET_CAMERA.cx)]
    np.testing.assert_allclose(lane, plane, rtol=1e-6)
    below = np.broadcast_to(plane[:, None], (len(rows), STREET_CAMERA.width))
    assert (depth[rows] <= below * (1 + 1e-6)).all(), "nothing is seen through the road"


@pytest.mark.parametrize("seed", range(3))
def test_two_positions_see_one_world(seed):
    """Points seen from one place lie where another place sees them, or are hidden there."""
    street = Street(seed)
    ahead = 2.5
    _, before = street.render(STREET_CAMERA, 20.0)
    _, after = street.render(STREET_CAMERA, 20.0 + ahead)
    points = STREET_CAMERA.unproject(before).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)] - (0, 0, ahead)
    points = points[(points[:, 2] > 1) & (points[:, 2] < 120)]
    pixels = np.rint(STREET_CAMERA.project(points)).astype(int)
    inside = ((pixels >= 1) & (pixels < (STREET_CAMERA.width - 1, STREET_CAMERA.height - 1))).all(1)
    points, pixels = points[inside], pixels[inside]
    column, row = pixels.T
    # Within a pixel around, the surface is at the point's depth or nearer: never farther.
    around = [after[row + down, column + right] for down in (-1, 0, 1) for right in (-1, 0, 1)]
    ratio = np.array(around) / points[:, 2]
    agreeing = ((ratio > 0.97) & (ratio < 1.03)).any(axis=0)
    seen_through = (ratio > 1.03).all(axis=0)
    assert agreeing.mean() > 0.95
    assert seen_through.mean() < 0.005


def test_seed_decides():
    rgb, depth = Street(5).render(SMALL, 7.0)
    again = Street(5)
    again.render(SMALL, 260.0)  # what was looked at before does not matter
    same_rgb, same_depth = again.render(SMALL, 7.0)
    np.testing.assert_array_equal(rgb, same_rgb)
    np.testing.assert_array_equal(depth, same_depth)
    assert (Street(6).render(SMALL, 7.0)[1] != depth).any()
    assert (again.render(SMALL, 8.0)[1] != depth).any()


@pytest.mark.parametrize("position", [-500.0, 49.99, 50.0, 12_345.6])
def test_street_has_no_end(position):
    rgb, depth = Street(2).render(SMALL, position)
    assert np.isfinite(depth).mean() > 0.5
    assert rgb.std() > 20
