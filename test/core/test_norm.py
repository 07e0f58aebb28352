"""Normalisation over the pixels of an image."""

import pytest
import torch
from torch import nn

from depthformer_core.models.norm import ImageNorm, norm_layer


def test_equals_batch_norm_in_training_on_one_image() -> None:
    torch.manual_seed(0)
    ours, batch = ImageNorm(5), nn.BatchNorm2d(5).train()
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
    norm = ImageNorm(4)
    nn.init.constant_(norm.bias, 0.5)
    assert torch.equal(norm(torch.randn(2, 4, 1, 1)), torch.full((2, 4, 1, 1), 0.5))


def test_half_precision_stays() -> None:
    image = 100 + torch.randn(1, 4, 16, 16)
    result = ImageNorm(4)(image.bfloat16())
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(
        result.float(), ImageNorm(4)(image.bfloat16().float()), atol=0.02, rtol=0.02
    )


@pytest.mark.parametrize(("kind", "layer"), [("batch", nn.BatchNorm2d), ("image", ImageNorm)])
def test_kinds(kind: str, layer: type) -> None:
    assert type(norm_layer(kind, 3)) is layer
