"""Networks of `depthformer export`, as a predictor runs them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from calibrations import calibration_of_small
from exported_files import DAMAGED, SPREAD, linear_depth, write_exported

pytest.importorskip("onnx", reason="writes an ONNX file")
pytest.importorskip("onnxruntime", reason="runs an ONNX file")

from depthformer_core import PRESETS, DepthPredictor
from depthformer_core.calibration.calibration_file import NetworkView
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.errors import CheckpointError, DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import Rgb

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)


@pytest.fixture(scope="module")
def rgb() -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = dataclasses.replace(PRESETS["debug"], uncertainty=True)
    path = tmp_path_factory.mktemp("networks") / "linear.onnx"
    return write_exported(path, (64, 96), config=config)


@pytest.fixture(scope="module", params=["cpu", "openvino"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    return str(request.param)


def test_depth_and_uncertainty_are_the_networks(file: Path, device: str, rgb: Rgb) -> None:
    predictor = DepthPredictor.from_checkpoint(file, device=device, crop="none")
    prediction = predictor.predict(rgb)
    np.testing.assert_allclose(prediction.depth, linear_depth(rgb), rtol=1e-5)
    assert prediction.uncertainty is not None
    np.testing.assert_allclose(prediction.uncertainty, SPREAD * prediction.depth, rtol=1e-5)
    assert (str(predictor.device), predictor.precision) == (device, "float32")
    assert predictor.trained
    assert predictor.network.parameter_count == 3
    assert predictor.weights_sha256 == "0" * 64


def test_flip_and_rotate(file: Path, rgb: Rgb) -> None:
    """Of a network that looks at each pixel alone, both change nothing."""
    for rotate in (0, 180):
        predictor = DepthPredictor.from_checkpoint(file, crop="none", flip=True, rotate=rotate)
        depth = predictor.predict(rgb, CAMERA).depth
        np.testing.assert_allclose(depth, linear_depth(rgb), rtol=1e-5)
    sideways = np.ascontiguousarray(np.rot90(rgb))
    predictor = DepthPredictor.from_checkpoint(file, crop="none", rotate=90)
    np.testing.assert_allclose(predictor.predict(sideways).depth, linear_depth(sideways), rtol=1e-5)


def test_several_threads_share_it(file: Path, rgb: Rgb) -> None:
    predictor = DepthPredictor.from_checkpoint(file, crop="none")
    images = [np.roll(rgb, shift, axis=0) for shift in range(8)]
    with predictor.network.workers(4) as executor:
        depths = list(executor.map(predictor.predict_depth, images))
    for image, depth in zip(images, depths, strict=True):
        np.testing.assert_allclose(depth, linear_depth(image), rtol=1e-5)


def test_a_calibration_is_of_the_weights(file: Path, rgb: Rgb) -> None:
    view = NetworkView(crop="none", focal="none", flip=False, rotate=0)
    made = calibration_of_small(
        DepthCorrection.factor(0.5), CAMERA, checkpoint="linear", sha256="0" * 64, view=view
    )
    predictor = DepthPredictor.from_checkpoint(file, crop="none", calibration=made)
    depth = predictor.predict(rgb, CAMERA).depth
    np.testing.assert_allclose(depth, 0.5 * linear_depth(rgb), rtol=1e-4)
    other = dataclasses.replace(made, sha256="1" * 64)
    with pytest.raises(DepthFormerError, match="checkpoint"):
        DepthPredictor.from_checkpoint(file, crop="none", calibration=other)


def test_it_reads_one_size(file: Path) -> None:
    predictor = DepthPredictor.from_checkpoint(file, crop="none")
    predictor.check_camera(CAMERA)
    wide = Camera(128, 64, 80.0, 81.0, 63.0, 33.0)
    for refuse in (
        lambda: predictor.check_camera(wide),
        lambda: predictor.predict(np.zeros((64, 128, 3), np.uint8), wide),
    ):
        with pytest.raises(DepthFormerError, match="reads images of 96x64 pixels alone") as caught:
            refuse()
        assert "--size 64 128" in str(caught.value)


def test_options_it_cannot_have(file: Path) -> None:
    with pytest.raises(DepthFormerError, match="computes in float32, precision bfloat16"):
        DepthPredictor.from_checkpoint(file, precision="bfloat16")
    with pytest.raises(DepthFormerError, match="compile must be false"):
        DepthPredictor.from_checkpoint(file, compile=True)
    with pytest.raises(DepthFormerError, match="got 'tpu'"):
        DepthPredictor.from_checkpoint(file, device="tpu")
    with pytest.raises(DepthFormerError, match="is exported: it has no model of PyTorch"):
        _ = DepthPredictor.from_checkpoint(file).model


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_one_line(kind: str, device: str, tmp_path: Path) -> None:
    make, reason = DAMAGED[kind]
    path = make(tmp_path)

    def use() -> None:
        network = DepthPredictor.from_checkpoint(path, device=device).network
        assert network.size is not None
        network.run(np.zeros((*network.size, 3), np.uint8))

    with pytest.raises(CheckpointError) as caught:
        use()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
