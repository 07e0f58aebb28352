"""The losses of training."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from depthformer_core.training.losses import (
    laplace_loss,
    log_l1_loss,
    silog_loss,
    training_loss,
)

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def truth_and_prediction() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, 12, 16, generator=generator) * 20
    truth[truth < 8] = 0
    prediction = torch.rand(2, 1, 12, 16, generator=generator) * 20 + 0.1
    return truth, prediction


def test_equals_the_formula() -> None:
    truth, prediction = truth_and_prediction()
    valid = truth.numpy() > 0
    g = np.log(prediction.numpy()[valid] + 1e-3) - np.log(truth.numpy()[valid] + 1e-3)
    expected = math.sqrt(g.var(ddof=1) + 0.15 * g.mean() ** 2)
    assert silog_loss(prediction, truth).item() == pytest.approx(expected, rel=1e-6)
    mean_only = silog_loss(prediction, truth, mean_only=True).item()
    assert mean_only == pytest.approx(math.sqrt(0.15) * abs(g.mean()), rel=1e-5)


def test_log_l1_equals_the_formula() -> None:
    truth, prediction = truth_and_prediction()
    means = []
    for predicted, true in zip(prediction.numpy(), truth.numpy(), strict=True):
        valid = true > 0
        g = np.log(predicted[valid] + 1e-3) - np.log(true[valid] + 1e-3)
        means.append(abs(g).mean())
    assert log_l1_loss(prediction, truth).item() == pytest.approx(np.mean(means), rel=1e-6)


def test_log_l1_counts_images_alike() -> None:
    """A few laser points weigh as much as a generated image, an image without truth nothing."""
    truth = torch.zeros(3, 1, 6, 8)
    truth[0] = 10.0
    truth[1, 0, 2, 3] = 10.0
    prediction = torch.stack([torch.full((1, 6, 8), depth) for depth in (10.0, 20.0, 99.0)])
    expected = math.log(20.001 / 10.001) / 2
    assert log_l1_loss(prediction, truth).item() == pytest.approx(expected, rel=1e-6)


def test_laplace_loss_equals_the_formula() -> None:
    truth = torch.tensor([10.0, 0.0]).view(1, 1, 1, 2)
    depth = torch.tensor([13.0, 50.0]).view(1, 1, 1, 2)
    scale = torch.tensor([2.0, 50.0]).view(1, 1, 1, 2)
    expected = 3 / 2.001 + math.log(2 * 2.001)
    assert laplace_loss(depth, scale, truth).item() == pytest.approx(expected, rel=1e-6)


def test_the_scale_is_learnt_and_the_depth_is_not_moved_by_it() -> None:
    """The best scale of Laplace errors is their mean; the depth has a loss of its own."""
    truth = torch.full((1, 1, 20, 20), 10.0)
    errors = torch.distributions.Laplace(0.0, 1.5).sample((20, 20))
    depth = (truth + errors).requires_grad_()
    logarithm = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([logarithm], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        scale = logarithm.exp().expand_as(truth)
        laplace_loss(depth, scale, truth).backward()
        optimizer.step()
    assert logarithm.exp().item() == pytest.approx(errors.abs().mean().item(), rel=0.02)
    assert depth.grad is None


def test_a_network_with_uncertainty_is_trained_with_both() -> None:
    truth, prediction = truth_and_prediction()
    alone = training_loss(prediction, truth, name="log_l1")
    assert alone.item() == log_l1_loss(prediction, truth).item()
    scale = 0.1 * prediction
    both = training_loss(torch.cat((prediction, scale), dim=1), truth, name="log_l1")
    share = (both - alone) / laplace_loss(prediction, scale, truth)
    assert share.item() == pytest.approx(0.1, rel=1e-4)


def test_a_common_factor_costs_its_share_alone() -> None:
    truth, _ = truth_and_prediction()
    truth[truth == 0] = 5.0
    assert silog_loss(truth, truth).item() == pytest.approx(0, abs=1e-6)
    loss = silog_loss(2 * truth, truth).item()
    assert loss == pytest.approx(math.sqrt(0.15) * math.log(2), rel=1e-3)


@pytest.mark.parametrize("loss_function", [silog_loss, log_l1_loss])
def test_pixels_without_truth_do_not_count(loss_function: LossFunction) -> None:
    truth, prediction = truth_and_prediction()
    prediction.requires_grad_()
    loss = loss_function(prediction, truth)
    loss.backward()
    assert prediction.grad is not None
    assert (prediction.grad[truth == 0] == 0).all()
    assert (prediction.grad[truth > 0] != 0).all()


@pytest.mark.parametrize("loss", [silog_loss, log_l1_loss])
def test_a_smaller_prediction_is_resized_to_the_truth(loss: LossFunction) -> None:
    truth, _ = truth_and_prediction()
    prediction = torch.full((2, 1, 6, 8), 3.0)
    assert loss(prediction, truth) == loss(torch.full((2, 1, 12, 16), 3.0), truth)


@pytest.mark.parametrize("loss", [silog_loss, log_l1_loss])
def test_no_truth_is_no_number(loss: LossFunction) -> None:
    _, prediction = truth_and_prediction()
    assert loss(prediction, torch.zeros_like(prediction)).isnan()


@pytest.mark.parametrize("loss", [silog_loss, log_l1_loss])
def test_half_precision_is_compared_in_float32(loss: LossFunction) -> None:
    truth, prediction = truth_and_prediction()
    half = loss(prediction.bfloat16(), truth)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(prediction, truth).item(), rel=1e-2)
