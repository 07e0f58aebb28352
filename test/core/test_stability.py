"""Scale, drift, flicker and delay of depth over time, as put into exact depth."""

import math
import pickle

import numpy as np
import pytest

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.stability import StabilityAccumulator
from depthformer_core.evaluation.stability_plots import plot_delay, plot_scale
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic import Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA
from depthformer_core.synthetic.rendering.render import trace

CAMERA = Camera(208, 64, 120.0, 120.0, 102.0, 29.0)
START = 1_700_000_000_000_000_000
FAST = 100  # rendered frames a second
BEHIND = 20  # frames before the first truth, for delays
RGB = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)


def depth_at(drive, frame):
    """Exact depth of a frame, without its picture."""
    view = trace(drive.scene, drive.camera, drive.pose(frame), time=frame / drive.rate)
    with np.errstate(divide="ignore"):
        return (1 / view.hits.nearness).astype(np.float32)


@pytest.fixture(scope="module")
def depths():
    """Exact depth at 0.01 s around 30 frames of 10 Hz: by hundredth."""
    drive = Drive(3, frames=320, camera=CAMERA, rate=FAST)
    wanted = {BEHIND + 10 * frame - delay for frame in range(30) for delay in (0, 3, 5, 10, 15, 20)}
    return {frame: depth_at(drive, frame) for frame in sorted(wanted)}


def comparison(truth, prediction):
    valid = np.isfinite(truth) & (truth > 0) & (truth < 80)
    prediction = np.minimum(prediction, 80).astype(np.float32)
    return Comparison("", RGB, np.where(valid, truth, 0), prediction, valid)


def networks(depth):
    """Blurred depth, near too far and far too near, and another bias in each place."""
    row, column = np.mgrid[: depth.shape[0], : depth.shape[1]]
    bias = 1 + 0.1 * np.sin(2 * np.pi * column / 208 + 1) * np.cos(np.pi * row / 64)
    depth = np.minimum(depth, 80)
    return depth * bias * (depth / 15) ** -0.08


def delayed(depths, delay, *, noise=0.0, bias=False, flicker=0.0, sparse=False, frames=30):
    """Stability of predictions that are older than their stamps by hundredths."""
    rng = np.random.default_rng(delay)
    accumulator = StabilityAccumulator()
    for frame in range(frames):
        now = BEHIND + 10 * frame
        truth, prediction = depths[now].copy(), depths[now - delay]
        if sparse:
            hit = np.zeros(truth.shape, bool)
            hit[20::2, ::2] = True
            truth[~hit | (rng.random(truth.shape) < 0.04)] = 0
        if bias:
            prediction = networks(prediction)
        jitter = noise * rng.normal(size=truth.shape) + flicker * rng.normal()
        accumulator.add(START + frame * 100_000_000, comparison(truth, prediction * np.exp(jitter)))
    return accumulator.result()


def scaled(scales, *, rate, stamps=None):
    """Stability of a flat scene with a scale for each frame."""
    truth = np.full((4, 6), 10.0, np.float32)
    accumulator = StabilityAccumulator()
    for frame, scale in enumerate(scales):
        stamp = START + round(frame / rate * 1e9) if stamps is None else stamps[frame]
        valid = np.full(truth.shape, not math.isnan(scale))
        accumulator.add(stamp, Comparison("", RGB, truth, np.float32(scale) * truth, valid))
    return accumulator.result()


@pytest.mark.parametrize("delay", [0, 3, 5, 10, 15, 20])
@pytest.mark.parametrize(
    "errors",
    [
        pytest.param({}, id="exact"),
        pytest.param({"sparse": True}, id="sparse"),
        pytest.param({"noise": 0.05, "bias": True, "flicker": 0.03}, id="network"),
        pytest.param(
            {"noise": 0.05, "bias": True, "flicker": 0.03, "sparse": True}, id="network, sparse"
        ),
    ],
)
def test_delay_is_found(depths, delay, errors):
    found = delayed(depths, delay, **errors).delay
    # Near a third of a frame the fit is weakest.
    near = 0.01 if delay % 5 == 0 else 0.02
    assert found.seconds == pytest.approx(delay / FAST, abs=near)
    assert found.interval[0] <= found.seconds <= found.interval[1]


@pytest.mark.slow
def test_delay_with_scans():
    drive = Drive(3, frames=24, camera=CAMERA)
    accumulator = StabilityAccumulator()
    for frame in range(1, 24):
        truth = scan_truth([(drive.scan(frame), VELO_TO_CAMERA)], CAMERA)
        accumulator.add(START + frame * 100_000_000, comparison(truth, depth_at(drive, frame - 1)))
    assert accumulator.result().delay.seconds == pytest.approx(0.1, abs=0.01)


def test_standing_camera_has_no_delay(depths):
    same = dict.fromkeys(range(400), depths[BEHIND])
    for errors in ({}, {"noise": 0.05}, {"noise": 0.05, "flicker": 0.03, "sparse": True}):
        found = delayed(same, 10, **errors).delay
        assert math.isnan(found.seconds)
        assert math.isnan(found.interval[0])


def test_scale_is_found(depths):
    accumulator = StabilityAccumulator()
    for frame in range(12):
        truth = depths[BEHIND + 10 * frame]
        accumulator.add(START + frame, comparison(truth, 1.2 * truth))
    assert accumulator.result().scale == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize("rate", [1, 5, 10, 30, 60])
def test_flicker_is_found(rate):
    rng = np.random.default_rng(rate)
    jitter = rng.normal(size=600)
    jitter /= jitter.std()
    signs = np.where(np.arange(600) % 2, 1, -1)
    for sigma in (0.01, 0.05):
        drifting = 1.2 * (1 + 0.2 * np.arange(600) / rate / 60)
        assert scaled(drifting * np.exp(sigma * jitter), rate=rate).flicker == pytest.approx(
            sigma, rel=0.1
        )
        assert scaled(1 + sigma * signs, rate=rate).flicker == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("rate", [10, 30])
def test_flicker_of_a_sinusoid(rate):
    seconds = np.arange(20 * rate) / rate
    for period in (0.25, 0.5, 1.0):
        scales = 1 + 0.05 * np.sin(2 * np.pi * seconds / period + 0.3)
        found = scaled(scales, rate=rate).flicker
        assert found == pytest.approx(0.05 / math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("rate", [1, 10, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("share", [-0.1, 0.1, 0.3])
@pytest.mark.parametrize("minutes", [0.5, 3])
@pytest.mark.parametrize("sigma", [0.0, 0.02])
def test_drift_is_found(rate, share, minutes, sigma):
    times = np.arange(round(60 * minutes * rate)) / rate / 60
    jitter = np.exp(sigma * np.random.default_rng(4).normal(size=len(times)))
    for course in (1 + share * times, (1 + share) ** times):
        found = scaled(1.2 * course * jitter, rate=rate)
        if sigma:
            assert found.drift_interval[0] < found.drift < found.drift_interval[1]
            assert found.drift == pytest.approx(share, abs=2 * np.ptp(found.drift_interval))
        else:
            assert found.drift == pytest.approx(share, rel=0.1)
            assert found.flicker < 0.002


def test_steady_scale_does_not_drift():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(20):
        low, high = scaled(np.exp(0.05 * rng.normal(size=200)), rate=10).drift_interval
        inside += low < 0 < high
    assert inside >= 16


def test_irregular_stamps_gaps_and_restarts():
    rng = np.random.default_rng(2)
    intervals = rng.uniform(0.08, 0.12, 400)
    intervals[150] = 20.0
    stamps = (START + np.cumsum(intervals) * 1e9).astype(np.int64).tolist()
    stamps[300:] = (np.array(stamps[300:]) - stamps[300] + START).tolist()
    scales = np.exp(0.05 * rng.normal(size=400))
    scales[37] = math.nan
    found = scaled(scales, rate=10, stamps=stamps)
    assert found.flicker == pytest.approx(0.05, rel=0.1)
    assert len(found.seconds) == len(found.scales) == 400
    assert (np.diff(found.seconds) > 0).all()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_few_frames_are_unknown(frames):
    found = scaled([1.1] * frames, rate=10)
    assert math.isnan(found.drift)
    assert math.isnan(found.flicker)
    assert math.isnan(found.delay.seconds)
    assert found.scale == pytest.approx(1.1) if frames else math.isnan(found.scale)


def test_frames_without_truth_are_unknown():
    found = scaled([math.nan] * 20, rate=10)
    for value in (found.scale, found.drift, found.flicker, found.delay.seconds):
        assert math.isnan(value)


def test_pickled_half_way(depths):
    accumulator = StabilityAccumulator()
    for frame in range(20):
        truth = depths[BEHIND + 10 * frame]
        accumulator.add(START + frame * 100_000_000, comparison(truth, truth))
        accumulator = pickle.loads(pickle.dumps(accumulator))
    assert accumulator.result().delay.seconds == pytest.approx(0, abs=0.01)


def test_plots(depths):
    found = delayed(depths, 10)
    assert plot_scale(found)[:4] == plot_delay(found.delay)[:4] == b"\x89PNG"
    empty = scaled([math.nan], rate=10)
    assert plot_scale(empty)[:4] == plot_delay(empty.delay)[:4] == b"\x89PNG"
