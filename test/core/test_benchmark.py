"""The benchmark measures both formulations and says on what."""

import json

import pytest

from depthformer_core.benchmark import (
    Result,
    Timing,
    format_table,
    machine,
    run_benchmark,
    to_json,
)


def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = run_benchmark(["debug"], height=32, width=64, runs=2, device="cpu")
    assert result.preset == "debug"
    assert result.precision == "float32"
    for timing in (result.ours, result.reference):
        assert len(timing.seconds) == 2
        assert timing.minimum > 0
        # PyTorch alone takes more than this.
        assert timing.peak_memory > 50e6
    written = json.loads(to_json([result], height=32, width=64))
    assert written["results"][0]["ours_median"] == result.ours.median
    assert written["machine"] == machine()
    assert "debug" in capsys.readouterr().err


def test_table_and_ratio() -> None:
    ours, reference = Timing([2.0, 1.0, 4.0], 10**9), Timing([4.0, 3.0, 4.0], 2 * 10**9)
    result = Result("small", "float32", ours, reference)
    # The median of the ratios of the pairs, not the ratio of the medians.
    assert result.speedup == 2.0
    rows = format_table([result]).splitlines()
    assert rows[2] == "| small | float32 | ours | 2.000 | 1.000 | 1.00 | 1.00 |"
    assert rows[3] == "| small | float32 | grid_sample | 4.000 | 3.000 | 2.00 | 2.00 |"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"runs": 0}, "got 0, 352, 1216"), ({"device": "tpu"}, "got 'tpu'")],
)
def test_bad_argument_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_benchmark(["debug"], **options)  # type: ignore[arg-type]
