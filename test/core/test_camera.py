"""Cameras: rays, crops and rectification."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthformer_core.geometry.camera import Calibration, Camera, fisheye_camera
from depthformer_core.inference.unseen import unseen_pixels

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


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    focal=st.floats(1, 2000),
    cx=st.floats(-100, 100),
    stride=st.integers(1, 4),
)
def test_slopes_with_a_stride_are_those_of_every_nth_pixel(
    width: int, height: int, focal: float, cx: float, stride: int
) -> None:
    camera = Camera(width, height, focal, 1.1 * focal, cx, height / 3)
    for some, all_of_them in zip(camera.slopes(stride=stride), camera.slopes(), strict=True):
        assert some.dtype == np.float32
        np.testing.assert_array_equal(some, all_of_them[::stride])


def test_no_depth_is_no_point() -> None:
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


def test_unproject_names_a_shape_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        KITTI.unproject(np.ones((3, 4), np.float32))


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


@pytest.mark.parametrize(
    ("fisheye", "distortion", "message"),
    [
        (True, (1.0, 2.0, 3.0), "needs 0 or 4 coefficients, got 3"),
        (True, (1.0,) * 5, "got 5"),
        (False, (1.0,) * 6, "needs 0, 4, 5, 8, 12 or 14 coefficients, got 6"),
    ],
)
def test_coefficients_of_each_kind_of_lens(
    fisheye: bool, distortion: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(KITTI, raw_matrix(KITTI), distortion, fisheye=fisheye)


FISHEYE = (640 / np.pi, 0.0, 325.0, 0.0, 640 / np.pi, 236.0, 0.0, 0.0, 1.0)
FISHEYE_TERMS = (0.01, -0.004, 0.002, -0.001)


def turned(*angles: float) -> tuple[float, ...]:
    return tuple(cv2.Rodrigues(np.array(angles))[0].flatten().tolist())


@pytest.mark.parametrize("ray", [(0.0, 0.0, 1.0), (0.9, -0.5, 1.0), (-1.3, 0.8, 1.0)])
def test_rectify_puts_a_point_of_a_fisheye_where_its_ray_belongs(
    ray: tuple[float, float, float],
) -> None:
    camera = Camera(640, 480, 200.0, 210.0, 320.0, 240.0)
    turn = turned(0.01, -0.02, 0.005)
    calibration = Calibration(camera, FISHEYE, FISHEYE_TERMS, turn, fisheye=True)
    point = np.array(ray)
    seen = cv2.fisheye.projectPoints(
        (np.reshape(turn, (3, 3)).T @ point)[None, None],
        np.zeros(3),
        np.zeros(3),
        np.reshape(FISHEYE, (3, 3)),
        np.array(FISHEYE_TERMS),
    )[0].squeeze()
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.circle(image, tuple(np.rint(seen).astype(int).tolist()), 2, (255, 255, 255), -1)
    rectified = calibration.rectify(image)
    rows, columns = np.nonzero(rectified[..., 0] > 127)
    np.testing.assert_allclose((columns.mean(), rows.mean()), camera.project(point), atol=1)


def test_a_fisheye_without_coefficients_is_not_rectified() -> None:
    assert not Calibration(KITTI, raw_matrix(KITTI), fisheye=True).is_rectified


SMALL = Camera(320, 200, 200.0, 200.0, 159.5, 99.5)
HALF = Camera(320, 200, 100.0, 100.0, 159.5, 99.5)
LENSES = {
    "barrel": Calibration(Camera(320, 200, 180.0, 180.0, 159.5, 99.5), raw_matrix(SMALL), LENS),
    "pincushion": Calibration(SMALL, raw_matrix(SMALL), (0.3, 0.1, 0.0, 0.0)),
    "rational": Calibration(
        Camera(320, 200, 120.0, 120.0, 159.5, 99.5),
        raw_matrix(SMALL),
        (0.4, -0.2, 0.001, 0.002, 0.05, 0.7, -0.1, 0.02),
    ),
    "tilted": Calibration(SMALL, raw_matrix(SMALL), rotation=turned(0.0, 0.06, 0.0)),
    "rolled": Calibration(SMALL, raw_matrix(SMALL), rotation=turned(0.0, 0.0, 0.05)),
    "fisheye": Calibration(
        Camera(320, 200, 30.0, 30.0, 159.5, 99.5), raw_matrix(HALF), fisheye=True
    ),
    "no margin": Calibration(Camera(320, 200, 99.0, 99.0, 159.5, 99.5), raw_matrix(HALF)),
}
"""Lenses with rectified images beyond their field of view."""


def colours(height: int = 200, width: int = 320) -> np.ndarray:
    """A picture without black in it."""
    small = np.random.default_rng(0).integers(30, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("name", LENSES)
def test_what_is_not_seen_is_black_and_nothing_is_mixed_with_it(name: str) -> None:
    calibration = LENSES[name]
    seen = calibration.seen
    assert seen.shape == (200, 320)
    assert not seen.flags.writeable
    assert not seen.all()
    assert calibration.unseen_share == pytest.approx(1 - seen.mean())
    rectified = calibration.rectify(np.full((200, 320, 3), 200, np.uint8))
    assert (rectified[seen] == 200).all()
    assert (rectified[~seen] == 0).all()
    # Points in the middle of the pixels land inside of the raw image.
    across, down = calibration.camera.slopes()
    rays = np.stack((*np.meshgrid(across, down), np.ones((200, 320))), axis=-1)[seen]
    raw = np.reshape(calibration.raw_intrinsics, (3, 3))
    project = cv2.fisheye.projectPoints if calibration.fisheye else cv2.projectPoints
    turn = np.reshape(calibration.rotation, (3, 3))
    points = (rays.astype(np.float64) @ turn)[:, None]
    terms = np.array(calibration.distortion or (0.0,) * 4)
    landed = project(points, np.zeros(3), np.zeros(3), raw, terms)[0].reshape(-1, 2)
    assert landed.min() > -0.02
    assert (landed.max(axis=0) < (319.02, 199.02)).all()


@pytest.mark.parametrize("name", LENSES)
def test_unseen_pixels_of_a_rectified_image_are_found_in_it(name: str) -> None:
    calibration = LENSES[name]
    pictures = [colours(), colours() // 16, colours()[..., :1], colours()[..., 0]]
    for picture in pictures:
        found = unseen_pixels(calibration.rectify(picture))
        assert found is not None
        # Spots of a few pixels are left.
        assert not (found & calibration.seen).any()
        assert np.count_nonzero(~found & ~calibration.seen) < 40


def test_the_night_is_not_mistaken_for_what_is_not_seen() -> None:
    calibration = LENSES["barrel"]
    night = np.where(colours() < 200, 0, colours()).astype(np.uint8)
    rectified = calibration.rectify(night)
    np.testing.assert_array_equal(unseen_pixels(rectified), ~calibration.seen)
    assert rectified[calibration.seen].max(axis=-1).min() == 1


def test_around_the_circle_of_a_fisheye_nothing_is_seen() -> None:
    camera = Camera(320, 200, 60.0, 60.0, 159.5, 99.5)
    calibration = Calibration(camera, raw_matrix(HALF), fisheye=True)
    circle = np.zeros((200, 320), np.uint8)
    cv2.circle(circle, (160, 100), 90, 255, -1)
    image = np.where(circle[..., None] > 0, colours(), 0).astype(np.uint8)
    rectified = calibration.rectify(image)
    unseen = unseen_pixels(rectified)
    assert unseen is not None
    assert unseen.mean() > calibration.unseen_share + 0.5
    np.testing.assert_array_equal(unseen, rectified.max(axis=-1) == 0)
    # A ray on the circle, of 0.9 rad, is 76 pixels from the middle.
    rows, columns = np.mgrid[:200, :320]
    distance = np.hypot(rows - 99.5, columns - 159.5)
    assert unseen[distance > 60 * np.tan(0.9) + 2].all()
    assert not unseen[distance < 60 * np.tan(0.9) - 2].any()


def test_an_image_that_is_rectified_is_seen_whole() -> None:
    calibration = Calibration(SMALL, raw_matrix(SMALL))
    assert calibration.seen.all()
    assert not calibration.seen.flags.writeable
    assert calibration.unseen_share == 0
    # Rounding makes no border unseen.
    nearly = Calibration(SMALL, raw_matrix(SMALL), (1e-7, 0.0, 0.0, 0.0), turned(0, 1e-7, 1e-7))
    assert not nearly.is_rectified
    assert nearly.seen.all()
    np.testing.assert_array_equal(nearly.rectify(colours()), colours())


def test_a_black_image_stays_black() -> None:
    calibration = LENSES["barrel"]
    assert not calibration.rectify(np.zeros((200, 320, 3), np.uint8)).any()


def test_where_a_lens_model_folds_back_nothing_is_seen() -> None:
    """Beyond what it was fitted to, a polynomial brings far rays back into the image."""
    camera = Camera(320, 200, 60.0, 60.0, 159.5, 99.5)
    raw = raw_matrix(SMALL)
    # r (1 - 0.2 r^2) grows up to 1.29, the slope of the rays in column 237.
    calibration = Calibration(camera, raw, (-0.2, 0.0, 0.0, 0.0))
    assert calibration.seen[100, 160]
    maps = cv2.initUndistortRectifyMap(
        np.reshape(raw, (3, 3)),
        np.array((-0.2, 0.0, 0.0, 0.0)),
        np.eye(3),
        np.array([[60.0, 0, 159.5], [0, 60.0, 99.5], [0, 0, 1]]),
        (320, 200),
        cv2.CV_32FC1,
    )
    inside = (maps[0] >= 0) & (maps[0] <= 319) & (maps[1] >= 0) & (maps[1] <= 199)
    # OpenCV fills them with the image once more.
    assert inside[100, 290]
    across, down = camera.slopes()
    far = np.hypot(*np.meshgrid(across, down)) > np.sqrt(1 / 0.6) + 0.01
    assert not calibration.seen[far].any()


@pytest.mark.parametrize(
    "rotation", [turned(0.0, 1.2, 0.0), turned(0.0, np.pi / 2, 0.0), turned(0.0, 3.0, 0.0)]
)
@pytest.mark.parametrize("fisheye", [False, True])
def test_rays_from_the_side_and_from_behind_show_nothing(
    rotation: tuple[float, ...], fisheye: bool
) -> None:
    calibration = Calibration(HALF, raw_matrix(HALF), (), rotation, fisheye=fisheye)
    across, down = HALF.slopes()
    rays = np.stack((*np.meshgrid(across, down), np.ones((200, 320))), axis=-1)
    behind = (rays @ np.reshape(rotation, (3, 3)))[..., 2] <= 0
    assert behind.any()
    assert not calibration.seen[behind].any()
    rectified = calibration.rectify(np.full((200, 320, 3), 200, np.uint8))
    assert not rectified[behind].any()


def test_huge_distances_between_pixels_do_not_wrap_around() -> None:
    camera = Camera(320, 200, 0.5, 0.5, 159.5, 99.5)
    calibration = Calibration(camera, (4000.0, 0.0, 160.0, 0.0, 4000.0, 100.0, 0.0, 0.0, 1.0))
    assert not calibration.rectify(np.full((200, 320, 3), 200, np.uint8)).any()


@pytest.mark.parametrize(
    ("focal", "terms", "expected"),
    [
        pytest.param(640 / np.pi, (), 320.0, id="180 degrees"),
        pytest.param(640 / 2.4, (0.01, 0.0, 0.0, 0.0), 320.0, id="137 degrees"),
        pytest.param(640 / 2, (), 320.0, id="115 degrees"),
    ],
)
def test_a_fisheye_is_shown_90_degrees_wide(
    focal: float, terms: tuple[float, ...], expected: float
) -> None:
    raw = (focal, 0.0, 330.0, 0.0, focal, 235.0, 0.0, 0.0, 1.0)
    camera = fisheye_camera(raw, terms, width=640, height=480)
    assert camera == Camera(640, 480, expected, expected, 319.5, 239.5)
    assert Calibration(camera, raw, terms, fisheye=True).seen.all()


@pytest.mark.parametrize("focal", [500.0, 800.0, 3000.0])
def test_a_narrow_fisheye_is_shown_no_wider_than_it_sees(focal: float) -> None:
    raw = (focal, 0.0, 310.0, 0.0, focal, 235.0, 0.0, 0.0, 1.0)
    camera = fisheye_camera(raw, (), width=640, height=480)
    assert camera.fx > 320
    assert Calibration(camera, raw, fisheye=True).seen.all()
    wider = Camera(640, 480, camera.fx / 1.05, camera.fy / 1.05, camera.cx, camera.cy)
    assert not Calibration(wider, raw, fisheye=True).seen.all()


def test_a_fisheye_that_is_not_centred_keeps_its_k() -> None:
    raw = (300.0, 0.0, 2000.0, 0.0, 300.0, 240.0, 0.0, 0.0, 1.0)
    camera = fisheye_camera(raw, (), width=640, height=480)
    assert camera == Camera(640, 480, 300.0, 300.0, 2000.0, 240.0)


def already(calibration: Calibration) -> Calibration:
    """The calibration of images that were rectified by another one."""
    return Calibration(calibration.camera, raw_matrix(calibration.camera), source=calibration)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


@pytest.mark.parametrize("quality", [90, 50])
@pytest.mark.parametrize("name", [name for name in LENSES if name != "no margin"])
def test_nearly_black_of_jpeg_is_made_black(name: str, quality: int) -> None:
    calibration = LENSES[name]
    # As smooth as photographs are.
    picture = cv2.resize(colours(40, 64), (320, 200), interpolation=cv2.INTER_CUBIC)
    image = jpeg(calibration.rectify(picture), quality)
    blackened = already(calibration).blacken_unseen(image)
    assert not blackened[~calibration.seen].any()
    seen = calibration.seen
    assert np.abs(blackened[seen].astype(int) - image[seen]).max() <= 1
    assert blackened[seen].max(axis=-1).min() >= 1
    assert image[~seen].any()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(colours(), id="bright"),
        pytest.param(colours() // 12, id="dark everywhere"),
        pytest.param(np.where(colours() < 130, 10, colours()).astype(np.uint8), id="dark spots"),
        pytest.param(np.zeros((200, 320, 3), np.uint8), id="black"),
    ],
)
def test_images_that_were_not_rectified_like_that_are_left(image: np.ndarray) -> None:
    assert already(LENSES["barrel"]).blacken_unseen(image) is image
    assert Calibration(SMALL, raw_matrix(SMALL)).blacken_unseen(image) is image


def test_blacken_unseen_names_a_wrong_size() -> None:
    with pytest.raises(ValueError, match="image has size 4x3, the camera 320x200"):
        already(LENSES["barrel"]).blacken_unseen(np.zeros((3, 4, 3), np.uint8))


def test_a_bright_border_needs_no_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that focuses may send another calibration with each image."""
    from depthformer_core.geometry import camera

    monkeypatch.setattr(camera, "_rectification_maps", None)
    image = colours()
    assert already(LENSES["barrel"]).blacken_unseen(image) is image
