"""Transitions that cannot be, transitions without end, and signals at any time."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

# Widths that make node_with_faults.py slow, and end it.
SLOW_FRAME = 92
SIGNAL_IN_FINALIZER = 93
# What each state allows: configure, cleanup, activate, deactivate and its own shutdown.
ALLOWED = {"unconfigured": {1, 5}, "inactive": {2, 3, 6}, "active": {4, 7}, "finalized": set()}
NUMBERS = [*range(13), 20, 30, 40, 60, 99, 255]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_impossible_transition_moves_it(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(autostart=False)

    def try_all(state: str) -> None:
        for number in NUMBERS:
            if number not in ALLOWED[state]:
                assert not robot.change(number), number
        assert robot.state == state

    try_all("unconfigured")
    assert robot.change("configure")
    try_all("inactive")
    assert robot.change("activate")
    try_all("active")
    robot.prediction(robot.image())
    assert robot.change(7)
    try_all("finalized")
    assert "Traceback" not in robot.process.log
    assert robot.process.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_an_error_in_a_transition_leaves_it_unconfigured(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(module="node_with_faults.py", autostart=False, checkpoint="broken")
    assert robot.change("configure")
    assert not robot.change("activate")
    assert robot.state == "unconfigured"
    assert robot.set(checkpoint="debug").successful
    assert robot.change("configure")
    assert robot.change("activate")
    robot.prediction(robot.image())
    assert robot.process.stop() == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(1800)
def test_a_hundred_cycles_leave_memory_as_it_was(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(autostart=False, input__crop="none")

    def memory(cycles: int) -> list[int]:
        seen = []
        for _ in range(cycles):
            for transition in ("configure", "activate", "deactivate", "cleanup"):
                assert robot.change(transition), robot.process.log
            seen.append(robot.process.memory)
        return seen

    # The first cycles fill caches that stay, and what is free is not always given back at once.
    memory(5)
    seen = memory(100)
    assert median(seen[-10:]) < 1.05 * median(seen[:10]), seen
    # That network is tiny; of this one, four that stay would be 7 % of the memory.
    assert robot.set(checkpoint="small").successful
    memory(1)
    seen = memory(5)
    assert seen[-1] < 1.05 * seen[0], seen
    assert robot.change("configure")
    assert robot.change("activate")
    robot.prediction(robot.image())
    assert robot.process.stop() == 0


def unconfigured(robot: Any) -> None:
    assert robot.state == "unconfigured"


def inactive(robot: Any) -> None:
    assert robot.change("configure")


def active(robot: Any) -> None:
    inactive(robot)
    assert robot.change("activate")
    robot.prediction(robot.image())


def paused(robot: Any) -> None:
    active(robot)
    robot.enable(False)


def in_a_frame(robot: Any) -> None:
    active(robot)
    while "slow frame" not in robot.process.log:
        robot.send(robot.image(SLOW_FRAME))
        robot.statuses(0.2)


def loading(robot: Any) -> None:
    """In a transition that a supervisor requested, and that takes ten minutes."""
    from lifecycle_msgs.srv import ChangeState

    assert robot.set(checkpoint="slow").successful
    request = ChangeState.Request()
    request.transition.id = 1
    name = f"{robot.namespace}/depthformer/change_state"
    client = robot.peer.node.create_client(ChangeState, name)
    assert client.wait_for_service(60)
    client.call_async(request)
    robot.process.wait_for_log("slow load")


def finalized(robot: Any) -> None:
    assert robot.change(5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bring", "number"),
    [
        pytest.param(unconfigured, signal.SIGINT, id="unconfigured SIGINT"),
        pytest.param(unconfigured, signal.SIGTERM, id="unconfigured SIGTERM"),
        pytest.param(inactive, signal.SIGINT, id="inactive SIGINT"),
        pytest.param(active, signal.SIGTERM, id="active SIGTERM"),
        pytest.param(in_a_frame, signal.SIGINT, id="in a frame SIGINT"),
        pytest.param(in_a_frame, signal.SIGTERM, id="in a frame SIGTERM"),
        pytest.param(paused, signal.SIGTERM, id="paused SIGTERM"),
        pytest.param(loading, signal.SIGINT, id="loading SIGINT"),
        pytest.param(loading, signal.SIGTERM, id="loading SIGTERM"),
        pytest.param(finalized, signal.SIGINT, id="finalized SIGINT"),
    ],
)
@pytest.mark.timeout(600)
def test_a_signal_ends_it_in_every_state(
    start_robot: Callable[..., Any], bring: Callable[[Any], None], number: int
) -> None:
    robot = start_robot(module="node_with_faults.py", autostart=False, input__crop="none")
    bring(robot)
    assert robot.process.running, robot.process.log
    # A terminal sends it to every process, and a launcher passes it on.
    robot.process.send_signal(number)
    time.sleep(1.0)
    assert robot.process.stop(number) == 0, robot.process.log
    assert "Traceback" not in robot.process.log


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_loads_at_the_start(
    start_robot: Callable[..., Any], number: int
) -> None:
    robot = start_robot(module="node_with_faults.py", checkpoint="slow")
    robot.process.wait_for_log("slow load")
    assert robot.process.stop(number) == 0, robot.process.log
    assert "Traceback" not in robot.process.log


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", [0.0, 0.5, 1.5])
def test_a_signal_ends_it_while_modules_are_imported(
    start_process: Callable[..., Any], wait_until: Callable[..., Any], number: int, wait: float
) -> None:
    process = start_process("depthformer_ros.depth_node")
    # Python itself catches no SIGTERM: once that is caught, ours has begun.
    wait_until(lambda: process.catches(signal.SIGTERM), "handler of signals")
    time.sleep(wait)
    assert process.stop(number) == 0, process.log
    assert "Traceback" not in process.log


@pytest.mark.slow
def test_a_signal_ends_it_while_a_finalizer_runs(start_robot: Callable[..., Any]) -> None:
    """Python would drop an error there, so none is raised."""
    robot = start_robot(module="node_with_faults.py", input__crop="none")
    robot.prediction(robot.image())
    robot.send(robot.image(SIGNAL_IN_FINALIZER))
    assert robot.process.wait() == 0, robot.process.log
    assert "ignored" not in robot.process.log
