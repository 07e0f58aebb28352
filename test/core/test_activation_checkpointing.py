"""Activation checkpointing keeps less and changes nothing."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from depthformer_core.models import DepthFormer, create_model
from depthformer_core.presets import PRESETS


def make_pair() -> tuple[DepthFormer, DepthFormer]:
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS["small"], drop_path=0.5, norm="batch")
    plain = create_model(config).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing = True
    return plain, checkpointed


def train_step(model: DepthFormer, *, dtype: torch.dtype) -> tuple[Tensor, int]:
    """Loss of two images, its gradients in the model, and the bytes kept for them."""
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(2)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        loss = model(image).log().square().mean()
    loss.backward()
    return loss.detach(), sum(kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_same_step(dtype: torch.dtype) -> None:
    plain, checkpointed = make_pair()
    expected, _ = train_step(plain, dtype=dtype)
    expected_draw = torch.rand(1)
    actual, _ = train_step(checkpointed, dtype=dtype)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    # Dropout and dropped paths took the same numbers from the generator, and left it alike.
    torch.testing.assert_close(torch.rand(1), expected_draw, rtol=0, atol=0)
    for (name, parameter), twin in zip(
        plain.named_parameters(), checkpointed.parameters(), strict=True
    ):
        assert parameter.grad is not None, name
        assert twin.grad is not None, name
        torch.testing.assert_close(twin.grad, parameter.grad, rtol=1e-6, atol=1e-6, msg=name)
    statistics = dict(plain.named_buffers())
    assert any(name.endswith("num_batches_tracked") for name in statistics)
    for name, buffer in checkpointed.named_buffers():
        torch.testing.assert_close(buffer, statistics[name], rtol=0, atol=0, msg=name)


def test_the_step_is_random() -> None:
    """The values compared above would differ if a block drew other numbers."""
    plain, _ = make_pair()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert not torch.equal(plain(image), plain(image))


def test_less_is_kept() -> None:
    plain, checkpointed = make_pair()
    _, all_bytes = train_step(plain, dtype=torch.float32)
    _, fewer_bytes = train_step(checkpointed, dtype=torch.float32)
    assert fewer_bytes < all_bytes / 2


def test_off_by_default_and_without_effect_on_evaluation() -> None:
    plain, checkpointed = make_pair()
    assert not plain.activation_checkpointing
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(checkpointed.eval()(image), plain.eval()(image), rtol=0, atol=0)
