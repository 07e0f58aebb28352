from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from rclpy.executors import ExternalShutdownException

from depthformer_ros.node.callback_guard import CallbackGuard


@pytest.fixture
def node(ros_domain: int) -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node("edge", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        pytest.param(ValueError("step 5 is short"), "step 5 is short", id="ours"),
        pytest.param(ValueError(), "ValueError: ", id="without words"),
        pytest.param(KeyError("k"), "KeyError: 'k'", id="another"),
        pytest.param(RuntimeError("CUDA error\nmore"), "RuntimeError: CUDA error", id="long"),
    ],
)
def test_an_error_is_kept_in_one_line(
    node: Any, error: Exception, failure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    edge = CallbackGuard(node, "work")
    with edge:
        raise error
    assert (edge.failure, edge.kind) == (failure, type(error))
    assert f"work failed: {failure.strip()}" in capfd.readouterr().err


def test_no_error(node: Any) -> None:
    edge = CallbackGuard(node, "work")
    with edge:
        pass
    assert (edge.failure, edge.kind) == ("", None)


def test_what_ends_a_process_passes(node: Any) -> None:
    with pytest.raises(KeyboardInterrupt), CallbackGuard(node, "work"):
        raise KeyboardInterrupt


def test_nothing_is_logged_after_shutdown(node: Any, capfd: pytest.CaptureFixture[str]) -> None:
    node.context.shutdown()
    with CallbackGuard(node, "work"):
        raise ExternalShutdownException
    assert "failed" not in capfd.readouterr().err
