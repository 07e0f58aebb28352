import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.visualize import cloud_picture, colorize, depth_range, legend, sheet

RED = (200, 30, 30)
GREEN = (30, 200, 30)


def brightness(rgb):
    return rgb.astype(int).sum(axis=-1)


def test_near_is_bright_and_far_is_dark_but_not_black():
    depth = np.geomspace(1.0, 80.0, 200, dtype=np.float32)[None]
    colours = colorize(depth, near=1, far=80)
    assert colours.shape == (1, 200, 3)
    assert colours.dtype == np.uint8
    assert (np.diff(brightness(colours)[0]) <= 3).all()
    assert brightness(colours)[0, -1] > 60
    red, _, blue = colours[0, 60].astype(int)
    assert red > blue  # warm


def test_scale_is_logarithmic_and_clamped():
    depth = np.array([[0.5, 1.0, 4.0, 16.0, 99.0]])
    colours = colorize(depth, near=1, far=16)[0]
    middle = colorize(np.full((1, 1), 7.0), near=3.5, far=14)[0, 0]
    np.testing.assert_array_equal(colours[0], colours[1])
    np.testing.assert_array_equal(colours[3], colours[4])
    np.testing.assert_array_equal(colours[2], middle)


def test_no_depth_is_black():
    depth = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 5.0]], np.float32)
    colours = colorize(depth, near=1, far=80)
    assert (colours[0, :5] == 0).all()
    assert colours[0, 5].any()


@pytest.mark.parametrize(
    ("depth", "near", "far", "message"),
    [
        (np.zeros((2, 2), np.uint8), 1, 2, "uint8"),
        (np.zeros((2, 2, 1), np.float32), 1, 2, r"\(2, 2, 1\)"),
        (np.zeros((2, 2), np.float32), 0, 2, "got 0 and 2"),
        (np.zeros((2, 2), np.float32), 3, 2, "got 3 and 2"),
        (np.zeros((2, 2), np.float32), 1, np.inf, "inf"),
        (np.zeros((2, 2), np.float32), np.nan, 2, "nan"),
    ],
    ids=["integers", "channels", "zero", "reversed", "infinite", "nan"],
)
def test_colorize_refuses(depth, near, far, message):
    with pytest.raises(ValueError, match=message):
        colorize(depth, near=near, far=far)


@pytest.mark.parametrize(
    "depth",
    [np.full((4, 4), np.nan), np.full((4, 4), 5.0), np.geomspace(1, 80, 16).reshape(4, 4)],
    ids=["empty", "flat", "spread"],
)
def test_range_can_be_drawn(depth):
    near, far = depth_range(depth)
    assert far >= 1.99 * near
    assert colorize(depth, near=near, far=far).shape == (4, 4, 3)
    assert legend(near=near, far=far, width=300).shape == (44, 300, 3)


def test_legend_shows_the_scale():
    bar = legend(near=1, far=80, width=600)
    row = bar[10].astype(int).sum(axis=-1)
    assert row[30] > row[300] > row[560]
    assert (bar[24:] > 200).any()  # numbers


def wall(camera, *, metres, colour):
    depth = np.full((camera.height, camera.width), metres, np.float32)
    rgb = np.empty((camera.height, camera.width, 3), np.uint8)
    rgb[:] = colour
    return camera.unproject(depth), rgb


def test_near_points_hide_far_ones():
    camera = Camera(120, 60, 60.0, 60.0, 60.0, 30.0)
    near, far = wall(camera, metres=8, colour=RED), wall(camera, metres=16, colour=GREEN)
    for first, second in ((near, far), (far, near)):
        points, rgb = (np.concatenate(pair) for pair in zip(first, second, strict=True))
        picture = cloud_picture(points, rgb, width=300, height=200)
        assert picture.shape == (200, 300, 3)
        reds = (picture == RED).all(axis=-1)
        assert reds.mean() > 0.1
        rows, columns = np.nonzero(reds)
        middle = picture[int(rows.mean()), int(columns.mean())]
        np.testing.assert_array_equal(middle, RED)


def test_view_is_from_above():
    """The ground fills the lower part of the picture, and what is above it the upper."""
    camera = Camera(200, 100, 100.0, 100.0, 100.0, 50.0)
    ground, rgb = wall(camera, metres=10, colour=RED)
    down = (np.arange(100) - 50) / 100.0
    ground *= np.where(down > 0.1, 0.165 / np.maximum(down, 0.1), np.nan)[:, None, None]
    picture = cloud_picture(ground, rgb, width=300, height=200)
    rows = np.nonzero((picture == RED).all(axis=-1))[0]
    assert rows.size
    assert rows.mean() > 60


@pytest.mark.parametrize("metres", [0.05, 1.0, 12.0, 300.0])
def test_every_size_of_scene_is_in_view(metres):
    camera = Camera(120, 60, 60.0, 60.0, 60.0, 30.0)
    picture = cloud_picture(*wall(camera, metres=metres, colour=RED), width=300, height=200)
    assert (picture == RED).all(axis=-1).mean() > 0.1


def test_cloud_without_points_is_an_empty_picture():
    points = np.full((4, 5, 3), np.nan, np.float32)
    picture = cloud_picture(points, np.zeros((4, 5, 3), np.uint8), width=50, height=40)
    assert picture.shape == (40, 50, 3)


def test_cloud_and_colours_must_match():
    with pytest.raises(ValueError, match=r"\(4, 5, 3\) and \(5, 4, 3\)"):
        cloud_picture(np.zeros((4, 5, 3)), np.zeros((5, 4, 3), np.uint8))


def test_sheet_stacks_pictures_under_title_and_warning():
    wide = np.full((20, 400, 3), 77, np.uint8)
    narrow = np.full((30, 201, 3), 99, np.uint8)
    plain = sheet([("wide", wide), ("", narrow)], title="Title")
    warned = sheet([("wide", wide), ("", narrow)], title="Title", warning="CAREFUL " * 6)
    assert plain.shape == (44 + 28 + 20 + 30, 400, 3)
    assert warned.shape == (44 + 40 + 28 + 20 + 30, 400, 3)
    assert (plain[72:92] == 77).all()
    assert ((plain[92:] == 99).all(axis=-1).sum(axis=1) == 201).all()
    red, green, blue = warned[46, 200].astype(int)
    assert red > 2 * max(green, blue)
    assert (warned[44:84, -8:] == warned[44, 0]).all()  # a long text shrinks


def test_sheet_needs_a_picture():
    with pytest.raises(ValueError, match="at least one"):
        sheet([], title="Title")
