"""Selection of the pixels that become points."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.cloud import CloudOptions, cloud_depth
from depthformer_core.geometry.flying_pixels import flying_pixels
from depthformer_core.types import FloatArray

NAN, INF = np.float32(np.nan), np.float32(np.inf)
FAR = 20.0
CLEARING = CloudOptions(clearing=True)


def row(*values: float) -> FloatArray:
    return np.array([values], np.float32)


def same(found: FloatArray, *values: float) -> None:
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, row(*values))


def test_depth_without_gaps_is_not_copied() -> None:
    depth = row(3, 3, 20)
    for options in (CloudOptions(), CloudOptions(3, 0.0), CLEARING):
        assert cloud_depth(depth, options, max_depth=FAR) is depth
    flat = row(3, 3, 3)
    assert cloud_depth(flat, CloudOptions(1, 0.05), max_depth=FAR) is flat
    sure = CloudOptions(max_uncertainty=0.5)
    assert cloud_depth(flat, sure, max_depth=FAR, uncertainty=row(1, 1, 1)) is flat


def test_what_is_no_depth_is_no_point() -> None:
    depth = row(3, NAN, INF, -INF, 0, -1, 20, 20.1)
    before = depth.copy()
    same(cloud_depth(depth, CloudOptions(), max_depth=FAR), 3, *5 * [NAN], 20, NAN)
    endless = cloud_depth(depth, CloudOptions(), max_depth=math.inf)
    same(endless, 3, *5 * [NAN], 20, np.float32(20.1))
    np.testing.assert_array_equal(depth, before)


def test_clearing_gives_rays_without_a_hit_the_largest_depth() -> None:
    depth = row(3, NAN, INF, -INF, 0, -1, 20, 20.1)
    before = depth.copy()
    same(cloud_depth(depth, CLEARING, max_depth=FAR), 3, NAN, 20, NAN, NAN, NAN, 20, 20)
    np.testing.assert_array_equal(depth, before)


def test_clearing_ends_beside_a_surface() -> None:
    """The edge of the surface is blurred over the neighbouring ray."""
    options = CloudOptions(edge_filter=0.1, clearing=True)
    same(cloud_depth(row(5, 5, INF, INF), options, max_depth=FAR), 5, 5, NAN, 20)
    # A surface that reaches the largest depth ends nowhere.
    same(cloud_depth(row(19, 19.5, INF, INF), options, max_depth=FAR), 19, 19.5, 20, 20)
    # Pixels in flight clear nothing either.
    same(cloud_depth(row(5, 5, 9, INF, INF), options, max_depth=FAR), 5, NAN, NAN, NAN, 20)
    same(cloud_depth(row(NAN, INF, -INF, INF), options, max_depth=FAR), NAN, 20, NAN, 20)


def test_uncertain_pixels_are_no_points() -> None:
    options = CloudOptions(max_uncertainty=0.1)
    depth, uncertainty = row(10, 10, 10, 5, NAN), row(1, 1.1, NAN, 1, 0)
    found = cloud_depth(depth, options, max_depth=FAR, uncertainty=uncertainty)
    same(found, 10, NAN, NAN, NAN, NAN)


def test_uncertain_rays_clear_nothing() -> None:
    options = CloudOptions(clearing=True, max_uncertainty=0.1)
    depth, uncertainty = row(80, 80, 80, INF, INF), row(7, 9, NAN, 50, NAN)
    found = cloud_depth(depth, options, max_depth=FAR, uncertainty=uncertainty)
    same(found, 20, NAN, NAN, 20, NAN)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 70),
    width=st.integers(1, 9),
    edge_filter=st.sampled_from([0.0, 0.05, 1.0]),
    clearing=st.booleans(),
    max_uncertainty=st.sampled_from([0.0, 0.1]),
)
def test_each_pixel_by_its_definition(
    seed: int, height: int, width: int, edge_filter: float, clearing: bool, max_uncertainty: float
) -> None:
    random = np.random.default_rng(seed)
    depth = random.uniform(0.5, 1.5 * FAR, (height, width)).astype(np.float32)
    kind = random.random(depth.shape)
    for share, value in ((0.4, INF), (0.2, NAN), (0.1, -INF)):
        depth[kind < share] = value
    uncertainty = (0.2 * random.random(depth.shape) * np.minimum(depth, 100)).astype(np.float32)
    options = CloudOptions(1, edge_filter, clearing, max_uncertainty)
    found = cloud_depth(depth, options, max_depth=FAR, uncertainty=uncertainty)

    marked = np.where(depth > FAR, INF, depth)
    ends = np.where(depth > FAR, np.float32(FAR), depth)
    hit = np.isfinite(marked)
    miss = np.isposinf(marked) & clearing
    if edge_filter:
        hit &= ~flying_pixels(marked, jump=edge_filter)
        miss &= ~flying_pixels(ends, jump=edge_filter)
    if max_uncertainty:
        certain = uncertainty <= np.float32(max_uncertainty) * depth
        hit, miss = hit & certain, miss & certain
    wanted = np.where(hit, depth, np.where(miss, np.float32(FAR), NAN))
    np.testing.assert_array_equal(found, wanted)
    # Points of hits are those without clearing, and nothing else changes them.
    plain = CloudOptions(1, edge_filter, max_uncertainty=max_uncertainty)
    unclear = cloud_depth(depth, plain, max_depth=FAR, uncertainty=uncertainty)
    np.testing.assert_array_equal(np.where(miss, NAN, found), unclear)


@pytest.mark.parametrize(
    ("depth", "options", "max_depth", "uncertainty", "message"),
    [
        (np.ones((2, 2, 1), np.float32), CloudOptions(), FAR, None, r"shape \(H, W\), got"),
        (row(1), CloudOptions(), 0.0, None, "maximum depth must be positive, got 0"),
        (row(1), CloudOptions(), math.nan, None, "maximum depth must be positive, got nan"),
        (row(1), CLEARING, math.inf, None, "clearing needs a maximum depth, got infinity"),
        (row(1), CloudOptions(max_uncertainty=0.2), FAR, None, "0.2 needs an uncertainty"),
        (row(1), CloudOptions(max_uncertainty=0.2), FAR, row(1, 2), r"shape \(1, 1\), got \(1, 2"),
    ],
)
def test_what_makes_no_sense_is_refused(
    depth: FloatArray,
    options: CloudOptions,
    max_depth: float,
    uncertainty: FloatArray | None,
    message: str,
) -> None:
    with pytest.raises(DepthFormerError, match=message):
        cloud_depth(depth, options, max_depth=max_depth, uncertainty=uncertainty)
