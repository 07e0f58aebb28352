"""The training loss."""

import math

import numpy as np
import pytest
import torch

from depthformer_core.training.losses import silog_loss


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


def test_a_common_factor_costs_its_share_alone() -> None:
    truth, _ = truth_and_prediction()
    truth[truth == 0] = 5.0
    assert silog_loss(truth, truth).item() == pytest.approx(0, abs=1e-6)
    loss = silog_loss(2 * truth, truth).item()
    assert loss == pytest.approx(math.sqrt(0.15) * math.log(2), rel=1e-3)


def test_pixels_without_truth_have_no_say() -> None:
    truth, prediction = truth_and_prediction()
    prediction.requires_grad_()
    loss = silog_loss(prediction, truth)
    loss.backward()
    assert prediction.grad is not None
    assert (prediction.grad[truth == 0] == 0).all()
    assert (prediction.grad[truth > 0] != 0).all()


def test_a_smaller_prediction_is_resized_to_the_truth() -> None:
    truth, _ = truth_and_prediction()
    prediction = torch.full((2, 1, 6, 8), 3.0)
    assert silog_loss(prediction, truth) == silog_loss(torch.full((2, 1, 12, 16), 3.0), truth)


def test_no_truth_is_no_number() -> None:
    _, prediction = truth_and_prediction()
    assert silog_loss(prediction, torch.zeros_like(prediction)).isnan()


def test_half_precision_is_compared_in_float32() -> None:
    truth, prediction = truth_and_prediction()
    half = silog_loss(prediction.bfloat16(), truth)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(silog_loss(prediction, truth).item(), rel=1e-2)
