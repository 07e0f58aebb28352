import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.overhead import main

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_it_counts_what_frames_cost(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.overhead", "--seconds", "8", "--width", "414")
    assert process.wait(300) == 0
    found = re.search(r"([\d.]+) ms of one core .* (\d+) of (\d+) frames predicted", process.log)
    assert found, process.log
    cost, predicted, sent = map(float, found.groups())
    assert 0.1 < cost < 100
    assert 0 < predicted <= sent <= 81
    found = re.search(r"([\d.]+) times as much as publishing .* alone: ([\d.]+) ms", process.log)
    assert found, process.log
    assert 0.5 < float(found[1]) < 100
    assert 0 < float(found[2]) < 100
    found = re.search(
        r"([\d.]+) ms for its stages .*: receive .* publish ([\d.]+)$", process.log, re.M
    )
    assert found, process.log
    assert 0 < float(found[2]) < float(found[1])


def test_a_node_that_ends_is_reported(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.overhead", "points.stride:=0")
    assert process.wait() == 1
    assert "overhead: the node ended with exit code 1" in process.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "3"], "--seconds must be at least 6"),
        (["precision:=float32"], "no network here, so nothing follows from precision:=float32"),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capfd.readouterr().err
