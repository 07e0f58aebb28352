"""The network computes what the official release computes, from the same weights and inputs."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depthformer_core import DepthFormer, DepthPredictor
from depthformer_core.checkpoint import convert_official_state_dict
from depthformer_core.device import cudnn_flags
from depthformer_core.training.losses import silog_loss

DEPTH_TOLERANCE = 1e-3  # metres
GRADIENT_TOLERANCE = 2e-3  # relative; the order of sums changes with the number of threads


Filled = Callable[[str, str], DepthFormer]

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def assert_statistics(features: list[torch.Tensor], recorded: list[dict[str, Any]]) -> None:
    assert len(features) == len(recorded)
    for feature, expected in zip(features, recorded, strict=True):
        assert list(feature.shape) == expected["shape"]
        assert feature.mean().item() == pytest.approx(expected["mean"], rel=1e-4, abs=1e-5)
        assert feature.std().item() == pytest.approx(expected["std"], rel=1e-4)
        first = feature.flatten()[: len(expected["first"])].tolist()
        assert first == pytest.approx(expected["first"], abs=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", ["swint_nyu", "swint_nyu_odd"])
def test_forward_equals_the_release(
    case: str, device: str, parity: Path, fill: ModuleType, filled: Filled
) -> None:
    recorded = json.loads((parity / f"{case}.json").read_text())
    model = filled(case, "swin_tiny_nyu").to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters / 1e6 == pytest.approx(recorded["params_millions"], abs=1e-6)

    image = torch.from_numpy(fill.image(**recorded["input"])).to(device)
    exact = cudnn_flags(torch.device(device), allow_tf32=False)
    with torch.inference_mode(), exact:
        branches = [model.stem(image), *model.swin(image)]
        assert_statistics(branches, recorded["backbone"])
        enhanced = model.neck(branches)
        assert_statistics(enhanced, recorded["neck"])
        raw = model.head_depth(model.decoder(enhanced))
        raw = raw.clamp(recorded["min_depth"], recorded["max_depth"])
        depth = model(image)
    with np.load(parity / f"{case}.npz") as arrays:
        raw, depth = raw.cpu(), depth.cpu()
        np.testing.assert_allclose(raw.numpy(), arrays["raw"], rtol=0, atol=DEPTH_TOLERANCE)
        np.testing.assert_allclose(depth.numpy(), arrays["depth"], rtol=0, atol=DEPTH_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_every_gradient_equals_the_release(
    device: str, parity: Path, fill: ModuleType, filled: Filled
) -> None:
    recorded = json.loads((parity / "swint_training_step.json").read_text())
    model = filled("swint_nyu", "swin_tiny_nyu").to(device).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    inputs = recorded["input"]
    size = (inputs["height"], inputs["width"])
    image = np.concatenate([fill.image(seed, *size) for seed in inputs["image_seeds"]])
    rng = np.random.default_rng(inputs["depth_seed"])
    truth = rng.uniform(0.5, 9.5, (2, 1, *size)).astype(np.float32)
    truth *= rng.uniform(size=(2, 1, *size)) < 0.3

    with cudnn_flags(torch.device(device), allow_tf32=False):
        prediction = model(torch.from_numpy(image).to(device))
        loss = silog_loss(prediction, torch.from_numpy(truth).to(device))
        loss.backward()
    assert loss.item() == pytest.approx(recorded["loss"], rel=1e-5)

    norms = {
        name: parameter.grad.norm().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    official_names = json.loads((parity / "swint_nyu.json").read_text())["state_dict"]
    model.cpu()
    ours = {
        name: official_to_ours(name, official_names, model) for name in recorded["gradient_norms"]
    }
    assert sorted(ours.values()) == sorted(norms)
    total = recorded["gradient_norm_total"]
    for official, name in ours.items():
        expected = recorded["gradient_norms"][official]
        # Before a BatchNorm a bias has no gradient: 1e-10 there and here is rounding.
        assert norms[name] == pytest.approx(expected, rel=GRADIENT_TOLERANCE, abs=1e-8), official
    assert np.linalg.norm(list(norms.values())) == pytest.approx(total, rel=GRADIENT_TOLERANCE)


def official_to_ours(name: str, names: dict[str, list[int]], model: DepthFormer) -> str:
    """Our name of one official tensor: the one that receives what is marked there."""
    marked = {
        key: torch.full(shape, float(key == name))
        for key, shape in names.items()
        if not key.endswith("relative_position_index")
    }
    converted = convert_official_state_dict(marked, model)
    (ours,) = (key for key, tensor in converted.items() if tensor.any())
    return ours


@pytest.mark.slow
def test_flipped_kitti_depth_equals_the_release(
    parity: Path, samples: Path, filled: Filled
) -> None:
    recorded = json.loads((parity / "kitti_metrics.json").read_text())["swint_flip_garg"]
    model = filled("swint_nyu", "swin_tiny_kitti")
    predictor = DepthPredictor(model, device="cpu", precision="float32", flip=True)
    with np.load(parity / "kitti_depth.npz") as arrays:
        expected = [arrays[name] for name in arrays.files]
    assert len(expected) == len(recorded["per_image"]) == 2
    for depth, row in zip(expected, recorded["per_image"], strict=True):
        image = cv2.imread(str(samples / "kitti_raw" / row["file"]))
        assert image is not None
        prediction = predictor.predict(np.ascontiguousarray(image[..., ::-1]))
        window = prediction.depth[prediction.valid].reshape(352, 1216)
        np.testing.assert_allclose(window, depth.squeeze(), rtol=0, atol=DEPTH_TOLERANCE)
        gc.collect()
