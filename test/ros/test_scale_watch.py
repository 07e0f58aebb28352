"""The watch on the scale of depth in a running node."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from .robots import Robot, calibrated

# x ahead, y left, z up of a robot's frames, seen by an optical frame.
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
PARAMETERS = {"input__rectify": "never"}


def transform(parent: str, child: str, translation: Any, rotation: Any = (0, 0, 0, 1)) -> Any:
    from geometry_msgs.msg import TransformStamped

    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    for name, value in zip("xyz", translation, strict=True):
        setattr(message.transform.translation, name, float(value))
    for name, value in zip("xyzw", rotation, strict=True):
        setattr(message.transform.rotation, name, float(value))
    return message


def chain(base: str, height: float) -> list[list[Any]]:
    """The transforms of two publishers, from a base on the ground to the camera."""
    return [
        [transform(base, "mast", (0.2, 0, height - 0.4))],
        [transform("mast", "lens", (0, 0.1, 0.4)), transform("lens", "eye", (0, 0, 0), OPTICAL)],
    ]


@pytest.fixture
def start(start_robot: Callable[..., Robot]) -> Callable[..., Robot]:
    """Starts a node that sees the ground so many metres below, with /tf_static of its own."""

    def start(seen: float, **parameters: Any) -> Robot:
        robot = start_robot(
            *("-r", "/tf_static:=tf_static"),
            module="node_on_ground.py",
            checkpoint=f"'{seen}'",
            **PARAMETERS,
            **parameters,
        )
        robot.process.wait_for_log("waiting for images")
        robot.calibrate(calibrated())
        return robot

    return start


def publish(robot: Robot, messages: list[list[Any]]) -> list[Any]:
    """Latch messages, each of a publisher of its own."""
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from tf2_msgs.msg import TFMessage

    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publishers = []
    for transforms in messages:
        topic = f"{robot.namespace}/tf_static"
        publisher = robot.peer.node.create_publisher(TFMessage, topic, qos)
        publisher.publish(TFMessage(transforms=transforms))
        publishers.append(publisher)
    return publishers


def values_when(robot: Robot, key: str, text: str, image: Any = None) -> Any:
    """The status in which a value has a text, while images come."""
    from time import monotonic

    end = monotonic() + 60
    while monotonic() < end:
        robot.prediction(robot.image() if image is None else restamped(robot, image))
        for status in robot.statuses():
            found = {item.key: item.value for item in status.values}
            if text in found.get(key, ""):
                return status.level, status.message, found
        del robot.peer.diagnostics[:]
    raise AssertionError(f"{key} never has {text!r}: {robot.values()} {robot.process.log}")


def restamped(robot: Robot, image: Any) -> Any:
    robot.stamp(image)
    return image


def wall(robot: Robot) -> Any:
    image = robot.image()
    pixels = np.frombuffer(image.data, np.uint8).copy()
    pixels[:3] = 0
    image.data = pixels.tobytes()
    return image


@pytest.mark.slow
def test_the_height_of_a_parameter(start: Callable[..., Robot]) -> None:
    robot = start(2.1, camera__height=1.65)
    level, message, values = values_when(robot, "scale by the ground", "1.27, ")
    assert level == b"\1"
    assert "depth is 1.27 times the true depth, by the ground: the camera seems 2.10 m" in message
    assert "its height is 1.65 by camera.height" in message
    assert values["camera height by the ground (m)"] == "2.10"
    assert "watch scale p50 (ms)" in values
    assert robot.process.log.count("times the true depth") == 1
    # It is corrected while the node runs.
    assert robot.set(camera__height=2.2).successful
    level, message, values = values_when(robot, "scale by the ground", "0.95, ")
    assert "times the true depth" not in message
    values_when(robot, "scale by the ground", "no ground: in 0 of ", wall(robot))


@pytest.mark.slow
def test_transforms_of_several_publishers(start: Callable[..., Robot]) -> None:
    pytest.importorskip("tf2_msgs", reason="the ROS of PyPI has no tf2_msgs")
    robot = start(1.2)
    values_when(robot, "camera height (m)", "leads from 'eye' to no base_footprint or base_link")
    kept = publish(robot, chain("base_link", 1.2))
    _, _, values = values_when(robot, "scale by the ground", "1.00, ")
    wanted = "1.20 over base_link, as if that were on the ground"
    assert values["camera height (m)"] == wanted
    kept += publish(robot, [[transform("base_footprint", "base_link", (0, 0, 0.3))]])
    _, message, _ = values_when(robot, "camera height (m)", "1.50 over base_footprint")
    # They are latched: a node that is activated later gets them too.
    robot.change("deactivate")
    robot.change("activate")
    level, message, _ = values_when(robot, "scale by the ground", "0.80, ")
    assert level == b"\1"
    assert "depth is 0.80 times the true depth" in message


@pytest.mark.slow
def test_without_a_height_nothing_is_looked_at(start: Callable[..., Robot]) -> None:
    robot = start(1.2)
    _, message, values = values_when(robot, "scale by the ground", "unknown")
    assert "true depth" not in message
    assert not any(key.startswith("watch scale") for key in values)
