"""Layers and functions that several parts of the network share."""

import pytest
import torch
from torch import nn

from depthformer_core.models.layers import InstanceNorm, join, norm_layer


def test_equals_batch_norm_in_training_on_one_image() -> None:
    torch.manual_seed(0)
    ours, batch = InstanceNorm(5), nn.BatchNorm2d(5).train()
    with torch.no_grad():
        for norm in (ours, batch):
            norm.weight.copy_(torch.arange(1.0, 6.0))
            norm.bias.copy_(torch.linspace(-1, 1, 5))
    images = 3 + 2 * torch.randn(3, 5, 7, 11)
    whole = ours(images)
    for index in range(3):
        torch.testing.assert_close(
            whole[index : index + 1], batch(images[index : index + 1]), rtol=1e-4, atol=1e-5
        )
    ours.eval()
    torch.testing.assert_close(ours(images), whole)


def test_single_pixel_is_the_bias() -> None:
    norm = InstanceNorm(4)
    nn.init.constant_(norm.bias, 0.5)
    wanted = torch.full((2, 4, 1, 1), 0.5)
    torch.testing.assert_close(norm(torch.randn(2, 4, 1, 1)), wanted, rtol=0, atol=1e-3)


def test_half_precision_stays() -> None:
    image = 100 + torch.randn(1, 4, 16, 16)
    result = InstanceNorm(4)(image.bfloat16())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(
        result.float(), InstanceNorm(4)(image.bfloat16().float()), atol=0.02, rtol=0.02
    )


def test_memory_format_does_not_matter() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(8)
    gradients = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        image = 5 + torch.randn(2, 8, 9, 13, generator=torch.Generator().manual_seed(0))
        image = image.to(memory_format=memory_format).requires_grad_()
        for learning in (True, False):
            with torch.set_grad_enabled(learning):
                result = norm(image if learning else image.detach())
            torch.testing.assert_close(
                result.std((2, 3), correction=0), torch.ones(2, 8), rtol=1e-4, atol=0
            )
        (norm(image) ** 3).sum().backward()
        gradients.append(image.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kind", "layer"), [("batch", nn.BatchNorm2d), ("image", InstanceNorm)])
def test_kinds(kind: str, layer: type) -> None:
    assert type(norm_layer(kind, 3)) is layer


def test_channels_follow_each_other() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    expected = torch.cat((first, second), dim=1)
    assert torch.equal(join((first, second)), expected)
    last = [feature.to(memory_format=torch.channels_last) for feature in (first, second)]
    assert torch.equal(join(last), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_channel_that_hardly_varies(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    image = 3 + 0.01 * torch.randn(1, 16, 94, 311)
    centred = image.double() - image.double().mean((2, 3), keepdim=True)
    wanted = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    with torch.no_grad():
        normed = InstanceNorm(16)(image.contiguous(memory_format=memory_format))
    torch.testing.assert_close(normed.double(), wanted, rtol=0, atol=1e-5)
