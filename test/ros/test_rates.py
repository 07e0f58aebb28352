"""Limits of how often each output comes, on the node's topics."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import camera_info_of

pytestmark = pytest.mark.slow

# As in node_with_faults.py, which logs every such frame that reaches the network.
SLOW_FRAME = 92
# Once in a test.
ONCE = 0.001
RATES = ("depth__rate", "points__rate", "color__rate")


@pytest.fixture(scope="module")
def shared(start_shared_robot: Callable[..., Any]) -> Iterator[Any]:
    robot = start_shared_robot(
        module="node_with_faults.py", input__crop="none", input__rectify="never"
    )
    robot.process.wait_for_log("waiting for images")
    yield robot
    robot.close()


@pytest.fixture
def paced(shared: Any) -> Iterator[Any]:
    """A node without limits; the test sets some."""
    camera = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
    shared.calibrate(camera_info_of(camera, Header(frame_id="eye")))
    everything(shared)
    shared.forget()
    yield shared
    unlimited(shared)


def unlimited(robot: Any) -> None:
    assert robot.set(**dict.fromkeys(RATES, 0.0)).successful


def everything(robot: Any) -> None:
    """An image that goes to every output."""
    image = robot.image()
    robot.prediction(image)
    for received in (robot.infos, robot.clouds, robot.colours):
        robot.partner(image, received)


def stamps(received: list[Any]) -> set[tuple[int, int]]:
    return {(item.header.stamp.sec, item.header.stamp.nanosec) for item in received}


def test_each_output_has_its_own_pace(paced: Any) -> None:
    assert paced.set(depth__rate=4.0, points__rate=1.0).successful
    start = time.monotonic()
    while time.monotonic() - start < 3.0:
        paced.send(paced.image())
        time.sleep(0.04)
    seconds = time.monotonic() - start
    last = paced.image()
    paced.prediction(last)
    depths, infos, clouds, colours = map(
        stamps, (paced.depths, paced.infos, paced.clouds, paced.colours)
    )
    # A quarter of a period early is allowed, and what came since waits for nothing.
    assert 2 <= len(clouds) <= 1.0 * seconds + 3
    assert len(clouds) < len(depths) <= 4.0 * seconds + 3
    assert len(depths) < len(colours)
    # What describes a depth image goes with it.
    assert depths == infos


def test_an_image_that_is_nobodys_turn_does_not_reach_the_network(paced: Any) -> None:
    assert paced.set(**dict.fromkeys(RATES, ONCE)).successful
    # The images before have taken their turns.
    before, count = paced.values(), paced.process.log.count("slow frame")
    paced.provoke(paced.image(SLOW_FRAME), "dropped: rate limit")
    bad = paced.image()
    bad.step = 5
    status = paced.provoke(bad, "dropped: rate limit")
    # It is not even read.
    assert "rejected" not in status.message
    assert status.level == DiagnosticStatus.WARN
    after = paced.values()
    assert after["answered"] == before["answered"]
    assert after["rejected"] == before["rejected"]
    assert paced.process.log.count("slow frame") == count
    unlimited(paced)
    everything(paced)


def test_an_image_whose_turn_has_gone_while_it_waited(
    paced: Any, wait_until: Callable[..., Any]
) -> None:
    count = paced.process.log.count("slow frame")
    dropped = paced.count("dropped: rate limit")

    def busy() -> bool:
        paced.send(paced.image(SLOW_FRAME))
        paced.statuses(0.2)
        return bool(paced.process.log.count("slow frame") > count)

    wait_until(busy, "slow frame")
    received = paced.count("received")
    while paced.count("received") <= received:
        paced.send(paced.image())
    assert paced.set(**dict.fromkeys(RATES, ONCE)).successful
    wait_until(lambda: paced.count("dropped: rate limit") > dropped, "dropped image")
    unlimited(paced)
    everything(paced)


def test_only_what_is_due_is_published(paced: Any) -> None:
    assert paced.set(points__rate=ONCE, color__rate=ONCE).successful
    images = [paced.image() for _ in range(4)]
    for image in images:
        assert np.isfinite(np.frombuffer(paced.prediction(image).data, np.float32)).all()
        paced.partner(image, paced.infos)
    sent = stamps(images)
    assert not sent & stamps([*paced.clouds, *paced.colours])
    # Those that wait are not held up by the others.
    assert paced.set(points__rate=0.0, depth__rate=ONCE).successful
    image = paced.image()
    paced.send(image)
    paced.partner(image, paced.clouds)
    assert not stamps([image]) & stamps([*paced.depths, *paced.infos, *paced.colours])
    assert paced.set(depth__rate=0.0).successful
    paced.prediction(image)
