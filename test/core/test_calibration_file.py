"""Files of calibrations, and what they refuse."""

import dataclasses

import numpy as np
import pytest
from calibrations import calibration_of_small

from depthformer_core.calibration.calibration_file import (
    CalibrationError,
    calibration_to_yaml,
    read_calibration,
    same_camera,
    write_calibration,
)
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(208, 64, 120.0, 121.0, 102.5, 29.25)
CORRECTION = DepthCorrection((6.5, 70.25), (4.625, 53.5))


def calibration(correction=CORRECTION, **changes):
    return calibration_of_small(correction, CAMERA, **changes)


VIEW = calibration().view


def test_a_file_holds_everything(tmp_path):
    for made in (
        calibration(),
        calibration(correction=DepthCorrection.factor(0.75)),
        calibration(figures=dataclasses.replace(calibration().figures, abs_rel_after=None)),
        calibration(sha256="1" * 64, checkpoint="yes", view=dataclasses.replace(VIEW, crop="none")),
    ):
        write_calibration(tmp_path / "c.yaml", made)
        assert read_calibration(tmp_path / "c.yaml") == made
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


TEXT = calibration_to_yaml(calibration())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param("version: 1", "version: 2", "version must be 1, got 2", id="version"),
        pytest.param("version: 1\n", "", "version must be 1, got None", id="no version"),
        pytest.param("checkpoint: small", "weights: small", "unknown key: 'weights'", id="key"),
        pytest.param("checkpoint: small\n", "", "missing key: checkpoint", id="missing"),
        pytest.param("checkpoint: small", "checkpoint: 3", "checkpoint must be a text", id="type"),
        pytest.param("width: 208", "width: 208.5", "width must be a whole number", id="width"),
        pytest.param("width: 208", "width: true", "width must be a whole number", id="bool"),
        pytest.param("width: 208", "width: 0", "image size must be positive", id="no width"),
        pytest.param("fx: 120.0", "fx: -1", "focal lengths positive", id="focal length"),
        pytest.param("fx: 120.0", "fx: .nan", "fx must hold finite numbers", id="nan"),
        pytest.param("fx: 120.0", "fx: 120.0, k1: 3", "unknown key of camera: 'k1'", id="k1"),
        pytest.param("crop: view", "crop: left", "crop must be one of none, kitti", id="crop"),
        pytest.param("flip: false", "flip: 0", "flip must be one of True, False", id="flip"),
        pytest.param("rotate: 0", "rotate: 45", "rotate must be one of 0, 90, 180", id="rotate"),
        pytest.param("[6.5, 70.25]", "[70.25, 6.5]", "predicted depths .* must rise", id="falls"),
        pytest.param("[6.5, 70.25]", "[6.5]", "got 1 and 2", id="knots"),
        pytest.param("[6.5, 70.25]", "6.5", "predicted must be a list", id="no list"),
        pytest.param("[6.5, 70.25]", "[a, b]", "predicted must hold finite numbers", id="text"),
        pytest.param("[6.5, 70.25]", "[6.5, .inf]", "finite numbers, got inf", id="infinite"),
        pytest.param("date: '2026", "date: 'x2026", "date must be of ISO 8601", id="date"),
        pytest.param("sha256: ", "sha256: z", "sha256 must be 64 hexadecimal", id="digest"),
        pytest.param("images: 12", "images: -1", "images must be a whole number", id="images"),
        pytest.param(TEXT, "3", "it must be a mapping, got 3", id="number"),
        pytest.param(TEXT, "", "it must be a mapping, got None", id="empty"),
        pytest.param(TEXT, "a: [", "it is no YAML", id="no yaml"),
        pytest.param(TEXT, "a: !!python/name:os.system", "it is no YAML", id="code"),
        pytest.param(TEXT, "[" * 2_000, "more than 100 brackets", id="brackets"),
        pytest.param(TEXT, "- " * 2_000, "it is no YAML", id="deep"),
        pytest.param(
            "fx: 120.0", "fx: &a [*a]", "fx must hold finite numbers, got list", id="loop"
        ),
        pytest.param("version: 1", "version: 1\nversion: 1", "it is no YAML", id="twice"),
    ],
)
def test_faults_of_a_file(tmp_path, before, after, message):
    assert before in TEXT
    path = tmp_path / "c.yaml"
    path.write_text(TEXT.replace(before, after, 1))
    with pytest.raises(CalibrationError, match=f"calibration {path}: .*{message}") as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CalibrationError, match=r"cannot read calibration .*c\.yaml: No such file"):
        read_calibration(tmp_path / "c.yaml")
    (tmp_path / "large.yaml").write_text(f"# {'x' * 20_000}")
    with pytest.raises(CalibrationError, match="has 20002 bytes, more than 16384"):
        read_calibration(tmp_path / "large.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b\.yaml"):
        read_calibration(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"width": 207}, id="width"),
        pytest.param({"height": 65}, id="height"),
        pytest.param({"fx": 123.0}, id="fx"),
        pytest.param({"fy": 118.0}, id="fy"),
        pytest.param({"cx": 107.0}, id="cx"),
        pytest.param({"cy": 31.0}, id="cy"),
    ],
)
def test_another_camera(other):
    camera = dataclasses.replace(CAMERA, **other)
    assert not same_camera(CAMERA, camera)
    with pytest.raises(CalibrationError, match=r"is for a camera of 208x64 .* the image is of"):
        calibration().check(camera, VIEW)


def test_the_same_camera_calibrated_anew():
    camera = Camera(208, 64, 121.5, 119.5, 105.0, 28.5)
    assert same_camera(CAMERA, camera)
    calibration().check(camera, VIEW)


def test_no_camera():
    with pytest.raises(CalibrationError, match=r"camera of the image is unknown.*--intrinsics"):
        calibration().check(None, VIEW)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"crop": "none"}, "for crop view, the network has crop none: set crop to view"),
        ({"focal": "scale"}, "for focal resize, the network has focal scale"),
        ({"flip": True}, "for flip False, the network has flip True"),
        ({"rotate": 180}, "for rotate 0, the network has rotate 180"),
    ],
)
def test_another_way_to_read_images(view, message):
    with pytest.raises(CalibrationError, match=message):
        calibration().check(CAMERA, dataclasses.replace(VIEW, **view))


def test_another_checkpoint():
    calibration().check_checkpoint("small")
    with pytest.raises(CalibrationError, match="checkpoint small, the network is small_kitti"):
        calibration().check_checkpoint("small_kitti")
    with pytest.raises(CalibrationError, match="there is none at debug"):
        calibration().check_checkpoint("debug")
    with pytest.raises(CalibrationError, match="an empty path"):
        calibration().check_checkpoint("")


def test_depth_and_uncertainty():
    depth = np.array([[3.0, 30.0, np.nan, np.inf]], np.float32)
    uncertainty = np.array([[0.3, 3.0, np.nan, 1.0]], np.float32)
    made = calibration()
    corrected, scaled = made.apply(depth, uncertainty)
    assert corrected == pytest.approx(made.correction.apply(depth), nan_ok=True)
    slopes = made.correction.slopes
    assert scaled[0, :2] == pytest.approx([0.3 * slopes[0], 3 * slopes[1]])
    assert np.isnan(scaled[0, 2])
    assert scaled.dtype == corrected.dtype == np.float32
    assert made.apply(depth, None)[1] is None
