import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.soak import main
from depthformer_ros.load.soak_report import MEMORY_LIMIT

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(900)
def test_two_minutes(start_process: Callable[..., Any], tmp_path: Path) -> None:
    process = start_process(
        "depthformer_ros.load.soak",
        *("--output", str(tmp_path), "--minutes", "2", "--every", "5", "--width", "414"),
        *("checkpoint:=small", "device:=cpu"),
    )
    code = process.wait(800)
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report.keys() == {
        *("minutes", "rate", "parameters", "exit_code", "stages", "verdict", "samples")
    }
    assert (report["rate"], report["exit_code"]) == (10.0, 0)
    verdict = report["verdict"]
    assert verdict.keys() == {"memory_drift", "latency_drift", "machine_drift", "problems"}
    # The latency depends on the load of the machine.
    assert code == bool(verdict["problems"]), process.log
    assert verdict["memory_drift"] < MEMORY_LIMIT
    assert len(report["samples"]) == 24
    first, last = report["samples"][0], report["samples"][-1]
    # The newest message may be on its way.
    assert last["missed"] <= 1
    assert last["sent"] > 600
    assert first["answered"] < last["answered"] <= last["sent"]
    assert last["memory"] > 10**8
    assert 0 < last["machine"] < 1
    assert 0 < last["p50"] <= last["p95"] <= last["p99"]
    assert report["stages"]["publish p50"] > 0
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_a_node_that_ends_is_reported(start_process: Callable[..., Any], tmp_path: Path) -> None:
    process = start_process(
        "depthformer_ros.load.soak",
        *("--output", str(tmp_path), "--width", "96", "checkpoint:=debug", "points.stride:=0"),
    )
    assert process.wait() == 1
    assert "soak: the node ended with exit code 1" in process.log
    assert "points.stride" in process.log
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_ends_its_node(
    start_process: Callable[..., Any], tmp_path: Path
) -> None:
    process = start_process(
        "depthformer_ros.load.soak",
        *("--output", str(tmp_path), "--width", "96", "--every", "1", "checkpoint:=debug"),
    )
    process.wait_for_log("0.0 min")
    assert process.stop(signal.SIGINT) == 130
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--minutes", "0"], "--minutes: must be positive"),
        (["--rate", "nan"], "--rate: must be positive"),
        (["--minutes", "0.1", "--every", "10"], "--every is longer than the run"),
        (["--width", "3"], "--width: must be at least 32"),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capfd.readouterr().err
