import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.flying_pixels import flying_pixels

CAMERA = Camera(96, 70, 80.0, 81.0, 47.0, 33.0)


def two_walls(*, blur: int, near: float = 5.0, far: float = 20.0) -> np.ndarray:
    """A wall before another one; between them their depth goes over in so many columns."""
    depth = np.full((70, 96), near, np.float32)
    depth[:, 40:] = far
    depth[:, 40 : 40 + blur] = np.linspace(near, far, blur + 2)[1:-1]
    return depth


@pytest.mark.parametrize("blur", [1, 2, 5, 8])
@pytest.mark.parametrize("down", [False, True], ids=["across", "down"])
def test_the_ramp_between_two_walls_goes(blur: int, down: bool) -> None:
    depth = two_walls(blur=blur)
    flying = flying_pixels(depth.T if down else depth, jump=0.05)
    flying = flying.T if down else flying
    # Both walls end where the ramp does, at a column that belongs to neither for certain.
    assert flying[:, 40 : 40 + blur].all()
    assert not flying[:, :39].any()
    assert not flying[:, 41 + blur :].any()


def test_a_step_within_the_limit_stays() -> None:
    depth = np.full((4, 6), 10.0, np.float32)
    depth[:, 3:] = 10.49
    assert not flying_pixels(depth, jump=0.05).any()
    depth[:, 3:] = 10.51
    np.testing.assert_array_equal(np.nonzero(flying_pixels(depth, jump=0.05)[0])[0], [2, 3])


@given(
    pitch=st.floats(-1.4, 1.4),
    yaw=st.floats(-1.4, 1.4),
    distance=st.floats(0.5, 50.0),
    jump=st.floats(0.01, 0.5),
)
def test_a_plane_stays_as_far_as_its_vanishing_line(
    pitch: float, yaw: float, distance: float, jump: float
) -> None:
    """Of a plane n pixels from that line, the depth of neighbours differs by 1 / n."""
    normal = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    across = (np.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx
    down = (np.arange(CAMERA.height) - CAMERA.cy) / CAMERA.fy
    # Inverse depth of a plane is linear in the image: that is why it has no edge.
    inverse = (normal[0] * across + normal[1] * down[:, None] + normal[2]) / distance
    with np.errstate(divide="ignore"):
        depth = np.where(inverse > 0, 1 / inverse, np.nan).astype(np.float32)
    flying = flying_pixels(depth, jump=jump)
    steps = max(abs(normal[0]) / CAMERA.fx, abs(normal[1]) / CAMERA.fy) / distance
    from_the_line = inverse / max(steps, 1e-12)
    assert not flying[from_the_line > 1 / jump + 1.1].any()


def test_what_has_no_depth_is_no_neighbour() -> None:
    depth = np.full((3, 9), 10.0, np.float32)
    depth[1, 1:8:2] = [np.nan, np.inf, -np.inf, 0.0]
    assert not flying_pixels(depth, jump=0.05).any()
    depth[1, 4] = -3.0
    depth[1, 8] = 30.0
    flying = flying_pixels(depth, jump=0.05)
    assert not flying[~(np.isfinite(depth) & (depth > 0))].any()
    np.testing.assert_array_equal(np.argwhere(flying), [[0, 8], [1, 8], [2, 8]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (33, 3), (100, 2)], ids=str)
def test_any_size_is_searched_row_by_row(shape: tuple[int, int]) -> None:
    """The pixels found do not depend on the size of the bands."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(1.0, 1.2, shape).astype(np.float32)
    expected = np.zeros(shape, bool)
    for row in range(shape[0]):
        for column in range(shape[1]):
            for other in ((row + 1, column), (row, column + 1)):
                if other[0] < shape[0] and other[1] < shape[1]:
                    pair = depth[row, column], depth[other]
                    if max(pair) > np.float32(1.05) * min(pair):
                        expected[row, column] = expected[other] = True
    np.testing.assert_array_equal(flying_pixels(depth, jump=0.05), expected)


@pytest.mark.parametrize(
    ("shape", "jump", "message"),
    [
        pytest.param((4, 5, 1), 0.1, r"got \(4, 5, 1\)", id="shape"),
        pytest.param((4, 5), 0.0, "got 0.0", id="no jump"),
        pytest.param((4, 5), np.nan, "got nan", id="nan"),
    ],
)
def test_bad_arguments_are_named(shape: tuple[int, ...], jump: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flying_pixels(np.ones(shape, np.float32), jump=jump)
