"""The benchmark measures every baseline, whole and by stages, and describes the machine."""

import importlib.util
import json

import pytest
from tqdm import tqdm

from depthformer_core.benchmark import (
    Result,
    format_report,
    machine,
    run_benchmark,
    to_json,
)
from depthformer_core.benchmark.baselines import CPP, GRID_SAMPLE, OURS, Setup
from depthformer_core.benchmark.frames import FrameTiming, StageTimes
from depthformer_core.benchmark.roofline import Rates, Work
from depthformer_core.benchmark.run import measure

CPP_IS_HERE = importlib.util.find_spec("torch_ms_deform_attn") is not None
STAGES = [
    "pre-processing",
    "convolution stem",
    "Swin",
    "neck: self-attention",
    "neck: cross-attention",
    "neck: rest",
    "decoder",
    "post-processing",
]


@pytest.mark.slow
def test_a_small_run() -> None:
    setup = Setup("debug", height=32, width=64, device="cpu", precision="float32")
    with tqdm(total=12, disable=True) as progress:
        result = measure(setup, [OURS, GRID_SAMPLE, CPP], turns=3, runs=2, progress=progress)
        # A rival that cannot run is left out.
        assert progress.total == (12 if CPP_IS_HERE else 9)
    baselines = [OURS, GRID_SAMPLE, *([CPP] if CPP_IS_HERE else [])]
    assert list(result.frames) == baselines
    assert result.absent == ({} if CPP_IS_HERE else {CPP: "not installed"})
    for baseline in baselines:
        assert len(result.seconds(baseline)) == 2
        assert min(result.seconds(baseline)) > 0
        # PyTorch alone takes more than this.
        assert result.peak_memory(baseline) > 50e6
    assert len(result.stages) == len(result.rates) == 2
    for times in result.stages:
        assert list(times.seconds) == STAGES
        assert min(times.seconds.values()) > 0
        assert (times.size, times.device, times.precision) == ((32, 64), "cpu", "float32")
    assert result.preset == "debug"
    assert 0 < result.share < 1


def made_up() -> Result:
    stages = dict.fromkeys(STAGES, 0.0625)
    return Result(
        preset="small",
        frames={
            OURS: [FrameTiming(2.0, 10**9), FrameTiming(1.0, 10**9), FrameTiming(4.0, 10**9)],
            GRID_SAMPLE: [
                FrameTiming(4.0, 2 * 10**9),
                FrameTiming(3.0, 10**9),
                FrameTiming(4.0, 10**9),
            ],
        },
        absent={CPP: "not installed"},
        stages=[StageTimes(stages, (180, 621), "cpu", "float32")] * 3,
        rates=[Rates(1e9, 1e9), Rates(2e9, 1e9), Rates(4e9, 1e9)],
        work=Work({"Swin": 10**8, "decoder": 10**8}, {"Swin": 0, "decoder": 2 * 10**8}, 10**6),
    )


def test_ratios_are_those_of_turns() -> None:
    result = made_up()
    # The median of the ratios of the pairs, not the ratio of the medians.
    assert result.ratio(GRID_SAMPLE) == 2.0
    assert result.ratio(OURS) == 1.0
    assert result.images_per_second(OURS) == 3 / 7
    assert result.peak_memory(GRID_SAMPLE) == 2 * 10**9


def test_the_floor_is_the_larger_of_operations_and_bytes() -> None:
    result = made_up()
    # Operations alone take 0.1, 0.05 and 0.025 s of a stage's 0.0625 s.
    assert result.stage_share("Swin") == pytest.approx(0.05 / 0.0625)
    # Bytes take 0.2 s, more than the operations.
    assert result.stage_share("decoder") == pytest.approx(0.2 / 0.0625)
    assert result.stage_share("pre-processing") == 0
    # The floors of both together, 0.3, 0.25 and 0.225 s, of frames that took 2, 1 and 4 s.
    assert result.share == pytest.approx(0.15)


def test_tables() -> None:
    lines = format_report([made_up()]).splitlines()
    assert "| small | float32 | ours | 2000 | 3960 | 0.43 | 1.00 | 1.00 |" in lines
    assert "| small | float32 | grid_sample | 4000 | 4000 | 0.27 | 2.00 | 2.00 |" in lines
    assert "- small, ms_deform_attn C++: not installed" in lines
    assert any("small reads 180x621 pixels on cpu" in line for line in lines)
    assert "| small | pre-processing | 62.5 | 62.5 | - | - | - |" in lines
    assert "| small | decoder | 62.5 | 62.5 | 0.10 | 0.20 | 320% |" in lines
    assert "| small | whole frame | 2000 | 3960 | 0.20 | 0.20 | 15% |" in lines


def test_json_holds_everything() -> None:
    written = json.loads(to_json([made_up()], height=352, width=1216))
    assert written["machine"] == machine()
    assert (written["height"], written["width"]) == (352, 1216)
    (result,) = written["results"]
    assert result["network_size"] == [180, 621]
    assert result["sides"][OURS]["seconds"] == [2.0, 1.0, 4.0]
    assert result["sides"][GRID_SAMPLE]["ratio"] == 2.0
    assert result["absent"] == {CPP: "not installed"}
    assert list(result["stages"]) == STAGES
    assert result["stages"]["decoder"]["gathered_bytes"] == 2 * 10**8
    assert result["rates"][1] == {"operations": 2e9, "bytes": 1e9}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"runs": 0}, "got 0, 352, 1216"), ({"device": "tpu"}, "got 'tpu'")],
)
def test_bad_argument_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_benchmark(["debug"], **options)  # type: ignore[arg-type]
