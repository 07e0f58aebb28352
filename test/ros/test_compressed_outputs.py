"""Compressed depth and preview, on the node's topics."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from sensor_msgs.msg import CompressedImage, Image

from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.depth_messages import compressed_to_depth, image_to_depth
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_ros.node.outputs import Outputs

from .robots import depth_of

DEPTH = "depth/image_rect/compressedDepth"
COLOR = "depth/color/compressed"
RATES = {"depth": 0.0, "points": 0.0, "color": 0.0}


def unsubscribe(peer: Any, topic: str) -> None:
    for found in [s for s in peer.node.subscriptions if s.topic_name == topic]:
        peer.in_turn(functools.partial(peer.node.destroy_subscription, found))


@pytest.fixture
def listen(robot: Any, peer: Any) -> Iterator[Callable[[str], list[Any]]]:
    """Subscribes to a compressed output of the robot, for one test."""
    made: list[str] = []

    def subscribe(name: str) -> list[Any]:
        made.append(f"{robot.namespace}/{name}")
        received: list[Any] = peer.subscribe(CompressedImage, made[-1])
        return received

    yield subscribe
    for topic in made:
        unsubscribe(peer, topic)


def without_infinity(depth: Any) -> Any:
    return np.where(np.isfinite(depth), depth, np.nan)


@pytest.mark.parametrize("compression", ["png", "rvl"])
def test_compressed_metres(
    robot: Any, listen: Callable[[str], list[Any]], compression: str
) -> None:
    received = listen(DEPTH)
    image = robot.image()
    whole = depth_of(robot.prediction(image))
    robot.partner(image, received)
    limit = float(np.median(whole))
    assert robot.set(depth__compression=compression, depth__max=limit).successful
    try:
        robot.stamp(image)
        sent = robot.prediction(image)
        compressed = robot.partner(image, received)
    finally:
        assert robot.set(depth__compression="png", depth__max=0.0).successful
    assert compressed.header == sent.header
    assert compressed.format == f"32FC1; compressedDepth {compression}"
    found, wanted = compressed_to_depth(compressed), without_infinity(depth_of(sent))
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted) - wanted**2 / 20000) <= 0


def test_compressed_millimetres(robot: Any, listen: Callable[[str], list[Any]]) -> None:
    received = listen(DEPTH)
    image = robot.image()
    robot.prediction(image)
    robot.partner(image, received)
    assert robot.set(depth__encoding="16UC1").successful
    try:
        robot.stamp(image)
        sent = robot.prediction(image)
        compressed = robot.partner(image, received)
    finally:
        assert robot.set(depth__encoding="32FC1").successful
    assert compressed.format == "16UC1; compressedDepth png"
    np.testing.assert_array_equal(compressed_to_depth(compressed), image_to_depth(sent))


def test_compressed_preview(robot: Any, listen: Callable[[str], list[Any]]) -> None:
    received = listen(COLOR)
    image = robot.image()
    robot.send(image)
    compressed, sent = robot.partner(image, received), robot.partner(image, robot.colours)
    assert compressed.header == sent.header
    assert compressed.format == "rgb8; jpeg compressed bgr8"
    wanted = image_to_rgb(sent).astype(int)
    # Depth of random weights is noise, which JPEG blurs; red stays apart from blue.
    error = np.abs(compressed_to_rgb(compressed) - wanted).mean(axis=(0, 1))
    assert error.max() < 12
    assert np.abs(wanted[..., 0] - wanted[..., 2]).mean() > 30


@pytest.mark.slow
def test_a_compressed_image_alone_needs_the_network(
    start_robot: Callable[..., Any], peer: Any
) -> None:
    """Raw images are not made then; the limit of rate is theirs, and so is the remapping."""
    robot = start_robot("-r", "depth/image_rect:=elsewhere/depth", input__crop="none")
    for name in ("depth/camera_info", "points", "depth/color", "depth/uncertainty"):
        unsubscribe(peer, f"{robot.namespace}/{name}")
    received = peer.subscribe(CompressedImage, f"{robot.namespace}/elsewhere/depth/compressedDepth")
    image = robot.image()
    compressed = robot.partner(image, received)
    assert compressed_to_depth(compressed).shape == (64, 96)
    assert robot.set(depth__rate=0.001).successful
    robot.provoke(robot.image(), "dropped: rate limit")


def test_what_nobody_listens_to_is_not_due(peer: Any, wait_until: Callable[..., Any]) -> None:
    """Over DDS, without a network."""
    from rclpy.lifecycle import LifecycleNode

    node = LifecycleNode("outputs", namespace="/quiet", context=peer.node.context)
    outputs = Outputs(node, uncertainty=False)
    try:
        assert not outputs.take(0.0, rates=RATES)
        assert outputs.drop_reason() == "nobody listens"
        for kind, topic, name in (
            (CompressedImage, DEPTH, "compressed_depth"),
            (CompressedImage, COLOR, "compressed_color"),
            (Image, "depth/color", "color"),
        ):
            peer.subscribe(kind, f"/quiet/{topic}")
            wait_until(
                lambda name=name: getattr(outputs.take(0.0, rates=RATES), name), f"demand of {name}"
            )
            due = outputs.take(0.0, rates=RATES)
            assert due.network
            others = {"depth", "compressed_depth", "color", "compressed_color", "points"} - {name}
            assert not any(getattr(due, other) for other in others)
            unsubscribe(peer, f"/quiet/{topic}")
            wait_until(lambda: not outputs.take(0.0, rates=RATES), "end of the demand")
    finally:
        outputs.destroy()
        node.destroy_node()


def test_the_rate_of_compressed_images_is_that_of_raw_ones(
    peer: Any, wait_until: Callable[..., Any]
) -> None:
    from rclpy.lifecycle import LifecycleNode

    node = LifecycleNode("outputs", namespace="/paced", context=peer.node.context)
    outputs = Outputs(node, uncertainty=False)
    for topic in (DEPTH, COLOR):
        peer.subscribe(CompressedImage, f"/paced/{topic}")
    try:
        wait_until(
            lambda: all(map(node.count_subscribers, (f"/paced/{DEPTH}", f"/paced/{COLOR}"))),
            "subscriptions",
        )
        rates = {"depth": 1.0, "points": 0.0, "color": 0.1}
        wait_until(lambda: outputs.take(0.0, rates=rates), "demand")
        moments = np.arange(10, 40, 0.1)
        taken = [outputs.take(now, rates=rates) for now in moments]
    finally:
        outputs.destroy()
        node.destroy_node()
        peer.leave("/paced")
    assert 29 <= sum(due.compressed_depth for due in taken) <= 31
    assert 3 <= sum(due.compressed_color for due in taken) <= 4
