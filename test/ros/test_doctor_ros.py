"""Findings of `depthformer doctor` about a ROS installation."""

from collections.abc import Callable

import pytest

from depthformer_core.doctor import Level
from depthformer_ros.doctor.graph_facts import discovery_range
from depthformer_ros.doctor.ros import RosFacts, examine_ros, gather_ros, ros_failure

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DISTRO": "jazzy"}),
            {},
            id="all well",
        ),
        pytest.param(RosFacts(usable=True, installed=[], environment={}), {}, id="from PyPI"),
        pytest.param(
            RosFacts(usable=False, installed=["humble", "jazzy"], environment={}),
            {"rclpy": (PROBLEM, "not sourced", "source /opt/ros/jazzy/setup.bash")},
            id="not sourced",
        ),
        pytest.param(
            RosFacts(usable=False, installed=["jazzy"], environment={"ROS_DISTRO": "jazzy"}),
            {"rclpy": (PROBLEM, "though ROS 2 jazzy is sourced", "another Python")},
            id="another Python",
        ),
        pytest.param(
            RosFacts(usable=False, installed=[], environment={}),
            {"rclpy": (WARNING, "there is no ROS 2 here", "ros-jazzy-rclpy")},
            id="no ROS",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "robot"}),
            {"ROS_DOMAIN_ID": (PROBLEM, "'robot' is no domain", "0 to 101")},
            id="domain of letters",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "233"}),
            {"ROS_DOMAIN_ID": (PROBLEM, "'233' is no domain", "0 to 101")},
            id="domain too large",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "150"}),
            {"ROS_DOMAIN_ID": (WARNING, "150 uses ports", "0 to 101")},
            id="domain among Linux's ports",
        ),
        pytest.param(
            RosFacts(
                usable=True,
                installed=[],
                environment={"ROS_AUTOMATIC_DISCOVERY_RANGE": "HOST"},
            ),
            {"ROS_AUTOMATIC_DISCOVERY_RANGE": (WARNING, "'HOST' is none of", "SUBNET")},
            id="no such range",
        ),
    ],
)
def test_ros(
    check_findings: Callable[..., None], facts: RosFacts, expected: dict[str, Expected]
) -> None:
    check_findings(examine_ros(facts), expected)


def test_ros_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "3")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "")
    environment = gather_ros().environment
    assert environment["ROS_DOMAIN_ID"] == "3"
    assert "ROS_LOCALHOST_ONLY" not in environment


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("ImportError: numpy.core.multiarray failed to import", "numpy<2"),
        ("ModuleNotFoundError: No module named 'lifecycle_msgs'", "unset RMW_IMPLEMENTATION"),
    ],
    ids=["NumPy", "a package"],
)
def test_ros_failure(reason: str, advice: str) -> None:
    finding = ros_failure(reason)
    assert reason in finding.found
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "SUBNET"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "LOCALHOST"),
        ({"ROS_LOCALHOST_ONLY": "0"}, "SUBNET"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "OFF"),
    ],
    ids=["nothing", "localhost only", "not localhost only", "off"],
)
def test_discovery_range(environment: dict[str, str], expected: str) -> None:
    assert discovery_range(environment) == expected
