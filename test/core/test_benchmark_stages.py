"""Baselines of a benchmark compute the same depth; their stages and their work add up."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from depthformer_core.benchmark.baselines import Setup, available, build, prepare
from depthformer_core.benchmark.frames import time_frame, time_stages
from depthformer_core.benchmark.roofline import count_work, measure_rates
from depthformer_core.inference.predictor import DepthPredictor

SETUP = Setup("debug", height=32, width=64, device="cpu", precision="float32")


def depth(predictor: DepthPredictor, image: np.ndarray) -> np.ndarray:
    return predictor.predict(image).depth


@pytest.mark.parametrize("preset", ["debug", "small"])
def test_all_baselines_predict_the_same(preset: str) -> None:
    setup = Setup(preset, height=8, width=64, device="cpu", precision="float32")
    baselines, _ = available(torch.device("cpu"), compiled=False)
    for first, second in pairwise(prepare(name, setup)(depth) for name in baselines):
        np.testing.assert_allclose(first, second, rtol=1e-4)


def test_the_compiled_baseline_is_there_on_request() -> None:
    assert available(torch.device("cpu"), compiled=True)[0][:2] == ["ours", "ours, compiled"]


def test_stages_add_up_to_the_frame() -> None:
    run = prepare("ours", SETUP)
    run(time_frame)

    def both(predictor: DepthPredictor, image: np.ndarray) -> tuple[float, float]:
        start = time.perf_counter()
        times = time_stages(predictor, image)
        return time.perf_counter() - start, sum(times.seconds.values())

    # The machine may stop between two stages; not always.
    assert max(stages / whole for whole, stages in (run(both) for _ in range(5))) > 0.5
    assert all(stages <= whole for whole, stages in (run(both) for _ in range(5)))


def test_what_watched_is_gone_afterwards() -> None:
    predictor = build("ours", SETUP)
    time_stages(predictor, np.zeros((32, 64, 3), np.uint8))
    for module in predictor.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_the_size_is_that_which_the_network_reads() -> None:
    run = prepare("ours", Setup("small", 352, 1216, "cpu", "float32"))
    assert run(time_stages).size == (180, 621)


def test_work_is_counted() -> None:
    work = prepare("ours", SETUP)(count_work, SETUP)
    # 7x7 pixels of three colours into four channels, at half the resolution.
    assert work.operations["convolution stem"] == 2 * 7 * 7 * 3 * 4 * 16 * 32
    # Four levels from 8x16 pixels on; both attentions take two samples a level, of eight channels.
    pixels = 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2
    corners = 4 * 4 * 2 * 8 * 4
    assert work.maps == pixels * 8 * 4
    assert work.gathered["neck: self-attention"] == pixels * corners
    assert work.gathered["neck: cross-attention"] == 16 * 32 * corners
    assert sum(work.gathered.values()) == (pixels + 16 * 32) * corners
    # Projections of values, and of queries to offsets, weights and the output.
    linear = 2 * 8 * (8 + 16 + 8 + 8)
    assert work.operations["neck: self-attention"] == pixels * linear
    assert min(work.operations.values()) > 0


def test_half_precision_gathers_half_the_bytes() -> None:
    halves = Setup("debug", height=32, width=64, device="cpu", precision="bfloat16")
    full, half = (prepare("ours", setup)(count_work, setup) for setup in (SETUP, halves))
    assert half.operations == full.operations
    assert 2 * half.maps == full.maps
    assert {stage: 2 * count for stage, count in half.gathered.items()} == full.gathered


def test_rates_are_those_of_a_computer() -> None:
    run = prepare("ours", SETUP)
    rates = run(measure_rates, run(count_work, SETUP))
    assert 1e8 < rates.operations < 1e15
    assert 1e8 < rates.bytes < 1e14
    assert rates.least_seconds(rates.operations, 0) == 1
    assert rates.least_seconds(rates.operations, 2 * rates.bytes) == 2
