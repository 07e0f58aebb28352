import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.depth_png import PngDepth


def test_read(tmp_path):
    path = tmp_path / "d.png"
    cv2.imwrite(str(path), np.array([[0, 256, 65535]], np.uint16))
    depth = PngDepth(256.0)
    depth.check(path)
    np.testing.assert_array_equal(depth.read(path), np.float32([[0, 1, 65535 / 256]]))


def make_missing(path):
    """Nothing there."""


def make_text(path):
    path.write_text("version https://git-lfs.github.com/spec/v1")


def make_empty(path):
    path.touch()


def make_cut(path):
    cv2.imwrite(str(path), np.ones((4, 5), np.uint16))
    path.write_bytes(path.read_bytes()[:20])


def make_grey(path):
    cv2.imwrite(str(path), np.ones((4, 5), np.uint8))


def make_colour(path):
    cv2.imwrite(str(path), np.ones((4, 5, 3), np.uint16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing, r"cannot read .*d\.png: No such file"),
        (make_text, r"d\.png is no PNG file"),
        (make_empty, r"d\.png is no PNG file"),
        (make_cut, r"d\.png is no PNG file"),
        (make_grey, r"d\.png must be .* 16 bits, it is a grey one of 8 bits"),
        (make_colour, r"d\.png must be .* 16 bits, it is a colour one of 16 bits"),
    ],
    ids=["missing", "text", "empty", "cut", "8-bit", "colour"],
)
def test_check_refuses(tmp_path, make, message):
    make(tmp_path / "d.png")
    with pytest.raises(DatasetError, match=message):
        PngDepth(256.0).check(tmp_path / "d.png")
