"""The whole network."""

import dataclasses

import pytest
import torch

from depthformer_core import PRESETS, create_model
from depthformer_core.config import DepthFormerConfig


def image_of(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (37, 53), (64, 96)])
def test_depth_has_the_image_size_and_range(size: tuple[int, int]) -> None:
    model = create_model("debug")
    with torch.inference_mode():
        depth = model(image_of(*size))
    assert depth.shape == (1, 1, *size)
    assert depth.dtype == torch.float32
    assert depth.min() >= model.config.min_depth
    assert depth.max() <= model.config.max_depth


def test_clamping_happens_before_resizing() -> None:
    model = create_model(dataclasses.replace(PRESETS["debug"], max_depth=1.001, min_depth=1.0))
    with torch.inference_mode():
        depth = model(image_of(33, 47))
    assert depth.min() >= 1.0
    assert depth.max() <= 1.0011


def test_training_has_half_resolution() -> None:
    depth = create_model("debug").train()(image_of(33, 47, batch=2))
    assert depth.shape == (2, 1, 17, 24)


def test_sigmoid_head_scales_to_max_depth() -> None:
    model = create_model(dataclasses.replace(PRESETS["debug"], head="sigmoid")).train()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(20.0)
        depth = model(image_of(32, 32, batch=2))
    torch.testing.assert_close(depth, torch.full_like(depth, 80.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(5))
def test_every_parameter_of_a_new_network_gets_a_gradient(seed: int) -> None:
    torch.manual_seed(seed)
    model = create_model("debug").train()
    model(image_of(64, 96, batch=2)).mean().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # With all attention weights and offsets equal at first, only these have no gradient yet.
    allowed = {"neck.level_embed"}
    assert set(missing) <= allowed | {
        f"neck.{part}_attention.{layer}.{kind}"
        for part in ("self", "cross")
        for layer in ("sampling_offsets", "attention_weights")
        for kind in ("weight", "bias")
    }
    assert model.head.bias.grad.item() > 0.5


def test_bfloat16_stays_close() -> None:
    torch.manual_seed(0)
    model = create_model("debug")
    image = image_of(64, 96)
    with torch.inference_mode():
        expected = model(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            depth = model(image)
    assert depth.dtype == torch.float32
    torch.testing.assert_close(depth, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape).strip("()")):
        create_model("debug")(torch.zeros(shape))


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="no preset 'huge'; there are: swin_large_kitti"):
        create_model("huge")


def uncertain(**changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    changes = {"uncertainty": True, **changes}
    return create_model(dataclasses.replace(PRESETS["debug"], **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("upsampling", ["bilinear", "convex"])
@pytest.mark.parametrize("size", [(1, 1), (37, 53)])
def test_uncertainty_has_the_size_and_range_of_the_depth(
    size: tuple[int, int], upsampling: str
) -> None:
    model = uncertain(upsampling=upsampling)
    with torch.inference_mode():
        maps = model(image_of(*size))
    assert maps.shape == (1, 2, *size)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    # A new network is wrong by about a fifth, as far as it knows.
    assert 0.05 < (maps[:, 1] / maps[:, 0]).median() < 0.8


def test_the_scale_teaches_the_depth_nothing() -> None:
    model = uncertain(head="sigmoid").train()
    maps = model(image_of(32, 32, batch=2))
    maps[:, 1].sum().backward()
    assert model.head.weight.grad[1].any()  # type: ignore[union-attr]
    assert not model.head.weight.grad[0].any()  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [1, "yes", None])
def test_uncertainty_is_a_truth_value(value: object) -> None:
    described = {**PRESETS["debug"].to_dict(), "uncertainty": value}
    with pytest.raises(ValueError, match="uncertainty has a wrong value"):
        DepthFormerConfig.from_dict(described)


def test_configurations_of_before_are_read() -> None:
    described = PRESETS["debug"].to_dict()
    del described["uncertainty"], described["hahi_query_stride"]
    config = DepthFormerConfig.from_dict(described)
    assert (config.uncertainty, config.hahi_query_stride) == (False, 1)
