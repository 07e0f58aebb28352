"""Confidence intervals of means."""

import math
import time

import numpy as np
import numpy.typing as npt
import pytest

from depthformer_core.evaluation.bootstrap import mean_interval, mean_intervals


def related(seed: int, count: int, *, correlation: float) -> npt.NDArray[np.float64]:
    """Values of mean 0 that resemble their neighbours."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count)
    values[1:] *= math.sqrt(1 - correlation**2)
    for index in range(1, count):
        values[index] += correlation * values[index - 1]
    return values


@pytest.mark.parametrize(
    ("count", "correlation"),
    [(100, 0.0), (500, 0.5), (2000, 0.9)],
    ids=["unrelated", "alike", "very alike"],
)
def test_the_true_mean_lies_inside_as_often_as_promised(count: int, correlation: float) -> None:
    hits = 0
    for seed in range(120):
        low, high = mean_interval(related(seed, count, correlation=correlation).tolist())
        hits += low <= 0 <= high
    assert 0.85 < hits / 120 <= 1


def test_single_images_drawn_at_random_would_promise_too_much() -> None:
    values = related(0, 1000, correlation=0.95)
    low, high = mean_interval(values.tolist())
    shuffled = np.random.default_rng(0).permutation(values)
    naive_low, naive_high = mean_interval(shuffled.tolist())
    assert high - low > 3 * (naive_high - naive_low)


def test_unrelated_values_give_the_textbook_width() -> None:
    values = np.random.default_rng(1).normal(5, 2, 2000)
    low, high = mean_interval(values.tolist())
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / math.sqrt(2000), rel=0.1)


def test_values_that_are_missing_are_left_out() -> None:
    values = related(3, 50, correlation=0.3).tolist()
    holed = [math.nan, *values[:20], math.nan, math.nan, *values[20:]]
    assert mean_interval(holed) == mean_interval(values)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_values_tell_nothing(count: int) -> None:
    assert all(map(math.isnan, mean_interval([0.1] * count)))
    assert all(map(math.isnan, mean_interval([0.1] * count + [math.nan] * 100)))


@pytest.mark.parametrize("count", [8, 9, 100])
def test_equal_values_leave_no_doubt(count: int) -> None:
    assert mean_interval([0.1] * count) == pytest.approx((0.1, 0.1))


def test_one_step_is_no_error() -> None:
    low, high = mean_interval([0.0] * 50 + [1.0] * 50)
    assert 0 <= low < 0.5 < high <= 1


def test_intervals_by_name() -> None:
    rows = [{"file": "x", "a": value, "b": -value} for value in np.linspace(0, 1, 30).tolist()]
    intervals = mean_intervals(rows, names=("a", "b"))
    assert list(intervals) == ["a", "b"]
    assert intervals["a"] == mean_interval([row["a"] for row in rows])
    assert intervals["b"][0] == pytest.approx(-intervals["a"][1])


def test_two_thousand_images_take_no_time() -> None:
    values = np.random.default_rng(0).normal(size=2000).tolist()
    mean_interval(values)
    start = time.process_time()
    mean_interval(values)
    assert time.process_time() - start < 0.2
