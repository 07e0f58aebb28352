"""Cameras: rays, crops and rectification."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.camera import Calibration, Camera

KITTI = Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
LENS = (-0.3, 0.1, 0.001, -0.002, 0.0)


def raw_matrix(camera: Camera) -> tuple[float, ...]:
    return (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)


def test_unprojected_points_project_onto_their_pixels() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 80, (375, 1242)).astype(np.float32)
    points = KITTI.unproject(depth)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points[..., 2], depth)
    rows, columns = np.mgrid[:375, :1242]
    pixels = KITTI.project(points.astype(np.float64))
    np.testing.assert_allclose(pixels, np.stack((columns, rows), -1), atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), stride=st.integers(1, 12))
def test_stride_keeps_every_nth_point(height: int, width: int, stride: int) -> None:
    camera = Camera(width, height, 5.0, 6.0, 3.0, 2.0)
    depth = np.random.default_rng(0).uniform(1, 9, (height, width)).astype(np.float32)
    whole = camera.unproject(depth)
    np.testing.assert_array_equal(camera.unproject(depth, stride=stride), whole[::stride, ::stride])


def test_no_depth_gives_no_point() -> None:
    depth = np.array([[1.0, np.nan, np.inf, -np.inf]], np.float32)
    points = Camera(4, 1, 1.0, 1.0, 0.0, 0.0).unproject(depth)
    assert np.isfinite(points[0, 0]).all()
    assert np.isnan(points[0, 1:]).all()


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels = KITTI.project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:2]).all()
    assert tuple(pixels[2]) == (KITTI.cx, KITTI.cy)


@pytest.mark.parametrize(
    "values",
    [
        (0, 1, 1.0, 1.0, 0.0, 0.0),
        (1, 1, 0.0, 1.0, 0.0, 0.0),
        (1, 1, 1.0, -1.0, 0.0, 0.0),
        (1, 1, float("nan"), 1.0, 0.0, 0.0),
        (1, 1, 1.0, 1.0, float("inf"), 0.0),
    ],
    ids=["size", "zero focal length", "negative", "nan", "infinite"],
)
def test_no_camera(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Camera(*values)


@pytest.mark.parametrize(
    ("shape", "stride", "message"),
    [((3, 4), 1, r"shape \(3, 4\)"), ((375, 1242), 0, "stride must be positive, got 0")],
)
def test_unproject_names_what_does_not_fit(
    shape: tuple[int, int], stride: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        KITTI.unproject(np.ones(shape, np.float32), stride=stride)


def test_rectified_calibration() -> None:
    same = raw_matrix(KITTI)
    assert Calibration(KITTI, same).is_rectified
    assert Calibration(KITTI, same, (0.0,) * 5).is_rectified
    assert not Calibration(KITTI, same, LENS).is_rectified
    assert not Calibration(KITTI, (700.0, *same[1:])).is_rectified
    turned = cv2.Rodrigues(np.array([0.0, 0.01, 0.0]))[0]
    assert not Calibration(KITTI, same, rotation=tuple(turned.flatten())).is_rectified


def test_rectify_puts_a_distorted_point_where_its_ray_belongs() -> None:
    camera = Camera(640, 480, 400.0, 400.0, 320.0, 240.0)
    raw = (420.0, 0.0, 315.0, 0.0, 420.0, 245.0, 0.0, 0.0, 1.0)
    turn = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]
    calibration = Calibration(camera, raw, LENS, tuple(turn.flatten()))
    ray = np.array([0.3, -0.2, 1.0])
    # R turns raw rays into rectified ones.
    seen = cv2.projectPoints(
        (turn.T @ ray)[None], np.zeros(3), np.zeros(3), np.reshape(raw, (3, 3)), np.array(LENS)
    )[0].squeeze()
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, tuple(np.rint(seen).astype(int).tolist()), 3, (255, 255, 255), -1)
    rectified = calibration.rectify(image)
    rows, columns = np.nonzero(rectified[..., 0] > 127)
    np.testing.assert_allclose((columns.mean(), rows.mean()), camera.project(ray), atol=0.6)


def test_rectify_names_a_wrong_size() -> None:
    with pytest.raises(ValueError, match="image has size 4x3, the camera 1242x375"):
        Calibration(KITTI, raw_matrix(KITTI), LENS).rectify(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("distortion", "message"),
    [((1.0, 2.0, 3.0), "got 3"), ((float("nan"),) * 5, "not finite")],
)
def test_bad_distortion_is_named(distortion: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(KITTI, raw_matrix(KITTI), distortion)
