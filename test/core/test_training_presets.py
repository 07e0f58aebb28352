"""Training recipes and their bounds."""

from dataclasses import replace
from pathlib import Path

import pytest

from depthformer_core import PRESETS
from depthformer_core.evaluation.protocol import choose_protocol
from depthformer_core.training.config import Optimization, ValidationData
from depthformer_core.training.presets import training_preset

ROOT = Path("data")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_network_has_a_recipe(preset: str) -> None:
    config = training_preset(preset, ROOT)
    assert config.model == PRESETS[preset]
    assert config.data.root == ROOT
    indoors = config.model.max_depth == 10
    assert config.data.name == ("nyu" if indoors else "kitti_eigen")
    # `small` reads images at half of KITTI's focal length.
    outdoors = (185, 612) if preset.startswith("small") else (352, 704)
    assert config.augment.size == ((416, 544) if indoors else outdoors)
    assert config.optim.batch_size == 16
    assert config.optim.iterations == 38_400
    assert config.optim.loss == ("silog" if preset.startswith("swin") else "log_l1")


@pytest.mark.parametrize(
    ("preset", "lr"),
    [("swin_large_kitti", 1e-4), ("swin_large_nyu", 1e-4), ("swin_tiny_nyu", 6e-5)],
)
def test_recipes_of_the_release(preset: str, lr: float) -> None:
    config = training_preset(preset, ROOT)
    assert config.optim == Optimization(lr=lr, warm_up=12_800)
    assert (config.optim.weight_decay, config.optim.betas) == (0.01, (0.9, 0.999))
    assert config.optim.max_grad_norm == 35
    assert config.weights == "imagenet"


def test_evaluations_are_those_of_the_release() -> None:
    for preset in ("swin_large_kitti", "swin_large_nyu", "swin_tiny_nyu"):
        config = training_preset(preset, ROOT)
        assert config.val.flip
        assert config.val.every == (1600 if preset == "swin_tiny_nyu" else 800)
        # Its log shows BatchNorm2d, never SyncBatchNorm.
        assert not config.optim.sync_batch_norm
        assert config.augment.color == 0.5


def test_recipe_of_the_benchmark() -> None:
    config = training_preset("swin_large_kitti_benchmark", ROOT)
    assert config.model == PRESETS["swin_large_kitti"]
    assert config.data.name == "kitti_benchmark"
    assert (config.augment.color, config.augment.rotate) == (1.0, 0.5)
    protocol = choose_protocol("kitti_benchmark", **config.val.protocol_changes)
    assert (protocol.crop, protocol.mask, protocol.max_depth) == ("kitti", "garg", 88.0)


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="no preset 'swin_huge'; there are: swin_large_kitti"):
        training_preset("swin_huge", ROOT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "optim.lr must be positive, got 0"),
        ({"iterations": 0}, "optim.iterations must be positive"),
        ({"max_grad_norm": float("nan")}, "optim.max_grad_norm must be positive, got nan"),
        ({"warm_up": -1}, "optim.warm_up must not be negative, got -1"),
        ({"betas": (0.9, 1.0)}, "optim.betas must be in"),
        ({"ema_decay": 1.0}, "optim.ema_decay must be in"),
        ({"loss": "l2"}, "optim.loss must be one of silog, log_l1, got 'l2'"),
        ({"loss": "log_l1", "mean_only": 9}, "optim.mean_only belongs to the loss silog"),
        ({"batch_size": 3, "grad_accumulation_steps": 2}, "batch_size 3 cannot be shared by"),
    ],
)
def test_a_wrong_value_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimization(**options)  # type: ignore[arg-type]


def test_a_number_that_no_run_has_is_named() -> None:
    config = training_preset("debug")
    with pytest.raises(ValueError, match=r"data\.workers must not be negative, got -1"):
        replace(config.data, workers=-1)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        replace(config, seed=-1)
    with pytest.raises(ValueError, match="save_every must be positive, got 0"):
        replace(config, save_every=0)
    with pytest.raises(ValueError, match=r"val\.every must not be negative, got -1"):
        replace(config, val=ValidationData(every=-1))
