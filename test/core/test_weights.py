"""The weights that come with the package."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open

from depthformer_core import PRESETS, DepthPredictor
from depthformer_core.data.dataset import Frame
from depthformer_core.evaluation import evaluate
from depthformer_core.evaluation.protocol import PROTOCOLS, Protocol
from depthformer_core.geometry.camera import Camera
from depthformer_core.studies.other_cameras import camera_with, seen_by
from depthformer_core.synthetic import STREET_CAMERA, SyntheticDataset
from depthformer_core.types import FloatArray
from depthformer_core.weights import SHIPPED

# Scenes of the test part, which no training ever sees.
HELD_OUT = range(0, 200, 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "abs_rel", "a1"),
    # All 200 frames of the part are a tenth worse than these 17.
    [("small", 0.105, 0.90), ("small_kitti", 0.125, 0.88)],
)
def test_they_see(name: str, abs_rel: float, a1: float) -> None:
    predictor = DepthPredictor.from_checkpoint(name, device="cpu")
    dataset = SyntheticDataset(part="test")
    frames = [dataset[index] for index in HELD_OUT]
    depths: list[FloatArray] = []

    def predict(
        rgb: npt.NDArray[np.uint8], camera: Camera | None
    ) -> tuple[FloatArray, FloatArray | None]:
        prediction = predictor.predict(rgb, camera)
        depths.append(prediction.depth)
        return prediction.depth, prediction.uncertainty

    result = evaluate(predict, frames, protocol=PROTOCOLS["synthetic"])
    assert result.coverage == 1
    assert result.mean["abs_rel"] <= abs_rel
    assert result.mean["a1"] >= a1
    skies = []
    for frame, depth in zip(frames, depths, strict=True):
        assert frame.depth is not None
        skies.append(depth[np.isinf(frame.depth)])
    assert (np.concatenate(skies) < 40).mean() < 0.04
    # Of a Laplace distribution 63 and 86.5 %; what is most uncertain is most wrong.
    uncertainty = result.uncertainty
    assert uncertainty is not None
    assert 0.5 < uncertainty.within_one < 0.85
    assert 0.75 < uncertainty.within_two < 0.97
    assert uncertainty.abs_rel_without_tenth < 0.9 * uncertainty.abs_rel[0]
    assert uncertainty.ause < 0.7 * uncertainty.random_ause


@pytest.mark.slow
@pytest.mark.parametrize("focal_length", [300.0, 600.0, 1200.0, 1500.0])
def test_other_lenses_are_nearly_as_good(focal_length: float) -> None:
    predictor = DepthPredictor.from_checkpoint(device="cpu")
    camera = camera_with("lens", focal_length)
    there, own = (SyntheticDataset(part="test", camera=seen) for seen in (camera, STREET_CAMERA))
    frames = range(0, 200, 50)

    def error(shown: Sequence[Frame]) -> float:
        return evaluate(
            lambda rgb, camera: predictor.predict(rgb, camera).depth,
            shown,
            protocol=Protocol(max_depth=80.0),
        ).mean["abs_rel"]

    ratio = error([there[index] for index in frames]) / error(
        [seen_by(camera, own[index]) for index in frames]
    )
    assert ratio < 1.25


@pytest.mark.parametrize("name", SHIPPED)
def test_file(name: str) -> None:
    path = SHIPPED[name]
    assert path.stat().st_size <= 10e6
    assert path.with_suffix(".md").is_file()
    with safe_open(path, framework="pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    predictor = DepthPredictor.from_checkpoint(name, device="cpu")
    assert predictor.trained
    assert predictor.shipped
    shown, preset = predictor.config.to_dict(), PRESETS[name].to_dict()
    for training in ("drop_path", "dropout"):
        del shown[training], preset[training]
    assert shown == preset
