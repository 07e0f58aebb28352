import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.stress import main

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(600)
def test_each_case_is_compared_with_quiet(start_process: Callable[..., Any]) -> None:
    process = start_process(
        "depthformer_ros.load.stress",
        *("--seconds", "2", "--rate", "10", "--width", "96", "checkpoint:=debug", "device:=cpu"),
    )
    code = process.wait(500)
    cases = ["a subscriber that never reads", "ten subscribers", "100 images a second"]
    pair = r" +\d+ -> \d+ +([\d.]+)"
    rows = re.findall(rf"^({'|'.join(cases)}){pair}{pair}$", process.log, re.MULTILINE)
    assert [name for name, *_ in rows] == cases, process.log
    ratios = [float(ratio) for _, *both in rows for ratio in both]
    assert min(ratios) > 0
    # The latency depends on the load of the machine; the test checks only that it is judged.
    problems = re.findall(r"p(?:50|99) is over 1.5 times the quiet one$", process.log, re.MULTILINE)
    assert code == bool(problems), process.log
    over = sum(ratio > 1.505 for ratio in ratios)
    assert over <= len(problems) <= sum(ratio > 1.495 for ratio in ratios), process.log


def test_a_node_that_ends_is_reported(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.stress", "checkpoint:=debug", "points.stride:=0")
    assert process.wait() == 1
    assert "stress: the node ended with exit code 1" in process.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "0"], "--seconds: must be positive"),
        (["--rate", "nan"], "--rate: must be positive"),
        (["--width", "3"], "--width: must be at least 32"),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capfd.readouterr().err
