"""Fixtures: real nodes in processes of their own, and a peer."""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .participants import Peer, Process, wait_until
from .robots import Robot, calibrated


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[..., Any]:
    """Waits until a check returns something true, and returns that."""
    return wait_until


@pytest.fixture(scope="session")
def ros_domain() -> Iterator[int]:
    """Discovery that stays on this machine and in this run."""
    with pytest.MonkeyPatch.context() as patch:
        domain = 1 + os.getpid() % 100
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain


@pytest.fixture(scope="session")
def peer(ros_domain: int) -> Iterator[Peer]:
    peer = Peer(ros_domain)
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def start_process(
    ros_domain: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Process]]:
    """Starts a module with arguments; it is killed at the end at the latest."""
    started: list[Process] = []
    folder = tmp_path_factory.mktemp("logs")

    def start(module: str, *arguments: str) -> Process:
        log = folder / f"{len(started)}.log"
        process = Process(module, list(arguments), log=log, domain=ros_domain)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def start_shared_robot(peer: Peer, start_process: Callable[..., Process]) -> Callable[..., Robot]:
    """Starts depth_node on a small network with parameters and remappings; it stays."""
    numbers = itertools.count()

    def start(
        *arguments: str, module: str = "depthformer_ros.depth_node", **parameters: Any
    ) -> Robot:
        namespace = f"/robot{next(numbers)}"
        values = {"checkpoint": "debug", "device": "cpu", "diagnostics__period": 0.2, **parameters}
        flags = [
            item
            for name, value in values.items()
            for item in ("-p", f"{name.replace('__', '.')}:={str(value).lower()}")
        ]
        process = start_process(
            module,
            *("--ros-args", "-r", f"__ns:={namespace}", *flags, *arguments),
        )
        return Robot(peer, process, namespace)

    return start


@pytest.fixture
def start_robot(start_shared_robot: Callable[..., Robot]) -> Iterator[Callable[..., Robot]]:
    """Starts depth_node on a small network with parameters and remappings, for one test."""
    started: list[Robot] = []

    def start(*arguments: str, **parameters: Any) -> Robot:
        started.append(start_shared_robot(*arguments, **parameters))
        return started[-1]

    yield start
    for robot in started:
        robot.close()


@pytest.fixture(scope="session")
def shared_robot(start_shared_robot: Callable[..., Robot]) -> Robot:
    """One running node for all the tests that leave it as it was."""
    # Random weights make edges everywhere.
    robot = start_shared_robot(input__crop="none", input__rectify="never", points__edge_filter=0.0)
    robot.process.wait_for_log("waiting for images")
    return robot


@pytest.fixture
def robot(shared_robot: Robot) -> Iterator[Robot]:
    """The shared node with a calibrated camera, 96x64."""
    assert shared_robot.process.running, shared_robot.process.log
    shared_robot.forget()
    shared_robot.calibrate(calibrated())
    yield shared_robot
    assert shared_robot.process.running, shared_robot.process.log


@pytest.fixture(scope="session")
def shared_compressed_robot(start_shared_robot: Callable[..., Robot]) -> Robot:
    robot = start_shared_robot(image_transport="compressed", input__crop="none")
    robot.process.wait_for_log("waiting for images")
    return robot


@pytest.fixture
def compressed_robot(shared_compressed_robot: Robot) -> Iterator[Robot]:
    """A running node that takes JPEG and PNG."""
    assert shared_compressed_robot.process.running, shared_compressed_robot.process.log
    shared_compressed_robot.forget()
    yield shared_compressed_robot
    assert shared_compressed_robot.process.running, shared_compressed_robot.process.log
