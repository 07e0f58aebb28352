"""`depthformer doctor` on a network."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from depthformer_core.doctor import Level
from depthformer_core.doctor.network import (
    NetworkFacts,
    SelfTest,
    describe_prediction,
    examine_network,
    gather_network,
)
from depthformer_core.presets import PRESETS

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level

NETWORK = NetworkFacts(
    checkpoint="small",
    preset="small",
    parameters=4_200_000,
    shipped=True,
    largest=80.0,
    device="cuda:0",
    precision="bfloat16",
    attention="CUDA kernel for sm_87",
    test=SelfTest(lowest=3.7, highest=72.9, abs_rel=0.12, first=0.9, second=0.02),
)


def predicted(**changes: Any) -> dict[str, Any]:
    assert NETWORK.test is not None
    return {"test": dataclasses.replace(NETWORK.test, **changes)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {}, id="all well"),
        pytest.param(
            {"device_failure": "device 'cuda:9' requested", "test": None},
            {"device": (PROBLEM, "cuda:9", "use auto")},
            id="no such device",
        ),
        pytest.param(
            {"failure": "no checkpoint at x", "test": None},
            {"checkpoint": (PROBLEM, "no checkpoint at x", "depthformer convert")},
            id="no checkpoint",
        ),
        pytest.param(
            {"trained": False, "shipped": False},
            {"checkpoint": (WARNING, "random weights", "its depth means nothing")},
            id="untrained",
        ),
        pytest.param(
            {"attention": "portable: NVRTC is not installed (pip install x)"},
            {"attention": (WARNING, "NVRTC is not installed", "slower")},
            id="no kernel",
        ),
        pytest.param(
            predicted(failure="CUDA out of memory. Tried to allocate"),
            {"self-test": (PROBLEM, "out of memory", "smaller checkpoint")},
            id="out of memory",
        ),
        pytest.param(
            predicted(failure="CUDA error: no kernel image is available"),
            {"self-test": (PROBLEM, "no kernel image", "--device cpu")},
            id="the GPU fails",
        ),
        pytest.param(
            predicted(nonfinite_count=7),
            {"self-test": (PROBLEM, "7 depths", "precision:=float32")},
            id="NaN",
        ),
        pytest.param(
            predicted(highest=90.0),
            {"self-test": (PROBLEM, "3.7 to 90.0 m, out of the network's 0 to 80 m", "report it")},
            id="out of range",
        ),
        pytest.param(
            predicted(highest=math.inf),
            {"self-test": (PROBLEM, "out of the network's", "report it")},
            id="infinite",
        ),
        pytest.param(
            predicted(abs_rel=0.6),
            {"self-test": (PROBLEM, "wrong by 60 %", "less than 20 %")},
            id="wrong",
        ),
        pytest.param(
            {**predicted(abs_rel=0.6), "shipped": False}, {}, id="wrong on what it never saw"
        ),
        pytest.param(
            {**predicted(lowest=10.0, highest=10.0), "shipped": False},
            {"self-test": (PROBLEM, "10.0 to 10.0 m", "died in training")},
            id="dead",
        ),
        pytest.param(
            predicted(first=42.0, second=None),
            {"self-test": (WARNING, "42.00 s a frame", "GPU")},
            id="slow",
        ),
        pytest.param(
            {"exported": True, "device_failure": "device cuda requested, but", "test": None},
            {"device": (PROBLEM, "device cuda requested", "--device cpu")},
            id="exported, no such device",
        ),
        pytest.param(
            {"exported": True, "failure": "x.onnx cannot be opened", "test": None},
            {"checkpoint": (PROBLEM, "x.onnx cannot be opened", "depthformer export")},
            id="exported, damaged",
        ),
        pytest.param(
            {"exported": True, **predicted(failure="[ONNXRuntimeError] : 1 : FAIL")},
            {"self-test": (PROBLEM, "ONNXRuntimeError", "ONNX Runtime, CUDA and driver")},
            id="exported, the GPU fails",
        ),
        pytest.param(
            {"exported": True, "precision": "float16", **predicted(nonfinite_count=7)},
            {"self-test": (PROBLEM, "7 depths", "one exported in float32")},
            id="exported, NaN",
        ),
    ],
)
def test_network(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    check_findings(examine_network(dataclasses.replace(NETWORK, **changes)), expected)


def test_a_prediction_is_described_within_the_crop() -> None:
    depth = np.full((4, 6), np.nan, np.float32)
    depth[1:, 1:5] = 2.0
    depth[2, 2] = 8.0
    truth = np.full((4, 6), 4.0, np.float32)
    truth[1] = np.inf
    test = describe_prediction(depth, truth, first=1.0, second=0.5)
    assert (test.nonfinite_count, test.lowest, test.highest) == (0, 2.0, 8.0)
    assert test.abs_rel == pytest.approx((7 * 0.5 + 1.0) / 8)
    depth[2, 3] = np.nan
    assert describe_prediction(depth, truth, first=1.0, second=None).nonfinite_count == 1
    depth[:] = np.nan
    assert describe_prediction(depth, truth, first=1.0, second=None).nonfinite_count == 24


def test_the_weights_of_the_package_pass() -> None:
    facts = gather_network("small", device="cpu")
    assert facts.preset == "small"
    assert facts.shipped
    assert facts.attention.startswith("portable")
    levels = [finding.level for finding in examine_network(facts)]
    assert Level.PROBLEM not in levels


def test_a_preset_is_recognised() -> None:
    facts = gather_network("debug", device="cpu")
    assert facts.preset == "debug"
    assert not facts.trained
    assert facts.largest == PRESETS["debug"].max_depth


@pytest.mark.parametrize(
    ("checkpoint", "device", "field"),
    [
        ("/no/such.safetensors", "cpu", "failure"),
        ("small", "tpu", "device_failure"),
        ("/no/such.onnx", "cpu", "failure"),
        ("/no/such.onnx", "tpu", "device_failure"),
    ],
    ids=["no checkpoint", "no device", "exported, no checkpoint", "exported, no device"],
)
def test_what_cannot_be_loaded_is_a_fact(checkpoint: str, device: str, field: str) -> None:
    facts = gather_network(checkpoint, device=device)
    assert (checkpoint if field == "failure" else device) in getattr(facts, field)
    assert facts.test is None
