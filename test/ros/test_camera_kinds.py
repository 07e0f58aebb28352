"""Cameras of every kind: what they send, how they see, how large their images are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_ros.messages.conversions import camera_info_of

from .robots import depth_of, points_of

pytestmark = pytest.mark.slow

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
HEADER = Header(frame_id="eye")


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    """The network that the node has, in this process."""
    return DepthPredictor.from_checkpoint("debug", device="cpu", crop="none")


def colours_of(cloud: Any) -> Any:
    packed = points_of(cloud)[..., 3].copy().view(np.uint32)
    return np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)


def check(depth: Any, expected: Any) -> None:
    np.testing.assert_allclose(depth_of(depth), expected, rtol=1e-3)


ENCODINGS = {
    **{"mono8": 1, "8UC1": 1, "mono16": 2},
    **{"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "8UC4": 4},
    **{"rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8},
    **{f"bayer_{order}8": 1 for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{order}16": 2 for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{"yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2},
}
"""Bytes of a pixel."""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_encodings(robot: Any, predictor: DepthPredictor, encoding: str) -> None:
    image = Image(encoding=encoding, height=64, width=96, step=96 * ENCODINGS[encoding])
    samples = np.random.default_rng(0).integers(0, 256, image.step * 64, np.uint8)
    image.data = samples.tobytes()
    robot.stamp(image)
    rgb = image_to_rgb(image)
    check(robot.prediction(image), predictor.predict(rgb, CAMERA).depth)
    np.testing.assert_array_equal(colours_of(robot.partner(image, robot.clouds)), rgb)


@pytest.mark.parametrize(
    ("encoding", "rows"), [("nv12", 96), ("nv21", 96), ("i420", 96), ("yuv420", 96), ("nv24", 192)]
)
def test_planes(robot: Any, predictor: DepthPredictor, encoding: str, rows: int) -> None:
    image = Image(encoding=encoding, height=64, width=96, step=96)
    samples = np.random.default_rng(0).integers(0, 256, 96 * rows, np.uint8)
    image.data = samples.tobytes()
    robot.stamp(image)
    check(robot.prediction(image), predictor.predict(image_to_rgb(image), CAMERA).depth)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_an_encoding_that_is_no_colour_image_is_named(robot: Any, encoding: str) -> None:
    image = robot.image()
    image.encoding = encoding
    status = robot.provoke(image, "rejected: encoding")
    assert f"encoding '{encoding}' is not supported; known are mono8, " in status.message
    robot.runs()


PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8), (96, 64))
GREY = PICTURE[..., 0]
FILES = {
    "jpeg": (".jpg", PICTURE, []),
    "progressive jpeg": (".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "grey jpeg": (".jpg", GREY, []),
    "png": (".png", PICTURE, []),
    "png with alpha": (".png", np.dstack((PICTURE, GREY)), []),
    "grey png": (".png", GREY, []),
    "grey png of 16 bits": (".png", GREY.astype(np.uint16) * 257, []),
    "colour png of 16 bits": (".png", PICTURE.astype(np.uint16) * 257, []),
}


@pytest.mark.parametrize("kind", FILES)
def test_compressed_images(compressed_robot: Any, predictor: DepthPredictor, kind: str) -> None:
    extension, pixels, options = FILES[kind]
    data = cv2.imencode(extension, pixels, options)[1].tobytes()
    image = CompressedImage(format=f"bgr8; {extension} compressed bgr8", data=data)
    compressed_robot.stamp(image)
    rgb = compressed_to_rgb(image)
    shown = pixels[..., :3] if pixels.ndim == 3 else np.dstack([pixels] * 3)
    shown = shown >> 8 if shown.dtype == np.uint16 else shown
    # JPEG blurs colours.
    assert np.abs(rgb[..., ::-1].astype(int) - shown).mean() < 6
    check(compressed_robot.prediction(image), predictor.predict(rgb).depth)


@pytest.fixture(scope="module")
def rectifier(start_shared_robot: Callable[..., Any]) -> Iterator[Any]:
    # The topic's name does not show that its images are rectified already.
    robot = start_shared_robot(input__crop="none", points__edge_filter=0.0)
    robot.process.wait_for_log("waiting for images")
    yield robot
    robot.close()


def lens(model: str, terms: list[float], **fields: Any) -> CameraInfo:
    info = camera_info_of(CAMERA, HEADER)
    info.distortion_model, info.d = model, terms
    for name, value in fields.items():
        setattr(info, name, value)
    return info


TURNED = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0].ravel().tolist()
LENSES = {
    "none": lens("plumb_bob", []),
    "plumb_bob": lens("plumb_bob", [-0.3, 0.08, 0.001, -0.002, 0.01]),
    "rational_polynomial": lens(
        "rational_polynomial", [0.4, -0.2, 0.001, 0.002, 0.05, 0.7, -0.1, 0.02]
    ),
    "stereo, turned and with another focal length": lens(
        "plumb_bob",
        [-0.3, 0.08, 0.0, 0.0, 0.0],
        r=TURNED,
        p=[70.0, 0.0, 50.0, -40.0, 0.0, 70.0, 30.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ),
    "rational_polynomial of 14 terms": lens(
        "rational_polynomial", [0.4, -0.2, 0.001, 0.002, 0.05, 0.7, -0.1, 0.02] + [0.001] * 6
    ),
    "plumb_bob with zeros behind": lens("plumb_bob", [-0.2, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    "fisheye": lens("equidistant", [0.05, 0.01, 0.001, 0.0]),
    "fisheye with only K": lens("equidistant", [0.05, 0.01, 0.001, 0.0, 0.0], p=[0.0] * 12),
    "only K": lens("plumb_bob", [-0.2] + [0.0] * 4, r=[0.0] * 9, p=[0.0] * 12),
}


@pytest.mark.parametrize("name", LENSES)
def test_lenses_are_rectified(rectifier: Any, predictor: DepthPredictor, name: str) -> None:
    info = LENSES[name]
    calibration = calibration_from_info(info)
    # The diagnostics show the rectified camera, and several of these share one.
    rectifier.calibrate(camera_info_of(Camera(96, 64, 500.0, 500.0, 1.0, 1.0), HEADER))
    rectifier.calibrate(info)
    image = rectifier.image()
    image.data = PICTURE.tobytes()
    rectified = calibration.rectify(PICTURE)
    assert (rectified == PICTURE).all() == (name == "none")
    check(rectifier.prediction(image), predictor.predict(rectified, calibration.camera).depth)
    cloud = rectifier.partner(image, rectifier.clouds)
    np.testing.assert_array_equal(colours_of(cloud), rectified)
    info = rectifier.partner(image, rectifier.infos)
    assert calibration_from_info(info).camera == calibration.camera
    assert calibration_from_info(info).is_rectified


def test_the_maps_of_a_lens_are_made_once() -> None:
    """A driver sends the same calibration with every image."""
    from depthformer_core.geometry.camera import _rectification_maps

    made = [calibration_from_info(LENSES["rational_polynomial"]) for _ in range(5)]
    before = _rectification_maps.cache_info().misses
    pictures = [calibration.rectify(PICTURE) for calibration in made]
    assert _rectification_maps.cache_info().misses <= before + 1
    assert all((picture == pictures[0]).all() for picture in pictures)


@pytest.mark.parametrize("model", ["thin_prism_fisheye", "omnidirectional"])
def test_a_lens_that_nobody_here_knows_is_refused_by_name(
    rectifier: Any, wait_until: Callable[..., Any], model: str
) -> None:
    info = lens(model, [0.1, 0.01, 0.001, 0.0])

    def noticed() -> Any:
        rectifier.send_info(info)
        return next((s for s in rectifier.statuses(0.5) if model in s.message), None)

    status = wait_until(noticed, f"diagnostics that name {model}")
    reason = f"distortion_model '{model}' is not supported; known are plumb_bob, rational_poly"
    assert f"camera_info is unusable: {reason}" in status.message
    # Depth is published, as for a camera without calibration.
    image = rectifier.image()
    assert np.isfinite(depth_of(rectifier.prediction(image))).all()
    assert not any(cloud.header.stamp == image.header.stamp for cloud in rectifier.clouds)
    # Images that are rectified already need nothing but P.
    assert rectifier.set(input__rectify="never").successful
    status = rectifier.diagnosed(lambda status: model not in status.message)
    assert "unusable" not in status.message
    image = rectifier.image()
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", crop="none")
    check(rectifier.prediction(image), predictor.predict(image_to_rgb(image), CAMERA).depth)
    assert np.isfinite(points_of(rectifier.partner(image, rectifier.clouds))[..., :3]).all()
    assert rectifier.set(input__rectify="auto").successful


WIDE = [60.0, 0.0, 47.0, 0.0, 0.0, 60.0, 33.0, 0.0, 0.0, 0.0, 1.0, 0.0]
BORDERED = {
    "barrel": lens("plumb_bob", [-0.3, 0.08, 0.001, -0.002, 0.01], p=WIDE),
    "stereo, turned": lens("plumb_bob", [-0.1] + [0.0] * 4, r=TURNED),
    "fisheye": lens("equidistant", [0.05, 0.01, 0.0, 0.0], p=[30.0, *WIDE[1:5], 30.0, *WIDE[6:]]),
}


@pytest.mark.parametrize("name", BORDERED)
def test_what_the_camera_never_saw_has_no_depth(rectifier: Any, name: str) -> None:
    info = BORDERED[name]
    calibration = calibration_from_info(info)
    rectifier.calibrate(camera_info_of(Camera(96, 64, 500.0, 500.0, 1.0, 1.0), HEADER))
    rectifier.calibrate(info)
    image = rectifier.image()
    depth = depth_of(rectifier.prediction(image))
    unseen = ~calibration.seen
    assert unseen.sum() > 30
    # Spots of a few pixels stay.
    assert np.isfinite(depth[unseen]).sum() < 16
    assert np.isfinite(depth[~unseen]).all()
    points = points_of(rectifier.partner(image, rectifier.clouds))[..., :3]
    np.testing.assert_array_equal(np.isfinite(points).all(axis=-1), np.isfinite(depth))
    text = f"rectifying leaves {calibration.unseen_share:.0%} of the image black"
    status = rectifier.diagnosed(lambda status: "input running" in status.message)
    assert (text in status.message) == (calibration.unseen_share > 0.1)
    if text in status.message:
        # The log is throttled.
        assert "rectifying leaves" in rectifier.process.log


def test_what_jpeg_leaves_of_black_borders_has_no_depth(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(
        **{"image_transport": "compressed", "input__crop": "none", "points__edge_filter": 0.0},
        **{"input__rectify": "never", "flip": True},
    )
    info = BORDERED["barrel"]
    calibration = calibration_from_info(info)
    robot.calibrate(info)
    smooth = cv2.resize(PICTURE[:8, :12] // 2 + 100, (96, 64), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", calibration.rectify(smooth))[1].tobytes()
    image = CompressedImage(format="jpeg", data=data)
    robot.stamp(image)
    black = compressed_to_rgb(image)[~calibration.seen]
    assert black.any()
    depth = depth_of(robot.prediction(image))
    spread = depth_of(robot.partner(image, robot.spreads))
    points = points_of(robot.partner(image, robot.clouds))[..., :3]
    for known in (depth, spread, points[..., 2]):
        np.testing.assert_array_equal(np.isfinite(known), calibration.seen)
    assert "leaves" not in robot.process.log

    # A black image is one in which nothing is seen.
    data = cv2.imencode(".png", np.zeros_like(PICTURE))[1].tobytes()
    image = CompressedImage(format="png", data=data)
    robot.stamp(image)
    assert np.isnan(depth_of(robot.prediction(image))).all()
    assert np.isnan(points_of(robot.partner(image, robot.clouds))[..., :3]).all()
    robot.partner(image, robot.colours)
    status = robot.diagnosed(lambda status: "input running" in status.message)
    # A black image causes no warning.
    assert status.message == (
        "input running; input.rectify is never, and camera_info describes a lens that distorts: "
        "unless the images are rectified already, depth is wrong; set input.rectify to auto; "
        "untrained weights: depth is meaningless"
    )


def part(info: CameraInfo, *, binning: int, region: tuple[int, int, int, int]) -> CameraInfo:
    roi = info.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height = region
    info.binning_x = info.binning_y = binning
    return info


WHOLE = Camera(400, 300, 160.0, 161.0, 200.0, 150.0)
PARTS = {
    "binning": (2, (0, 0, 0, 0), (200, 150)),
    "region of interest": (1, (100, 80, 192, 128), (192, 128)),
    "both": (2, (100, 80, 192, 128), (96, 64)),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_the_sensor(rectifier: Any, predictor: DepthPredictor, name: str) -> None:
    binning, region, size = PARTS[name]
    whole = camera_info_of(WHOLE, HEADER)
    whole.d = [-0.1, 0.02, 0.0, 0.0, 0.0]
    info = part(whole, binning=binning, region=region)
    calibration = calibration_from_info(info)
    rectifier.calibrate(info)
    image = rectifier.image(*size)
    rectified = calibration.rectify(image_to_rgb(image))
    check(rectifier.prediction(image), predictor.predict(rectified, calibration.camera).depth)
    camera = calibration_from_info(rectifier.partner(image, rectifier.infos)).camera
    assert (camera.width, camera.height) == size
    assert camera.fx == WHOLE.fx / binning
    assert camera.cx == (WHOLE.cx - region[0]) / binning


SIZES = {
    "portrait": (60, 128),
    "a strip": (200, 9),
    "tiny": (8, 8),
    "one pixel": (1, 1),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(robot: Any, predictor: DepthPredictor, name: str) -> None:
    width, height = SIZES[name]
    camera = Camera(width, height, 90.0, 91.0, width / 2, height / 3)
    robot.calibrate(camera_info_of(camera, HEADER))
    image = robot.image(width, height)
    depth = robot.prediction(image)
    check(depth, predictor.predict(image_to_rgb(image), camera).depth)
    points = points_of(robot.partner(image, robot.clouds))[..., :3].astype(float)
    assert points.shape == (height, width, 3)
    rows, columns = np.mgrid[:height, :width]
    landed = camera.project(points)
    assert np.abs(landed - np.stack((columns, rows), axis=-1)).max() < 0.5


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_4k_camera_takes_bounded_memory(start_robot: Callable[..., Any]) -> None:
    """The network gets the part of an image in the field of view that it knows."""
    robot = start_robot(checkpoint="small", image_transport="compressed", points__stride=8)
    width, height = 3840, 2160
    robot.calibrate(camera_info_of(Camera(width, height, 2230.0, 2230.0, 1920.0, 1080.0), HEADER))
    pixels = cv2.resize(PICTURE, (width, height))
    image = CompressedImage(format="jpeg", data=cv2.imencode(".jpg", pixels)[1].tobytes())
    memory = []
    for _ in range(14):
        robot.forget()
        robot.stamp(image)
        depth = robot.prediction(image)
        assert (depth.width, depth.height) == (width, height)
        cloud = robot.partner(image, robot.clouds)
        assert (cloud.width, cloud.height) == (480, 270)
        memory.append(robot.process.memory)
    assert max(memory) < 2.5 * 2**30
    # A frame or two on their way make a tenth of it; ten depth images that stay are a quarter.
    assert median(memory[-4:]) < 1.18 * median(memory[:4]), memory

    # KITTI's images are 29 degrees high, these 52.
    known = np.isfinite(depth_of(depth)).all(axis=1)
    assert known.any()
    assert not np.isfinite(depth_of(depth)[~known]).any()
    assert known.mean() == pytest.approx(188 / 349, abs=0.01)
    status = robot.diagnosed(lambda status: "46% of the image gets no depth" in status.message)
    assert status.level == DiagnosticStatus.WARN
    assert robot.process.log.count("gets no depth") == 1
