"""Subscribers that are slow, stop or die must not hold up the others."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import camera_info_of

from .participants import wait_until

# Clouds of 1.2 MB: some dozens are more than what is between two processes can hold.
SIZE = (320, 240)
FRAMES = 60
# What a writer keeps for a reader that does not acknowledge it: far less than all of them.
KEPT = 40 * 2**20


def predict_many(robot: Any, count: int) -> None:
    for _ in range(count):
        image = robot.image(*SIZE)
        robot.prediction(image)
        robot.partner(image, robot.clouds)
        robot.forget()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "how", [None, signal.SIGSTOP, signal.SIGKILL], ids=["never reads", "stopped", "killed"]
)
@pytest.mark.timeout(600)
def test_a_reliable_subscriber_that_does_not_read(
    robot: Any, start_process: Callable[..., Any], how: int | None
) -> None:
    topics = [f"{robot.namespace}/{name}" for name in ("depth/image_rect", "points")]
    robot.calibrate(
        camera_info_of(Camera(*SIZE, 250.0, 250.0, 160.0, 120.0), Header(frame_id="eye"))
    )
    subscribers = [robot.peer.node.count_subscribers(topic) for topic in topics]
    image, cloud = topics
    process = start_process(
        "depthformer_ros.load.subscriber", "--images", image, "--clouds", cloud, "--never-read"
    )
    try:
        process.wait_for_log("subscribed")
        while [robot.peer.node.count_subscribers(topic) for topic in topics] == subscribers:
            robot.prediction(robot.image(*SIZE))
        if how is not None:
            process.send_signal(how)
        predict_many(robot, 10)
        before, memory = robot.values(), robot.process.memory
        predict_many(robot, FRAMES)
        growth = robot.process.memory - memory
        # The last frame is counted once all of its outputs are published.
        answered = int(before["answered"]) + FRAMES
        wait_until(lambda: robot.count("answered") >= answered, f"{answered} answered images")
        after = robot.values()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # A writer that waits for a reader gives up with an error, and images pile up meanwhile.
    assert after["failed"] == before["failed"], robot.process.log
    assert growth < KEPT
    robot.prediction(robot.image())
