import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.thin_cloud import thin_cloud

CAMERA = Camera(90, 60, 70.0, 71.0, 44.0, 31.0)


def make_depth(pattern: str) -> np.ndarray:
    depth = np.random.default_rng(0).uniform(2, 70, (60, 90)).astype(np.float32)
    if pattern == "every other column":
        depth[:, ::2] = 0
    elif pattern == "every other row":
        depth[1::2] = np.nan
    elif pattern == "few":
        depth[np.random.default_rng(1).uniform(size=depth.shape) < 0.95] = np.inf
    return depth


@pytest.mark.parametrize("pattern", ["all", "every other column", "every other row", "few"])
@pytest.mark.parametrize("most", [1, 100, 700, 6000])
def test_points_are_of_pixels_and_evenly_spread(pattern: str, most: int) -> None:
    depth = make_depth(pattern)
    rgb = np.random.default_rng(2).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    solid = np.isfinite(depth) & (depth > 0)
    points, colours = thin_cloud(depth, rgb, CAMERA, most=most)
    assert points.dtype == np.float32
    assert min(most, np.count_nonzero(solid)) / 4 <= len(points) <= most
    columns, rows = np.rint(CAMERA.project(points)).astype(int).T
    assert len({*zip(rows, columns, strict=True)}) == len(points)
    np.testing.assert_array_equal(points[:, 2], depth[rows, columns])
    np.testing.assert_array_equal(colours, rgb[rows, columns])
    wanted = CAMERA.unproject(np.where(solid, depth, np.nan))[rows, columns]
    np.testing.assert_allclose(points, wanted, rtol=1e-6)
    # Each corner of the image has points.
    if most >= 100:
        assert {*zip(rows // 30, columns // 45, strict=True)} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_nothing_gives_no_points() -> None:
    rgb = np.zeros((60, 90, 3), np.uint8)
    points, colours = thin_cloud(np.full((60, 90), np.nan), rgb, CAMERA, most=10)
    assert points.shape == colours.shape == (0, 3)
