"""Cameras that are mounted upside down or sideways."""

from typing import Any

import numpy as np
import pytest

from depthformer_core import DepthPredictor
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.rotate import ROTATIONS, rotate_image

# An upright camera, its principal point far from the middle.
UPRIGHT = Camera(120, 72, 90.0, 95.0, 50.0, 40.0)


def scene(height: int = 72, width: int = 120) -> Any:
    """Colours without a symmetry, and a border that the camera never saw."""
    rgb = np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)
    rgb[: height // 6] = 0
    return rgb


@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (1, 1), (1, 4)])
def test_images_turn_clockwise(degrees: int, shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    turned = rotate_image(image, degrees)
    np.testing.assert_array_equal(turned, np.rot90(image, -degrees // 90))
    np.testing.assert_array_equal(rotate_image(turned, -degrees), image)
    np.testing.assert_array_equal(rotate_image(image, degrees + 360), turned)


def test_an_upright_image_is_not_copied() -> None:
    image = scene()
    assert rotate_image(image, 0) is image


def test_strided_images_are_taken() -> None:
    image = scene()[::-1, ::2]
    np.testing.assert_array_equal(rotate_image(image, 90), np.rot90(image, -1))


@pytest.mark.parametrize("degrees", [45, 1, -30])
def test_other_angles_are_refused(degrees: int) -> None:
    with pytest.raises(DepthFormerError, match=f"multiples of 90 degrees, got {degrees}"):
        rotate_image(scene(), degrees)
    with pytest.raises(DepthFormerError, match=f"multiples of 90 degrees, got {degrees}"):
        UPRIGHT.rotated(degrees)
    if degrees > 0:
        with pytest.raises(DepthFormerError, match=rf"one of \(0, 90, 180, 270\), got {degrees}"):
            DepthPredictor.from_checkpoint("debug", device="cpu", rotate=degrees)  # type: ignore[arg-type]


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_points_turn_with_the_camera(degrees: int) -> None:
    """A point is the same one of both images, its axes turned about the optical one."""
    turned = UPRIGHT.rotated(degrees)
    assert turned.rotated(-degrees) == UPRIGHT
    depth = np.random.default_rng(0).uniform(1, 9, (72, 120)).astype(np.float32)
    x, y, z = np.moveaxis(UPRIGHT.unproject(depth), -1, 0)
    new = turned.unproject(rotate_image(depth, degrees))
    back = [rotate_image(np.ascontiguousarray(axis), -degrees) for axis in np.moveaxis(new, -1, 0)]
    wanted = {0: (x, y), 90: (-y, x), 180: (-x, -y), 270: (y, -x)}[degrees]
    np.testing.assert_array_equal(back[2], z)
    for axis, expected in zip(back[:2], wanted, strict=True):
        np.testing.assert_allclose(axis, expected, atol=1e-5)


@pytest.mark.parametrize("known", [True, False], ids=["camera", "no camera"])
@pytest.mark.parametrize("checkpoint", ["small", "debug"])
@pytest.mark.parametrize("degrees", ROTATIONS)
def test_depth_of_a_turned_camera_is_that_of_the_upright_one(
    degrees: int, checkpoint: str, known: bool
) -> None:
    rgb = scene()
    flip = checkpoint == "debug"
    upright = DepthPredictor.from_checkpoint(checkpoint, device="cpu", flip=flip)
    wanted = upright.predict(rgb, UPRIGHT if known else None)
    mounted = DepthPredictor.from_checkpoint(
        checkpoint, device="cpu", flip=flip, rotate=degrees  # type: ignore[arg-type]
    )  # fmt: skip
    image, camera = rotate_image(rgb, -degrees), UPRIGHT.rotated(-degrees)
    found = mounted.predict(image, camera if known else None)
    assert found.depth.shape == image.shape[:2]
    np.testing.assert_array_equal(rotate_image(found.depth, degrees), wanted.depth)
    assert found.uncertainty is not None
    assert wanted.uncertainty is not None
    np.testing.assert_array_equal(rotate_image(found.uncertainty, degrees), wanted.uncertainty)
    assert mounted.coverage(camera) == upright.coverage(UPRIGHT)
    assert mounted.outside_view(camera) == upright.outside_view(UPRIGHT)
    assert 0 < wanted.valid.mean() < 1
