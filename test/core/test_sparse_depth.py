"""Points as depth images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_points, project_scan

CAMERA = Camera(8, 6, 10.0, 10.0, 4.0, 3.0)


def test_points_land_on_the_nearest_pixel_and_the_nearest_wins():
    points = np.array(
        [
            [0, 0, 2],
            [0, 0, 5],
            [0.049, -0.049, 1],
            [0.151, 0, 1],
            [-0.44, -0.34, 1],  # still the corner's pixel
            [-0.46, 0, 1],
            [0, 0, -2],
        ]
    )
    depth = project_points(points, CAMERA)
    assert depth.dtype == np.float32
    wanted = np.zeros((6, 8), np.float32)
    wanted[3, 4], wanted[3, 6], wanted[0, 0] = 1, 1, 1
    np.testing.assert_array_equal(depth, wanted)


def test_order_does_not_matter():
    rng = np.random.default_rng(1)
    points = rng.uniform((-1, -1, 1), (1, 1, 4), (500, 3)).astype(np.float32)
    depth = project_points(points, CAMERA)
    np.testing.assert_array_equal(project_points(points[::-1], CAMERA), depth)
    unprojected = CAMERA.unproject(np.where(depth > 0, depth, np.nan)).reshape(-1, 3)
    np.testing.assert_array_equal(project_points(unprojected, CAMERA), depth)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.empty((0, 3), np.float32), id="none"),
        pytest.param(np.full((4, 3), np.nan, np.float32), id="NaN"),
        pytest.param(np.full((4, 3), np.inf, np.float32), id="infinite"),
        pytest.param(np.array([[0, 0, np.inf], [np.nan, 0, 1], [0, -np.inf, 1.0]]), id="mixed"),
        pytest.param(np.array([[0, 0, -1], [0, 0, 0.0]], np.float32), id="behind"),
        pytest.param(np.array([[1e300, 0, 1e-300], [0, 0, 1e300]]), id="overflow"),
    ],
)
@pytest.mark.parametrize("camera", [CAMERA, Camera(1, 1, 1, 1, 0, 0)], ids=["small", "1x1"])
@pytest.mark.filterwarnings("error")
def test_nothing_to_see(points, camera):
    for depth in (project_points(points, camera), project_scan(points, np.eye(4), camera)):
        assert depth.shape == (camera.height, camera.width)
        assert not depth.any()


def test_scan_is_moved_to_the_camera():
    """The fourth column is reflectance, and is left out even where it is NaN."""
    to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, -0.5], [1, 0, 0, -1], [0, 0, 0, 1.0]])
    scan = np.array([[3, 0, -0.5, np.nan], [9, np.nan, 0, 1]], np.float32)
    depth = project_scan(scan, to_camera, CAMERA)
    assert np.argwhere(depth).tolist() == [[3, 4]]
    assert depth[3, 4] == 2


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_shots_without_a_return_are_ignored(kind):
    """Scanners mark them by zeros or NaN, some by NaN in some places alone."""
    to_camera = np.eye(4)
    to_camera[:3, 3] = (0, 0, 0.5)  # the scanner itself is in the picture
    returns = [[0, 0, 2, 0.5], [0.15, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 1e-3, 0]]
    silent = [
        *([0, 0, 0, 0], [-0.0, 0, -0.0, 0], [0, 0, 0, 9], [0, 0, 0, np.nan]),
        *([np.nan, 0, 0, 0], [0, np.nan, 0, 0], [0, 0, np.nan, 0], [0, 0, np.inf, 0]),
    ]
    alone = project_scan(np.array(returns, kind), to_camera, CAMERA)
    assert sorted(alone[alone > 0]) == pytest.approx([0.5, 0.5, 0.501])
    both = project_scan(np.array(silent + returns, kind), to_camera, CAMERA)
    np.testing.assert_array_equal(both, alone)
    assert not project_scan(np.array(silent, kind), to_camera, CAMERA).any()


@given(arrays(np.float32, st.tuples(st.integers(0, 20), st.just(3))))
def test_any_points_give_a_depth_image(points):
    depth = project_points(points, CAMERA)
    assert np.isfinite(depth).all()
    assert set(depth[depth > 0]) <= set(points[:, 2])
