from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from rclpy.executors import ExternalShutdownException
from std_srvs.srv import SetBool

from depthformer_ros.node.callback_guard import CallbackGuard, guard_services


@pytest.fixture
def node(ros_domain: int) -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node("guarded", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        pytest.param(ValueError("step 5 is short"), "step 5 is short", id="ours"),
        pytest.param(ValueError(), "ValueError: ", id="without text"),
        pytest.param(KeyError("k"), "KeyError: 'k'", id="another"),
        pytest.param(RuntimeError("CUDA error\nmore"), "RuntimeError: CUDA error", id="long"),
    ],
)
def test_an_error_is_kept_in_one_line(
    node: Any, error: Exception, failure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    guard = CallbackGuard(node, "work")
    with guard:
        raise error
    assert (guard.failure, guard.kind) == (failure, type(error))
    assert f"work failed: {failure.strip()}" in capfd.readouterr().err


def test_no_error(node: Any) -> None:
    guard = CallbackGuard(node, "work")
    with guard:
        pass
    assert (guard.failure, guard.kind) == ("", None)


def test_what_ends_a_process_passes(node: Any) -> None:
    with pytest.raises(KeyboardInterrupt), CallbackGuard(node, "work"):
        raise KeyboardInterrupt


def test_nothing_is_logged_after_shutdown(node: Any, capfd: pytest.CaptureFixture[str]) -> None:
    node.context.shutdown()
    with CallbackGuard(node, "work"):
        raise ExternalShutdownException
    assert "failed" not in capfd.readouterr().err


def test_a_service_that_fails_still_responds(node: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no transition 99")

    service = node.create_service(SetBool, "fail", fail)
    guard_services(node)
    response = SetBool.Response()
    assert service.callback(SetBool.Request(), response) is response
    assert "SetBool failed: RuntimeError: no transition 99" in capfd.readouterr().err
