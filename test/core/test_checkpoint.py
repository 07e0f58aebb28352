"""Checkpoints: written whole, read strictly, the release's converted or refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from depthformer_core import PRESETS, create_model
from depthformer_core.checkpoint import (
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from depthformer_core.models import DepthFormer


@pytest.fixture
def model() -> DepthFormer:
    torch.manual_seed(1)
    return create_model("debug")


@pytest.mark.parametrize("preset", ["debug", "small"])
def test_save_and_load_round_trip(preset: str, tmp_path: Path) -> None:
    model = create_model(preset)
    path = tmp_path / "new" / "model.safetensors"
    save_checkpoint(path, model)
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert list(path.parent.iterdir()) == [path]


def test_half_precision_files_load_as_float32(model: DepthFormer, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    state = {
        name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()
    }
    save_file(state, path, {"depthformer_config": json.dumps(model.config.to_dict())})
    weights = load_checkpoint(path).state_dict()
    assert {t.dtype for t in weights.values()} == {torch.float32, torch.int64}


def test_failed_write_keeps_the_old_file(
    model: DepthFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model)
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("depthformer_core.checkpoint.safetensors_file.save_file", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, create_model("debug"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def write(path: Path, state: dict[str, torch.Tensor], config: object) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(state, path, {"depthformer_config": text})
    return path


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    model = create_model("debug")
    state = model.state_dict()
    config = model.config.to_dict()
    whole = folder / "whole.safetensors"
    save_checkpoint(whole, model)
    truncated = folder / "truncated.safetensors"
    truncated.write_bytes(whole.read_bytes()[:-100])
    empty = folder / "empty.safetensors"
    empty.touch()
    text = folder / "text.safetensors"
    text.write_text("not a checkpoint at all" * 10)
    other = folder / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    torch_file = folder / "model.pth"
    torch.save(state, torch_file)
    without = {name: tensor for name, tensor in state.items() if name != "head.bias"}
    huge = {**config, "embed_dim": 2**20, "hahi_dim": 2**20}
    return {
        "missing": (folder / "nothing.safetensors", "no checkpoint at"),
        "folder": (folder, "no checkpoint at"),
        "truncated": (truncated, "cannot read checkpoint"),
        "empty": (empty, "cannot read checkpoint"),
        "text": (text, "cannot read checkpoint"),
        "other network": (other, "no DepthFormer checkpoint"),
        "pytorch file": (torch_file, "this is no DepthFormer"),
        "bad json": (write(folder / "json.safetensors", state, "{"), "bad configuration"),
        "bad config": (
            write(folder / "config.safetensors", state, {**config, "depths": [1]}),
            "depths must be 4 positive integers",
        ),
        "missing tensor": (
            write(folder / "without.safetensors", without, config),
            "missing tensor head.bias",
        ),
        "unknown tensor": (
            write(folder / "more.safetensors", {**state, "tail": torch.zeros(1)}, config),
            "unknown tensor tail",
        ),
        "misshapen tensor": (
            write(folder / "shape.safetensors", {**state, "head.bias": torch.zeros(2)}, config),
            r"head.bias has shape \(2,\), this network's is \(1,\)",
        ),
        "other architecture": (
            write(folder / "arch.safetensors", state, PRESETS["small"].to_dict()),
            "has shape",
        ),
        # Refused before any memory is taken for what it claims to be.
        "huge claim": (write(folder / "huge.safetensors", state, huge), "has shape"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing",
        "folder",
        "truncated",
        "empty",
        "text",
        "other network",
        "pytorch file",
        "bad json",
        "bad config",
        "missing tensor",
        "unknown tensor",
        "misshapen tensor",
        "other architecture",
        "huge claim",
    ],
)
def test_bad_file_is_one_clear_error(case: str, tmp_path: Path) -> None:
    path, message = bad_files(tmp_path)[case]
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", [{"head": "sigmoid"}, {"upsampling": "convex"}])
def test_another_end_survives_a_checkpoint(choice: dict[str, Any], tmp_path: Path) -> None:
    model = create_model(dataclasses.replace(PRESETS["debug"], **choice))
    save_checkpoint(tmp_path / "model.safetensors", model)
    assert load_checkpoint(tmp_path / "model.safetensors").config == model.config


def test_half_precision_halves_the_file(model: DepthFormer, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(whole, model)
    save_checkpoint(half, model, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = load_checkpoint(half)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        back = loaded.state_dict()[name]
        assert back.dtype == tensor.dtype
        torch.testing.assert_close(back, tensor, rtol=1e-3, atol=1e-7)


def test_weight_that_float16_cannot_hold_is_named(model: DepthFormer, tmp_path: Path) -> None:
    with torch.no_grad():
        model.head.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"head\.weight has values that float16 cannot hold"):
        save_checkpoint(tmp_path / "half.safetensors", model, half=True)
    assert list(tmp_path.iterdir()) == []
