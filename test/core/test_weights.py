"""The weights that come with the package."""

import pytest
import torch
from safetensors import safe_open

from depthformer_core import PRESETS, DepthPredictor
from depthformer_core.data.synthetic import SyntheticDataset
from depthformer_core.evaluation import evaluate
from depthformer_core.evaluation.protocol import PROTOCOLS
from depthformer_core.weights import SHIPPED

# Scenes of the test part, in which no training ever looks.
HELD_OUT = range(0, 200, 12)


def test_they_see() -> None:
    predictor = DepthPredictor.from_checkpoint(device="cpu")
    dataset = SyntheticDataset(part="test")
    frames = [dataset[index] for index in HELD_OUT]
    result = evaluate(
        lambda rgb, camera: predictor.predict(rgb, camera).depth,
        frames,
        protocol=PROTOCOLS["synthetic"],
    )
    assert result.coverage == 1
    # All 200 frames of the part have a mean of 0.116, these 17 of 0.108.
    assert result.mean["abs_rel"] <= 0.115
    assert result.mean["a1"] >= 0.87


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
