"""Content and appearance of generated scenes."""

from typing import get_args

import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import Mount, Scene, Theme, render
from depthformer_core.synthetic.rendering.render import trace
from depthformer_core.synthetic.scene.solids import Material
from depthformer_core.synthetic.scene.terrain import PLAIN

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)


def shoot(seed, camera=SMALL, theme=None):
    scene = Scene(seed, theme=theme)
    return render(scene, camera, Mount().pose(scene, 0.0))


@pytest.mark.parametrize("theme", get_args(Theme))
@pytest.mark.parametrize("seed", [1, 2])
def test_picture_and_depth(seed, theme):
    rgb, depth = shoot(seed, theme=theme)
    assert rgb.shape == (94, 310, 3)
    assert rgb.dtype == np.uint8
    assert depth.shape == (94, 310)
    assert depth.dtype == np.float32
    assert not np.isnan(depth).any()
    assert depth.min() > 0.3
    assert 20 < rgb.mean() < 235
    assert rgb.std() > 15
    assert np.isfinite(depth[-1]).all(), "there is ground below"


@pytest.mark.parametrize(
    "camera",
    [Camera(320, 240, 150, 150, 160, 120), Camera(64, 48, 400, 380, 10, 40)],
    ids=["wide", "narrow"],
)
def test_any_camera(camera):
    rgb, depth = shoot(3, camera)
    assert rgb.shape[:2] == depth.shape == (camera.height, camera.width)
    assert np.isfinite(depth).any()


@pytest.mark.parametrize("seed", range(3))
def test_ground_reaches_below_the_camera(seed):
    scene = Scene(seed, theme="highway")
    camera = Camera(160, 160, 80.0, 80.0, 80.0, 30.0)
    _, depth = render(scene, camera, Mount(height=1.5).pose(scene, 0.0))
    rows = np.arange(120, 160)
    plane = 1.5 * camera.fy / (rows - camera.cy)
    np.testing.assert_allclose(depth[rows, 80], plane, rtol=0.03)


def test_seed_decides():
    rgb, depth = shoot(5)
    same_rgb, same_depth = shoot(5)
    np.testing.assert_array_equal(rgb, same_rgb)
    np.testing.assert_array_equal(depth, same_depth)
    other_rgb, other_depth = shoot(6)
    assert (rgb != other_rgb).any()
    assert (depth != other_depth).any()


def test_scenes_differ():
    """Neither place nor brightness of a pixel predicts its depth."""
    pictures, depths = zip(*(shoot(seed) for seed in range(12)), strict=True)
    logs = np.log(np.minimum(depths, 80.0))
    middle = logs[:, 30:60]
    assert middle.std(axis=0).mean() > 0.4
    assert np.mean([picture.mean() for picture in pictures]) == pytest.approx(115, abs=35)
    assert np.std([picture.mean() for picture in pictures]) > 8
    sky = np.isinf(depths).mean(axis=(1, 2))
    assert sky.min() < 0.08
    assert sky.max() > 0.08
    near = np.array(depths)[np.isfinite(depths)]
    assert 0.02 < (near < 6).mean() < 0.5
    assert 0.02 < (near > 40).mean() < 0.5
    assert len({Scene(seed).theme for seed in range(12)}) >= 3


@pytest.mark.parametrize("seed", range(4))
def test_ground_lies_where_the_road_says(seed):
    scene = Scene(seed)
    pose = Mount().pose(scene, 0.0)
    camera = Camera(600, 180, 350.0, 350.0, 300.0, 80.0)
    view = trace(scene, camera, pose)
    known = view.patch != PLAIN
    place, patch = view.ground[known], view.patch[known]
    row, column = np.divmod(place, camera.width)
    near = view.hits.nearness.reshape(-1)[place]
    x, y = view.grid.across[column], view.grid.down[row]
    s, t = view.terrain.along_and_across(patch, x, y, near)
    points = np.stack((x, y, np.ones_like(x)), 1) / near[:, None] @ pose[:3, :3].T + pose[:3, 3]
    close = (1 / near < 60) & (abs(t) < 30)
    assert close.sum() > 5000
    distance = np.linalg.norm(points - scene.road.place(s, t), axis=1)[close]
    assert np.percentile(distance, 99) < 0.05
    assert np.median(distance) < 0.005


@pytest.mark.parametrize("seed", range(6))
def test_camera_has_room(seed):
    scene = Scene(seed)
    eye = Mount().pose(scene, 0.0)[:3, 3]
    solids = scene.solids()
    gaps = (solids.offsets - solids.normals @ eye).min(axis=1)
    assert (gaps < 0).all(), "the camera is in a body"


def test_sizes_are_real():
    heights = []
    for seed in range(8):
        solids = Scene(seed).solids()
        cabins = (
            (solids.material == Material.CABIN) & (solids.low[:, 1] < 1.1) & (solids.high[:, 1] < 2)
        )
        heights += list(solids.high[cabins, 1])
    assert len(heights) > 100
    assert min(heights) > 1.35
    assert max(heights) < 2.0
    assert 1.42 < np.median(heights) < 1.62


def test_traffic_moves():
    scene = Scene(3, length=20.0, theme="city")
    early, late = scene.solids(0.0), scene.solids(1.0)
    assert len(early) == len(late)
    moved = np.linalg.norm(early.origin - late.origin, axis=1)
    assert (moved == 0).any()
    driving = moved[(moved > 0) & (moved < 100)]
    assert len(driving) > 10
    assert 0.5 * scene.speed < np.median(driving) < 1.5 * scene.speed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"length": -1.0}, "got -1.0"), ({"theme": "moon"}, "got 'moon'")],
    ids=["length", "theme"],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scene(0, **arguments)
