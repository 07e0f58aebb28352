"""The weights that a training starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from depthformer_core.checkpoint import load_checkpoint, save_checkpoint
from depthformer_core.models import create_model
from depthformer_core.training import training_preset
from depthformer_core.training.start import start_network
from depthformer_core.weights import SHIPPED


def test_shipped_weights_are_a_start() -> None:
    config = replace(training_preset("small"), weights="small")
    started = start_network(config).state_dict()
    shipped = load_checkpoint(SHIPPED["small"]).state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in shipped.items())


def test_weights_without_uncertainty_are_a_start_for_it(tmp_path: Path) -> None:
    config = training_preset("debug")
    before = create_model(config.model)
    save_checkpoint(tmp_path / "before.safetensors", before)
    model = replace(config.model, uncertainty=True, hahi_query_stride=2)
    network = start_network(
        replace(config, model=model, weights=str(tmp_path / "before.safetensors"))
    )
    assert torch.equal(network.head.weight[:1], before.head.weight)
    assert network.head.weight.shape[0] == 2
    assert torch.equal(network.stem.conv.weight, before.stem.conv.weight)
    save_checkpoint(tmp_path / "after.safetensors", network)
    with pytest.raises(ValueError, match="uncertainty is True, wanted False"):
        start_network(replace(config, weights=str(tmp_path / "after.safetensors")))
