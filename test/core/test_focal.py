"""Images of other cameras than the network's."""

import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.focal import assumed_camera, fitted_size, resize_image, resize_truth
from depthformer_core.presets import PRESETS


@pytest.mark.parametrize(
    ("focal", "size"),
    [
        ((720.0, 720.0), (188, 621)),
        ((360.0, 360.0), (375, 1242)),
        ((352.0, 370.0), (375, 1242)),
        ((180.0, 180.0), (750, 2484)),
        ((360.0, 720.0), (188, 1242)),
    ],
    ids=["halved", "same", "within 3 %", "doubled", "oblong pixels"],
)
def test_image_gets_the_focal_length(focal: tuple[float, float], size: tuple[int, int]) -> None:
    assert fitted_size(Camera(1242, 375, *focal, 600, 170), 360.0) == size


def test_absurd_intrinsics_are_named() -> None:
    with pytest.raises(ValueError, match="focal lengths 2 and 2 would become one of 223560x67500"):
        fitted_size(Camera(1242, 375, 2, 2, 600, 170), 360.0)


def test_narrowest_lens_leaves_a_pixel() -> None:
    assert fitted_size(Camera(1242, 375, 1e6, 1e6, 600, 170), 360.0) == (1, 1)


@pytest.mark.parametrize("width", [1242, 640])
def test_unknown_camera_sees_as_wide_as_the_training_images(width: int) -> None:
    camera = assumed_camera(PRESETS["swin_large_kitti"], height=375, width=width)
    assert camera is not None
    assert camera.fx == camera.fy == pytest.approx(721.5377 * width / 1242)
    assert (camera.width, camera.height) == (width, 375)


def test_nothing_is_assumed_for_an_unknown_network() -> None:
    assert assumed_camera(PRESETS["debug"], height=375, width=1242) is None


def test_image_shrinks_by_averaging() -> None:
    stripes = np.zeros((4, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(resize_image(stripes, (2, 4)), np.full((2, 4, 3), 100))
    assert resize_image(stripes, (4, 8)) is stripes


def test_truth_is_moved_and_never_blended() -> None:
    truth = np.zeros((6, 9), np.float32)
    truth[0, 0], truth[3, 4], truth[5, 8] = 7.0, 20.0, np.inf
    moved = resize_truth(truth, (2, 3))
    expected = np.zeros((2, 3), np.float32)
    expected[0, 0], expected[1, 1], expected[1, 2] = 7.0, 20.0, np.inf
    np.testing.assert_array_equal(moved, expected)
    assert moved.dtype == np.float32


def test_truth_spreads_with_holes() -> None:
    moved = resize_truth(np.array([[3.0, 4.0]], np.float32), (2, 4))
    np.testing.assert_array_equal(moved, [[3, 0, 4, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("size", [(5, 7), (11, 4), (30, 40), (1, 1)])
def test_of_several_true_values_in_a_pixel_the_last_stays(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-5, 80, (12, 17)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.3] = 0
    truth[0, :3] = np.nan, np.inf, -0.0
    expected = np.zeros(size, np.float32)
    for (row, column), depth in np.ndenumerate(truth):
        if depth > 0:
            expected[row * size[0] // 12, column * size[1] // 17] = depth
    np.testing.assert_array_equal(resize_truth(truth, size), expected)
    # Not in one piece, as a part of an image is.
    np.testing.assert_array_equal(resize_truth(np.repeat(truth, 2, axis=1)[:, ::2], size), expected)
