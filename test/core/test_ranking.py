"""Sources ranked on the same images."""

import math

import numpy as np
import pytest

from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.evaluation.ranking import pair_differences, rank_sources


def rows(errors):
    return [{"file": str(place), **dict.fromkeys(METRICS, error)}
            for place, error in enumerate(errors)]  # fmt: skip


def ranks(metric="abs_rel", **sources):
    return rank_sources(
        pair_differences({name: rows(errors) for name, errors in sources.items()}), metric=metric
    )


HARD = np.random.default_rng(1).uniform(0.05, 0.3, 60)
"""Errors of images, some of which are hard for every source."""


def test_small_differences_on_the_same_images_are_found():
    found = ranks(worst=HARD + 0.02, best=HARD, middle=HARD + 0.01)
    assert [(rank.name, rank.place) for rank in found] == [("best", 1), ("middle", 2), ("worst", 3)]
    assert found[1].difference == pytest.approx(0.01)
    assert found[2].worse_than == ["best", "middle"]
    # Each mean alone is far less certain than their difference.
    low, high = found[1].difference_interval
    assert high - low < 0.2 * (found[1].interval[1] - found[1].interval[0])


def test_sources_that_chance_may_part_share_a_place():
    noise = np.random.default_rng(2).normal(0, 0.05, 60)
    found = ranks(one=HARD, other=HARD + noise - noise.mean() + 0.001, far=HARD + 0.2)
    assert [rank.place for rank in found] == [1, 1, 3]
    assert found[1].worse_than == []


def test_higher_is_better_for_shares():
    assert [rank.name for rank in ranks("a1", low=HARD, high=HARD + 0.1)] == ["high", "low"]


def test_images_without_a_value_are_left_out():
    holes = HARD.copy()
    holes[::2] = math.nan
    found = ranks(holes=holes, other=HARD + 0.01)
    assert [rank.name for rank in found] == ["holes", "other"]
    assert found[1].mean == pytest.approx((HARD[1::2] + 0.01).mean())


def test_few_images_are_put_in_order_and_no_more():
    found = ranks(worse=HARD[:5] + 0.1, better=HARD[:5])
    assert [(rank.name, rank.place) for rank in found] == [("better", 1), ("worse", 1)]


def test_a_source_without_any_value_is_last():
    found = ranks(nothing=np.full(60, math.nan), other=HARD)
    # Compared on the images that both have, which are none.
    assert all(math.isnan(rank.mean) for rank in found)
