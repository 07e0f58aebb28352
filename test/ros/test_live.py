"""Processes of a replay through the node: kept apart from other robots, and ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from depthformer_core.bags.errors import ReplayError
from depthformer_ros.replay import live

ROS = {
    "ROS_STATIC_PEERS": "192.0.2.1",
    "ROS_DISCOVERY_SERVER": "192.0.2.1:11811",
    "ROS_DOMAIN_ID": "120",
}


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environment of a process of a replay; it stands for player and node."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nenv > "{tmp_path}/$2"\nexit 7\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(live, "require_ros", lambda: None)
    for name, value in ROS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def play(folder: Path, *, isolated: bool) -> dict[str, str]:
    """Variables of the player."""
    with pytest.raises(ReplayError):
        live.play_through_node(
            folder / "bag",
            output=folder,
            image_topic="/image",
            compressed=False,
            camera_info_topic=None,
            parameters={} if isolated else None,
            mode="lockstep",
        )
    lines = (folder / "depthformer_ros.replay").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize(
    ("distribution", "localhost_only"),
    [("humble", "1"), ("jazzy", None), ("kilted", None), ("", None)],
)
def test_other_robots_are_out_of_reach(
    distribution: str, localhost_only: str | None, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", distribution)
    variables = play(seen, isolated=True)
    # Later distributions take it too, and complain.
    assert variables.get("ROS_LOCALHOST_ONLY") == localhost_only
    assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert 1 <= int(variables["ROS_DOMAIN_ID"]) <= 101
    assert not {"ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER"} & variables.keys()
    node = (seen / "depthformer_ros.depth_node").read_text()
    assert f"ROS_DOMAIN_ID={variables['ROS_DOMAIN_ID']}\n" in node


def test_a_running_node_is_found_where_it_is(seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    variables = play(seen, isolated=False)
    assert "ROS_LOCALHOST_ONLY" not in variables
    assert {name: variables[name] for name in ROS} == ROS


HOLD = """
import contextlib, sys
from pathlib import Path
from depthformer_ros.replay import live
from depthformer_core.signals import exit_at_sigterm
with exit_at_sigterm(), contextlib.ExitStack() as stack:
    command = [sys.executable, "-c", sys.argv[1]]
    process = stack.enter_context(live._process(command, Path(sys.argv[2]), {}))
    print(process.pid, flush=True)
    process.wait()
"""
DEAF = (
    "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\ntime.sleep(600)"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_that_does_not(
    number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, DEAF, str(log)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    held = int(holder.stdout.readline())
    while "deaf" not in log.read_text():
        time.sleep(0.05)
    holder.send_signal(number)
    time.sleep(1)
    os.kill(held, 0)
    holder.send_signal(number)
    holder.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(held, 0)
