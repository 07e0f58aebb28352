"""Learnt upsampling keeps edges, and invents no depth."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core import PRESETS, create_model
from depthformer_core.models.upsampling import ConvexUpsampling
from depthformer_core.training.losses import log_l1_loss

DIM = 4


def test_it_starts_as_bilinear_interpolation() -> None:
    depth = torch.rand(2, 1, 7, 9) * 50
    fine = ConvexUpsampling(DIM)(depth, torch.randn(2, DIM, 7, 9))
    # Fine pixel 2i is coarse pixel i; the last one has no next.
    expected = F.interpolate(depth, size=(13, 17), mode="bilinear", align_corners=True)
    assert (fine[:, :, :-1, :-1] - expected).abs().mean() < 0.03 * depth.std()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(1, 6), width=st.integers(1, 6))
def test_no_pixel_leaves_the_range_of_its_neighbours(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    upsampling = ConvexUpsampling(DIM)
    with torch.no_grad():
        for parameter in upsampling.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=generator))
        depth = 80 * torch.rand(1, 1, height, width, generator=generator)
        fine = upsampling(depth, torch.randn(1, DIM, height, width, generator=generator))
    assert fine.shape == (1, 1, 2 * height, 2 * width)
    around = F.pad(depth, (1, 1, 1, 1), mode="replicate")
    for bound, sign in ((F.max_pool2d(around, 3, stride=1), 1), (F.max_pool2d(-around, 3, 1), -1)):
        assert (sign * fine <= bound.repeat_interleave(2, 2).repeat_interleave(2, 3) + 1e-4).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (37, 53), (64, 96)])
def test_a_network_has_it(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = create_model(dataclasses.replace(PRESETS["debug"], upsampling="convex"))
    image = torch.randn(1, 3, *size)
    with torch.inference_mode():
        depth = model(image)
    assert depth.shape == (1, 1, *size)
    assert depth.dtype == torch.float32
    assert depth.min() >= model.config.min_depth
    assert depth.max() <= model.config.max_depth
    # Training sees every pixel of it.
    assert model.train()(image.expand(2, -1, -1, -1)).shape == (2, 1, *size)


def test_it_learns_an_edge_that_interpolation_blurs() -> None:
    """A step between two coarse pixels, decided by the feature: on which side is the fine pixel?"""
    torch.manual_seed(0)
    truth = torch.full((1, 1, 8, 16), 10.0)
    truth[..., 7:] = 40.0
    coarse = truth[..., ::2, ::2]  # 10 m up to fine column 6, so 7 lies between 10 and 40
    feature = torch.randn(1, DIM, 4, 8).relu() + coarse / 10
    upsampling = ConvexUpsampling(DIM)
    before = log_l1_loss(upsampling(coarse, feature), truth).item()
    optimizer = torch.optim.Adam(upsampling.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        log_l1_loss(upsampling(coarse, feature), truth).backward()
        optimizer.step()
    after = log_l1_loss(upsampling(coarse, feature), truth).item()
    bilinear = log_l1_loss(coarse, truth).item()
    assert after < 0.2 * min(before, bilinear)
