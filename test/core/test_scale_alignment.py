"""Alignment of relative depth to the truth."""

import math

import numpy as np
import pytest

from depthformer_core.evaluation.scale_alignment import fit_scale

RNG = np.random.default_rng(0)
TRUTH = RNG.uniform(2, 60, 500)


def test_nothing_is_changed_without_alignment():
    np.testing.assert_allclose(fit_scale(TRUTH, TRUTH[::-1], "none").apply(TRUTH), TRUTH)


@pytest.mark.parametrize("alignment", ["median", "least-squares"])
@pytest.mark.parametrize("factor", [0.01, 1.0, 37.0])
def test_a_factor_is_undone(alignment, factor):
    aligned = fit_scale(factor * TRUTH, TRUTH, alignment).apply(factor * TRUTH)
    np.testing.assert_allclose(aligned, TRUTH, rtol=1e-9)


def test_scale_and_shift_of_inverse_depth_are_undone():
    relative = 1 / (300 / TRUTH + 25)
    fit = fit_scale(relative, TRUTH, "least-squares")
    np.testing.assert_allclose(fit.apply(relative), TRUTH, rtol=1e-9)
    assert not np.allclose(fit_scale(relative, TRUTH, "median").apply(relative), TRUTH, rtol=0.1)


def test_what_lies_beyond_is_infinite():
    relative = 1 / (300 / TRUTH + 25)
    fit = fit_scale(relative, TRUTH, "least-squares")
    found = fit.apply(np.array([np.inf, np.nan]))
    assert found[0] == np.inf
    assert np.isnan(found[1])


def test_infinite_predictions_take_part():
    relative = np.append(1 / (300 / TRUTH), np.inf)
    fit = fit_scale(relative, np.append(TRUTH, 1e9), "least-squares")
    np.testing.assert_allclose(fit.apply(relative[:-1]), TRUTH, rtol=1e-6)


@pytest.mark.parametrize("alignment", ["median", "least-squares"])
@pytest.mark.parametrize("count", [0, 1])
def test_too_little_to_fit(alignment, count):
    fit = fit_scale(TRUTH[:count], TRUTH[:count], alignment)
    if alignment == "median" and count:
        assert fit.scale == 1
    else:
        assert math.isnan(fit.scale)
        assert np.isnan(fit.apply(TRUTH)).all()


def test_a_flat_prediction_fits_nothing():
    assert math.isnan(fit_scale(np.full(9, 3.0), TRUTH[:9], "least-squares").scale)
