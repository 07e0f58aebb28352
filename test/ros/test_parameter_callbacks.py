"""Parameters are validated without effect, and applied once they are set."""

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from depthformer_ros.node.node import DepthNode

pytestmark = pytest.mark.skipif(
    not hasattr(Node, "add_post_set_parameters_callback"),
    reason="Humble has no callback after a set",
)


@pytest.fixture
def node(ros_domain: int) -> Iterator[DepthNode]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = DepthNode(context=context)
    yield node
    node.close()
    node.destroy_node()
    context.try_shutdown()


def period(node: DepthNode) -> float:
    (timer,) = node.timers
    return float(timer.timer_period_ns) / 1e9


def test_a_validation_changes_nothing(node: DepthNode) -> None:
    wanted = [Parameter("diagnostics.period", value=2.0)]
    assert all(callback(wanted).successful for callback in node._on_set_parameters_callbacks)
    assert period(node) == 1.0
    node.set_parameters_atomically(wanted)
    assert period(node) == 2.0


def test_a_refused_set_changes_nothing(node: DepthNode) -> None:
    wanted = [Parameter("diagnostics.period", value=2.0), Parameter("depth.max", value=-1.0)]
    assert not node.set_parameters_atomically(wanted).successful
    assert period(node) == 1.0


def test_humble_applies_while_it_validates(
    node: DepthNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_applies_late", False)
    assert node._validate_parameters([Parameter("diagnostics.period", value=2.0)]).successful
    assert period(node) == 2.0
