"""The part of a camera's image that a network with crop `view` reads."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.view import trained_view
from depthformer_core.presets import PRESETS

SMALL = PRESETS["small"]
SIZE = (188, 621)

# Of KITTI's days, nuScenes, Argoverse, a phone and a depth camera.
CAMERAS = [
    Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854),
    Camera(1224, 370, 707.0493, 707.0493, 604.0814, 180.5066),
    Camera(1238, 374, 718.3351, 718.3351, 600.3891, 181.5122),
    Camera(1226, 370, 707.0912, 707.0912, 601.8873, 183.1104),
    Camera(1241, 376, 718.856, 718.856, 607.1928, 185.2157),
    Camera(1600, 900, 1266.4, 1266.4, 816.3, 491.5),
    Camera(2464, 2056, 1688.0, 1688.0, 1231.5, 1027.5),
    Camera(1080, 1920, 1500.0, 1500.0, 539.5, 959.5),
    Camera(640, 480, 615.0, 615.0, 320.0, 240.0),
]


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: f"{camera.width}x{camera.height}")
def test_every_camera_is_read_at_the_size_of_the_training_images(camera: Camera) -> None:
    view = trained_view(camera, SMALL)
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    assert view.image(image).shape == (*SIZE, 3)
    truth = np.zeros((camera.height, camera.width), np.float32)
    assert view.truth(truth).shape == SIZE


@given(
    width=st.integers(20, 2500),
    height=st.integers(20, 2000),
    focal=st.floats(0.2, 2.0),
    ratio=st.floats(0.9, 1.1),
    across=st.floats(0.3, 0.7),
    down=st.floats(0.3, 0.7),
)
def test_the_size_is_exact(
    width: int, height: int, focal: float, ratio: float, across: float, down: float
) -> None:
    camera = Camera(
        width, height, focal * width, ratio * focal * width, across * width, down * height
    )
    try:
        view = trained_view(camera, SMALL)
    except ValueError:
        assume(False)
    window, margins = view.window, view.margins
    assert min(margins) >= 0
    assert 0 <= window.top < window.top + window.height <= view.size[0]
    assert 0 <= window.left < window.left + window.width <= view.size[1]
    rows = margins.top + window.height + margins.bottom
    columns = margins.left + window.width + margins.right
    assert (rows, columns) == SIZE


def test_depth_of_an_image_that_is_made_smaller_is_less() -> None:
    """Its objects look smaller, and so farther, than at the focal length that the network knows."""
    own, wider = CAMERAS[0], Camera(1304, 394, 721.5377, 721.5377, 651.5, 196.5)
    assert trained_view(own, SMALL).factor == 1
    view = trained_view(wider, SMALL)
    assert view.size == SIZE
    assert view.factor == pytest.approx(621 / 652, rel=0.01)
