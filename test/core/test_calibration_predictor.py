"""Predictors with a calibration."""

import dataclasses

import numpy as np
import pytest
from calibrations import calibration_of_small

from depthformer_core import DepthPredictor, create_model
from depthformer_core.calibration.calibration_file import (
    CalibrationError,
    write_calibration,
)
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.data.dataset import Frame
from depthformer_core.synthetic import street_camera

CAMERA = street_camera(208, 64, focal=120.8)
CORRECTION = DepthCorrection((8.0, 50.0), (5.0, 40.0))


@pytest.fixture(scope="module")
def rgb():
    return np.random.default_rng(0).integers(1, 256, (64, 208, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain():
    return DepthPredictor.from_checkpoint("small", device="cpu")


@pytest.fixture(scope="module")
def calibration(plain):
    return calibration_of_small(CORRECTION, CAMERA, view=plain.view)


def test_depth_and_uncertainty_are_corrected(plain, calibration, rgb, tmp_path):
    write_calibration(tmp_path / "c.yaml", calibration)
    before = plain.predict(rgb, CAMERA)
    for given in (calibration, tmp_path / "c.yaml", str(tmp_path / "c.yaml")):
        predictor = DepthPredictor.from_checkpoint("small", device="cpu", calibration=given)
        after = predictor.predict(rgb, CAMERA)
        assert after.depth == pytest.approx(CORRECTION.apply(before.depth), nan_ok=True)
        slopes = CORRECTION.slope(before.depth)
        assert after.uncertainty == pytest.approx(before.uncertainty * slopes, nan_ok=True)
        assert after.depth.dtype == after.uncertainty.dtype == np.float32
        assert np.nanmin(after.depth) > 0
        assert (after.valid == before.valid).all()
        assert after.nonfinite_count == before.nonfinite_count
    assert predictor.max_depth == pytest.approx(plain.max_depth * 40 / 50)
    assert plain.max_depth == plain.config.max_depth


def test_what_a_predictor_refuses(calibration, rgb):
    predictor = DepthPredictor.from_checkpoint("small", device="cpu", calibration=calibration)
    with pytest.raises(CalibrationError, match="camera of the image is unknown"):
        predictor.predict(rgb)
    with pytest.raises(CalibrationError, match="the image is of a camera of 208x64"):
        predictor.predict(rgb, dataclasses.replace(CAMERA, fx=130.0))
    predictor.flip = True
    with pytest.raises(CalibrationError, match="the network has flip True"):
        predictor.predict(rgb, CAMERA)
    with pytest.raises(CalibrationError, match="other weights"):
        DepthPredictor.from_checkpoint("small_kitti", device="cpu", calibration=calibration)
    with pytest.raises(CalibrationError, match="weights of a file"):
        DepthPredictor(create_model("debug"), device="cpu", calibration=calibration)


def test_what_cannot_be_calibrated(plain, calibration, rgb):
    from depthformer_core.calibration.truths import CameraHeight
    from depthformer_core.replay.calibration import calibrate

    frames = [Frame("a", rgb, None, CAMERA), Frame("b", rgb, None, street_camera(208, 64))]
    with pytest.raises(CalibrationError, match="image b is of another camera than the first"):
        calibrate(plain, frames, CameraHeight(1.6))
    with pytest.raises(CalibrationError, match="no image"):
        calibrate(plain, [], CameraHeight(1.6))
    with pytest.raises(CalibrationError, match="the camera of image a is unknown"):
        calibrate(plain, [Frame("a", rgb, None, None)], CameraHeight(1.6))
    corrected = DepthPredictor.from_checkpoint("small", device="cpu", calibration=calibration)
    with pytest.raises(CalibrationError, match="has a calibration already"):
        calibrate(corrected, frames, CameraHeight(1.6))
    random = DepthPredictor.from_checkpoint("debug", device="cpu")
    with pytest.raises(CalibrationError, match="debug has random weights"):
        calibrate(random, frames, CameraHeight(1.6))
