from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.data.images import (
    ImageError,
    read_depth_png,
    read_photo,
    read_rgb,
    write_depth_png,
    write_png,
)


def test_rgb_round_trip(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "x.png", rgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / "x.png"), rgb)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x.png"))[..., ::-1], rgb)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_grey_picture_becomes_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 5), 9, np.uint8))
    np.testing.assert_array_equal(read_rgb(tmp_path / "grey.png"), np.full((4, 5, 3), 9))


ORIENTATION = 0x0112  # EXIF's tag
# What is done to the stored pixels to see them upright, by the tag's value.
TURNS = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.transpose(1, 0, 2),
    6: lambda rgb: np.rot90(rgb, -1),
    7: lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2),
    8: lambda rgb: np.rot90(rgb),
}


def turned_picture(path, orientation):
    """A picture with EXIF rotation, and its pixels as stored."""
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    rgb = rgb.repeat(16, axis=0).repeat(16, axis=1)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(rgb).save(path, exif=exif, quality=95)
    return rgb


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pixels_are_read_as_stored(tmp_path, suffix, orientation):
    path = tmp_path / f"turned{suffix}"
    stored = turned_picture(path, orientation)
    read = read_rgb(path)
    assert read.shape == stored.shape
    assert np.abs(read[8::16, 8::16].astype(int) - stored[8::16, 8::16]).max() <= 40
    message = SimpleNamespace(data=path.read_bytes(), format="")
    np.testing.assert_array_equal(read, compressed_to_rgb(message))


@pytest.mark.parametrize("orientation", TURNS)
def test_photos_are_read_upright(tmp_path, orientation):
    path = tmp_path / "turned.jpg"
    turned_picture(path, orientation)
    rgb, turned = read_photo(path)
    assert turned == (orientation != 1)
    np.testing.assert_array_equal(rgb, TURNS[orientation](read_rgb(path)))


def test_a_photo_that_says_nothing_is_not_turned(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "x.png", rgb)
    read, turned = read_photo(tmp_path / "x.png")
    assert not turned
    np.testing.assert_array_equal(read, rgb)


@pytest.mark.parametrize("scale", [256.0, 1000.0], ids=["kitti", "millimetres"])
def test_depth_round_trip(tmp_path, scale):
    depth = np.random.default_rng(0).uniform(0.1, 60, (9, 7)).astype(np.float32)
    write_depth_png(tmp_path / "d.png", depth, scale=scale)
    back = read_depth_png(tmp_path / "d.png", scale=scale)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, depth, rtol=0, atol=0.5 / scale + 1e-5)


def test_what_is_no_depth_is_zero(tmp_path):
    depth = np.array([[np.nan, np.inf, -np.inf, -3.0, 65.536, 65.5354, 0.0004, 1.0]])
    write_depth_png(tmp_path / "d.png", depth, scale=1000)
    back = read_depth_png(tmp_path / "d.png", scale=1000)
    np.testing.assert_allclose(back, [[0, 0, 0, 0, 0, 65.535, 0, 1]])


def test_write_replaces(tmp_path):
    path = tmp_path / "d.png"
    for value in (1.0, 2.0):
        write_depth_png(path, np.full((2, 2), value), scale=256)
    assert (read_depth_png(path, scale=256) == 2).all()


def make_missing(path):
    """Nothing there."""


def make_text(path):
    path.write_text("no picture")


def make_empty(path):
    path.touch()


def make_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    "make", [make_missing, make_text, make_empty, make_folder], ids=lambda make: make.__name__
)
@pytest.mark.parametrize(
    "read",
    [read_rgb, read_photo, lambda path: read_depth_png(path, scale=256)],
    ids=["rgb", "photo", "depth"],
)
def test_bad_file_is_named(tmp_path, make, read):
    path = tmp_path / "bad.png"
    make(path)
    with pytest.raises(ImageError, match=r"bad\.png"):
        read(path)


def test_colour_picture_is_no_depth(tmp_path):
    write_png(tmp_path / "rgb.png", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ImageError, match=r"rgb\.png is no 16-bit depth.*uint8 \(2, 3, 3\)"):
        read_depth_png(tmp_path / "rgb.png", scale=256)


def test_bad_arrays_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"float64 \(2, 2\)"):
        write_png(tmp_path / "x.png", np.zeros((2, 2)))
    with pytest.raises(ImageError, match=r"uint16 \(2, 2\)"):
        write_depth_png(tmp_path / "x.png", np.zeros((2, 2), np.uint16), scale=256)
    with pytest.raises(ImageError, match="got 0"):
        write_depth_png(tmp_path / "x.png", np.zeros((2, 2)), scale=0)
    assert list(tmp_path.iterdir()) == []
