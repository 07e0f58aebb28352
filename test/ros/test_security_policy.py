"""config/depthformer.policy.xml is what the node needs: no more and no less."""

import contextlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

Names = dict[str, set[str]]

RIGHTS = {
    "subscriptions": ("topics", "subscribe"),
    "publishers": ("topics", "publish"),
    "services": ("services", "reply"),
    "clients": ("services", "request"),
}


def allowed(policy: Path, namespace: str) -> Names:
    """Permissions of a node in a namespace, by kind."""
    (profile,) = ElementTree.parse(policy).getroot().iter("profile")
    assert profile.get("node") == "depthformer"

    def resolved(name: str) -> str:
        if name.startswith("~"):
            return f"{namespace}/depthformer{name[1:]}"
        return name if name.startswith("/") else f"{namespace}/{name}"

    return {
        kind: {
            resolved(str(item.text))
            for group in profile.findall(tag)
            if group.get(right) == "ALLOW"
            for item in group
        }
        for kind, (tag, right) in RIGHTS.items()
    }


def used(node: Any, namespace: str) -> Names:
    """Topics and services of a namespace's node, as another process sees them; none at first."""
    from rclpy.node import NodeNameNonExistentError

    queries = {
        "subscriptions": node.get_subscriber_names_and_types_by_node,
        "publishers": node.get_publisher_names_and_types_by_node,
        "services": node.get_service_names_and_types_by_node,
        "clients": node.get_client_names_and_types_by_node,
    }
    found: Names = {kind: set() for kind in queries}
    with contextlib.suppress(NodeNameNonExistentError):
        for kind, query in queries.items():
            found[kind] = {name for name, _ in query("depthformer", namespace)}
    return found


def known_here(name: str) -> bool:
    """True where this ROS has it: type descriptions came after Humble, PyPI has no tf2_msgs."""
    if name == "/tf_static":
        return importlib.util.find_spec("tf2_msgs") is not None
    if name.endswith("/get_type_description"):
        return importlib.util.find_spec("type_description_interfaces") is not None
    return True


@pytest.mark.slow
def test_policy_is_what_the_node_uses(
    repository: Path,
    start_robot: Callable[..., Any],
    peer: Any,
    wait_until: Callable[..., Any],
) -> None:
    robot = start_robot(flip=True, use_sim_time=True)
    robot.process.wait_for_log("waiting for images")
    wanted = allowed(repository / "config" / "depthformer.policy.xml", robot.namespace)
    wanted = {kind: set(filter(known_here, names)) for kind, names in wanted.items()}
    images = {name for name in wanted["subscriptions"] if name.endswith("/image")}
    compressed = {f"{name}/compressed" for name in images}

    def check(*, without: set[str]) -> None:
        expected = {**wanted, "subscriptions": wanted["subscriptions"] - without}
        try:
            wait_until(lambda: used(peer.node, robot.namespace) == expected, "such a graph", 60)
        except AssertionError as error:
            found = used(peer.node, robot.namespace)
            differences = {kind: sorted(found[kind] ^ expected[kind]) for kind in RIGHTS}
            raise AssertionError(f"policy and node differ: {differences}") from error

    check(without=compressed)
    robot.reload(image_transport="compressed")
    check(without=images)


@pytest.mark.slow
def test_enforced_security_is_not_passed_over(
    start_process: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
    # It holds no keys.
    monkeypatch.setenv("ROS_SECURITY_KEYSTORE", str(tmp_path))
    node = start_process("depthformer_ros.depth_node", "--ros-args", "-p", "checkpoint:=debug")
    assert node.wait() == 1
    assert "ecurity" in node.log
