"""The part of an image that is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.crop import Margins, Window, crop_window, view_window, view_zoom


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


KNOWN = {"height": 188, "width": 621}


def camera(width: int, height: int, *, cx: float, cy: float) -> Camera:
    return Camera(width, height, 360.0, 360.0, cx, cy)


@pytest.mark.parametrize(
    ("seen", "window", "margins"),
    [
        pytest.param(
            camera(621, 188, cx=304.4, cy=86.2), Window(0, 0, 188, 621), Margins(), id="its own"
        ),
        pytest.param(
            camera(625, 190, cx=300.0, cy=95.0), Window(0, 0, 190, 625), Margins(), id="near it"
        ),
        pytest.param(
            camera(1000, 500, cx=499.5, cy=249.5),
            Window(156, 190, 188, 621),
            Margins(),
            id="wider",
        ),
        pytest.param(
            camera(300, 90, cx=149.5, cy=44.5),
            Window(0, 0, 90, 300),
            Margins(49, 49, 160, 161),
            id="narrower",
        ),
        pytest.param(
            camera(417, 313, cx=208.0, cy=156.0),
            Window(62, 0, 188, 417),
            Margins(0, 0, 102, 102),
            id="higher and narrower",
        ),
        pytest.param(
            # Its upper rows were cut off, so what there is at the bottom stays.
            camera(608, 176, cx=298.0, cy=74.5),
            Window(0, 0, 176, 608),
            Margins(19, 0, 0, 0),
            id="one side",
        ),
    ],
)
def test_view_lies_around_the_principal_point(
    seen: Camera, window: Window, margins: Margins
) -> None:
    assert view_window(seen, **KNOWN) == (window, margins)


@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    across=st.floats(0, 1),
    down=st.floats(0, 1),
)
def test_view_is_as_large_as_the_images_that_are_known(
    width: int, height: int, across: float, down: float
) -> None:
    seen = camera(width, height, cx=across * (width - 1), cy=down * (height - 1))
    window, margins = view_window(seen, **KNOWN)
    assert 0 <= window.top < window.top + window.height <= height
    assert 0 <= window.left < window.left + window.width <= width
    assert min(margins) >= 0
    rows = margins.top + window.height + margins.bottom
    columns = margins.left + window.width + margins.right
    assert abs(rows - 188) <= 0.1 * 188
    assert abs(columns - 621) <= 0.1 * 621


@pytest.mark.parametrize(
    ("size", "zoom"),
    [
        pytest.param((188, 621), 1.0, id="its own"),
        pytest.param((400, 100), 1.0, id="higher"),
        pytest.param((151, 497), 1.0, id="four fifths"),
        pytest.param((125, 414), 1.2, id="two thirds"),
        pytest.param((10, 30), 1.3, id="a twentieth"),
    ],
)
def test_narrow_images_are_enlarged(size: tuple[int, int], zoom: float) -> None:
    assert view_zoom(size, **KNOWN) == pytest.approx(zoom, abs=0.01)


def test_camera_beside_its_image_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"640x480 pixels .* -400\.0, 240\.0"):
        view_window(camera(640, 480, cx=-400.0, cy=240.0), **KNOWN)
