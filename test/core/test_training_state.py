"""The file an interrupted training resumes from."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from depthformer_core import create_model
from depthformer_core.checkpoint import CheckpointError, save_checkpoint
from depthformer_core.training.optimizer import build_optimizer
from depthformer_core.training.state import Progress, load_state, save_state

KEY = "depthformer_training_state"
PROGRESS = {"iteration": 3, "steps": 1, "evaluated": 2, "best": 0.25}


def parts(preset: str = "debug") -> dict[str, object]:
    model = create_model(preset)
    optimizer = build_optimizer(model, lr=1e-3, weight_decay=0.01, betas=(0.9, 0.999))
    return {"model": model, "ema": None, "optimizer": optimizer}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    given = parts()
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    model, optimizer = given["model"], given["optimizer"]
    model.train()(image).mean().backward()
    optimizer.step()
    save_state(path, **given, progress=Progress(iteration=3, steps=1, evaluated=2, best=0.25))
    return path


def test_restores_what_was_saved(state: Path) -> None:
    given = parts()
    progress = load_state(state, **given)
    assert progress == Progress(iteration=3, steps=1, evaluated=2, best=0.25)
    with safe_open(state, framework="pt") as file:
        for name, parameter in given["model"].named_parameters():
            assert torch.equal(file.get_tensor(f"model.{name}"), parameter)
            moment = given["optimizer"].state[parameter]["exp_avg"]
            assert torch.equal(file.get_tensor(f"exp_avg.{name}"), moment)
            assert given["optimizer"].state[parameter]["step"] == 1


def test_missing_damaged_or_of_another_kind(state: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no training state at .*nothing"):
        load_state(tmp_path / "nothing", **parts())
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, create_model("debug"))
    with pytest.raises(CheckpointError, match="is no training state"):
        load_state(checkpoint, **parts())
    with pytest.raises(CheckpointError, match=r"another network or of other options: .* more"):
        load_state(state, **parts("small"))
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot read training state"):
        load_state(state, **parts())


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        '{"epoch": 3}',
        '{"iteration": -1, "steps": -1}',
        '{"iteration": 1, "steps": 2}',
        '{"iteration": "1", "steps": 1}',
        '{"iteration": 1, "steps": 1, "evaluated": 2}',
        '{"iteration": 1, "steps": 1, "best": "low"}',
    ],
)
def test_bad_metadata(metadata: str, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={KEY: metadata})
    with pytest.raises(CheckpointError, match="bad metadata"):
        load_state(path, **parts())


def test_metadata_is_readable(state: Path) -> None:
    with safe_open(state, framework="pt") as file:
        assert json.loads(file.metadata()[KEY]) == PROGRESS
