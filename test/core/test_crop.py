"""The part of an image that is read."""

import pytest

from depthformer_core.crop import Window, crop_window


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [
        (375, 1242, Window(23, 13, 352, 1216)),
        (370, 1224, Window(18, 4, 352, 1216)),
        (376, 1241, Window(24, 12, 352, 1216)),
        (352, 1216, Window(0, 0, 352, 1216)),
        (480, 640, Window(128, 0, 352, 640)),
        (200, 1300, Window(0, 42, 200, 1216)),
    ],
)
def test_kitti_crop_is_bottom_middle(height: int, width: int, window: Window) -> None:
    assert crop_window("kitti", height=height, width=width) == window


def test_no_crop_is_everything() -> None:
    window = crop_window("none", height=5, width=7)
    assert window == Window(0, 0, 5, 7)
    assert window.slices == (slice(0, 5), slice(0, 7))


def test_unknown_crop_is_named() -> None:
    with pytest.raises(ValueError, match="'eigen'"):
        crop_window("eigen", height=5, width=7)  # type: ignore[arg-type]


def test_window_of_a_larger_image() -> None:
    assert Window(10, 20, 30, 40).scaled(2, 0.5) == Window(20, 10, 60, 20)
    assert Window(0, 0, 188, 621).scaled(375 / 188, 2) == Window(0, 0, 375, 1242)
