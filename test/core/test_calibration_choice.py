"""The choice of a correction by what it was not fitted to."""

import cv2
import numpy as np
import pytest

from depthformer_core.calibration.choice import choose_correction
from depthformer_core.calibration.fit import Shape, fit_correction, median_ratio, quantiles, shapes
from depthformer_core.calibration.samples import Samples, join, sample_image
from depthformer_core.errors import DepthFormerError

DEPTH = np.linspace(7, 60, 100, dtype=np.float32)


def street(rng, *, noise=0.1, size=(60, 200)):
    """Depth as streets have it, and a prediction of it with errors that neighbours share."""
    height, width = size
    rows = np.linspace(0.02, 1, height)[:, None]
    true = np.clip(6 / rows, 6, 80) * np.exp(0.2 * rng.normal(size=(1, width)))
    true = np.where(true < 80, true, 0).astype(np.float32)
    patches = cv2.resize(rng.normal(size=(6, 16)), (width, height))
    error = noise * patches + noise / 5 * rng.normal() + noise / 2 * rng.normal(size=size)
    wild = rng.random(size) < noise / 2
    error += wild * rng.normal(size=size)
    return (true * np.exp(error)).astype(np.float32), true


def drive(seed, wrong, *, images=20, noise=0.1):
    """Samples of a drive whose predictions are wrong by a function of depth."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        predicted, true = street(rng, noise=noise)
        found.append(sample_image(wrong(predicted), true, most=500, max_depth=80, rng=rng))
    return join(found, blocks=10)


def choose(samples):
    return choose_correction(samples, shapes(samples))


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(2))
def test_factor_and_offset(seed, noise):
    samples = drive(seed, lambda depth: 1.3 * depth + 0.5 * (depth > 0), noise=noise)
    choice = choose(samples)
    assert choice.taken == "factor and offset"
    assert choice.correction.apply(1.3 * DEPTH + 0.5) == pytest.approx(DEPTH, rel=0.02)
    assert choice.after.abs_rel < 0.3 * choice.before.abs_rel
    low, high = choice.after.gain
    assert 0 < low < choice.before.abs_rel - choice.after.abs_rel < high
    for (low, high), corrected in zip(choice.interval, choice.correction.corrected, strict=True):
        assert low <= corrected * 1.001
        assert corrected <= high * 1.001
        assert high - low < 0.1 * corrected


def test_one_factor():
    choice = choose(drive(0, lambda depth: 0.7 * depth))
    assert choice.taken == "one factor"
    assert choice.correction.corrected == pytest.approx((1 / 0.7,), rel=0.02)


def test_exact_ratios():
    """Without any error left, nothing is better than one factor."""
    choice = choose(drive(0, lambda depth: 2 * depth, noise=0.0))
    assert choice.taken == "one factor"
    assert choice.correction.corrected == pytest.approx((0.5,))
    assert choice.after.abs_rel == pytest.approx(0, abs=1e-6)


def test_curve():
    """Depth that hardly grows beyond 20 m."""
    samples = drive(
        0, lambda depth: np.where(depth < 20, depth, 20 + 0.3 * (depth - 20)), noise=0.02
    )
    choice = choose(samples)
    assert choice.taken == "curve"
    assert choice.after.abs_rel < 0.4 * choice.before.abs_rel
    near = DEPTH[DEPTH < 17]
    assert choice.correction.apply(near) == pytest.approx(near, rel=0.05)


@pytest.mark.slow
def test_nothing_to_correct_is_left_alone():
    taken = [choose(drive(seed, lambda depth: depth)).taken for seed in range(20)]
    assert taken.count("none") >= 19


def test_nothing_to_correct_without_noise():
    samples = drive(0, lambda depth: depth, noise=0.0)
    choice = choose(samples)
    assert choice.correction is None
    assert choice.taken == "none"
    assert all(trial.verdict for trial in choice.trials[1:])


def test_a_small_factor_may_be_of_the_drive_alone():
    choice = choose(drive(0, lambda depth: 1.04 * depth))
    assert choice.correction is None
    assert "this drive alone" in choice.trials[1].verdict


def test_what_holds_in_half_of_a_drive_alone():
    """Beyond chance in each half, and in opposite directions."""
    first, second = (
        drive(seed, lambda depth, by=by: by * depth) for seed, by in ((0, 1.3), (1, 0.77))
    )
    both = Samples(
        *(
            np.concatenate((getattr(first, name), getattr(second, name)))
            for name in ("predicted", "true", "weight")
        ),
        np.concatenate((first.block, second.block + first.blocks)),
    )
    # A curve may still help: it takes depth towards the middle, where it cannot be trusted.
    assert choose(both).taken not in ("one factor", "factor and offset")


def test_depth_that_says_nothing():
    """One factor is all that can help."""
    choice = choose(drive(0, lambda depth: np.full_like(depth, 15.0)))
    assert [trial.name for trial in choice.trials] == ["none", "one factor"]


def test_outliers_do_not_move_a_factor():
    samples = drive(0, lambda depth: 2 * depth, noise=0.0)
    wild = np.arange(len(samples.true)) % 5 == 0
    predicted = np.where(wild, 50 * samples.predicted, samples.predicted)
    spoiled = Samples(predicted, samples.true, samples.weight, samples.block)
    assert median_ratio(spoiled) == pytest.approx(0.5, rel=1e-4)
    line = fit_correction(spoiled, Shape("line", (8.0, 50.0)))
    assert line is not None
    assert line.apply(2 * DEPTH) == pytest.approx(DEPTH, rel=0.02)


def test_the_interval_is_the_same_every_time():
    samples = drive(0, lambda depth: 0.7 * depth, images=8)
    assert choose(samples) == choose(samples)


def test_samples_weigh_what_they_stand_for():
    rng = np.random.default_rng(0)
    predicted, true = street(rng)
    known = true > 0
    found = sample_image(predicted, true, most=800, max_depth=80, rng=rng)
    assert found.pixels == known.sum()
    assert len(found.true) <= 800
    assert found.weight.sum() == pytest.approx(1, rel=1e-3)
    whole = np.abs(predicted[known] / true[known] - 1).mean()
    drawn = (found.weight * np.abs(found.predicted / found.true - 1)).sum()
    assert drawn == pytest.approx(whole, rel=0.15)
    # Far pixels are few, and drawn as often as near ones.
    assert (found.true > 30).mean() > 2 * (true[known] > 30).mean()


def test_samples_without_truth_or_prediction():
    rng = np.random.default_rng(0)
    true = np.array([[0, np.inf, np.nan, 5, 90, 7]], np.float32)
    predicted = np.array([[1, 1, 1, np.nan, 1, 8]], np.float32)
    found = sample_image(predicted, true, most=10, max_depth=80, rng=rng)
    assert (found.pixels, found.true.tolist(), found.predicted.tolist()) == (1, [7], [8])
    nothing = sample_image(predicted, np.zeros_like(true), most=10, max_depth=80, rng=rng)
    assert nothing.pixels == 0
    with pytest.raises(DepthFormerError, match="no image has both"):
        join([nothing], blocks=10)


def test_blocks_are_contiguous_and_even():
    rng = np.random.default_rng(0)
    images = [sample_image(*street(rng), most=50, max_depth=80, rng=rng) for _ in range(23)]
    samples = join(images, blocks=10)
    assert (np.diff(samples.block) >= 0).all()
    assert samples.blocks == 10
    sums = np.bincount(samples.block, samples.weight)
    assert sums.min() > 1.9
    assert sums.max() < 3.1


def test_weighted_quantiles():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert quantiles(values, weights, (0.5,)) == pytest.approx([2.0])


def test_samples_must_be_positive():
    one = np.ones(1)
    with pytest.raises(DepthFormerError, match="true values"):
        Samples(one, np.zeros(1), one, np.zeros(1, np.int64))
    with pytest.raises(DepthFormerError, match="no pair"):
        Samples(*(np.empty(0) for _ in range(3)), np.empty(0, np.int64))
