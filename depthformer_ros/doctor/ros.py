"""ROS 2: its availability, and the facts about its graph from a process of its own."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.errors import DepthFormerError
from depthformer_ros.doctor.graph_facts import Graph, discovery_range
from depthformer_ros.process import ROS_WHEELS, child_environment

# Variables that choose the middleware and the range of the discovery.
_VARIABLES = (
    "ROS_DISTRO",
    "RMW_IMPLEMENTATION",
    "ROS_DOMAIN_ID",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER",
    "ROS_SECURITY_ENABLE",
)
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
# Linux assigns the ports of higher domains to other programs, too.
_LAST_SAFE_DOMAIN = 101
_LAST_DOMAIN = 232
_TIMEOUT = 90.0  # seconds
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class RosError(DepthFormerError):
    """The graph could not be inspected; the message has the reason."""


@dataclass(frozen=True, kw_only=True)
class RosFacts:
    """Facts about ROS without using it.

    Attributes:
        usable: Whether this Python finds rclpy.
        installed: Distributions below /opt/ros, sourced or not.
        environment: The set variables that ROS reads.
    """

    usable: bool
    installed: Sequence[str]
    environment: dict[str, str]


def gather_ros() -> RosFacts:
    """Gather facts about ROS."""
    return RosFacts(
        usable=importlib.util.find_spec("rclpy") is not None,
        installed=sorted(path.parent.name for path in Path("/opt/ros").glob("*/setup.bash")),
        environment={name: os.environ[name] for name in _VARIABLES if os.environ.get(name)},
    )


def examine_ros(facts: RosFacts) -> list[Finding]:
    """Judge whether ROS can be used."""
    return [_installation(facts), *_environment(facts.environment)]


def _installation(facts: RosFacts) -> Finding:
    distribution = facts.environment.get("ROS_DISTRO", "")
    if facts.usable:
        return ok("rclpy", f"found, {distribution or 'no ROS_DISTRO set: from PyPI'}")
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if distribution:
        return problem(
            "rclpy",
            f"not found, though ROS 2 {distribution} is sourced",
            cause=f"{distribution} was built for another Python than this {python}, "
            f"{sys.executable}; or only a part of it is installed",
            advice=f"use the system's python3, without conda; apt install ros-{distribution}-rclpy",
        )
    if facts.installed:
        setup = f"/opt/ros/{facts.installed[-1]}/setup.bash"
        return problem(
            "rclpy",
            f"not found; ROS 2 {', '.join(facts.installed)} is installed, but not sourced",
            advice=f"source {setup}, and install/setup.bash of your workspace",
        )
    return warning(
        "rclpy",
        "not found: there is no ROS 2 here",
        cause="network and commands work without, the node does not",
        advice=f"for the node, install ROS 2, or the wheels {ROS_WHEELS}",
    )


def _environment(environment: dict[str, str]) -> list[Finding]:
    """Judge the variables; they matter without ROS too, for a later installation."""
    if not environment:
        return [ok("environment", "no ROS variable set: domain 0, and all of the local network")]
    findings = []
    shown = ", ".join(f"{name}={value}" for name, value in environment.items())
    domain = environment.get("ROS_DOMAIN_ID", "0")
    if not domain.isdecimal() or int(domain) > _LAST_DOMAIN:
        findings.append(
            problem(
                "ROS_DOMAIN_ID",
                f"{domain!r} is no domain",
                advice=f"export ROS_DOMAIN_ID=N, N from 0 to {_LAST_SAFE_DOMAIN}, as on the robot",
            )
        )
    elif int(domain) > _LAST_SAFE_DOMAIN:
        findings.append(
            warning(
                "ROS_DOMAIN_ID",
                f"{domain} uses ports that Linux gives to other programs too",
                advice=f"take one from 0 to {_LAST_SAFE_DOMAIN} on every machine",
            )
        )
    reach = discovery_range(environment)
    if reach not in _RANGES:
        findings.append(
            warning(
                "ROS_AUTOMATIC_DISCOVERY_RANGE",
                f"{reach!r} is none of {', '.join(_RANGES)}",
                cause="ROS then discovers only this machine",
                advice="export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
            )
        )
    return findings or [ok("environment", shown)]


def ros_failure(reason: str) -> Finding:
    """Judge that the graph could not be inspected."""
    if "numpy" in reason.lower():
        return problem(
            "rclpy",
            reason,
            cause="ROS's messages were built with another major version of NumPy",
            advice="for ROS from apt: python3 -m pip install 'numpy<2'",
        )
    return problem(
        "rclpy",
        f"does not work here: {reason}",
        cause="RMW_IMPLEMENTATION names a middleware that is not installed, a variable above is "
        "wrong, or a package of ROS is missing",
        advice="unset RMW_IMPLEMENTATION and try again; see `ros2 doctor`",
    )


def gather_graph(topics: Sequence[str] = ()) -> Graph:
    """Return the facts about the graph.

    Args:
        topics: Topics of images to subscribe to, besides those of depth nodes.

    Raises:
        RosError: The graph could not be inspected.
    """
    with tempfile.TemporaryDirectory(prefix="depthformer_") as folder:
        output = Path(folder, "graph.json")
        command = [sys.executable, "-m", "depthformer_ros.doctor.gather", str(output), *topics]
        try:
            # A process of its own, because a middleware that cannot start ends its process.
            done = subprocess.run(  # noqa: S603  # our own module, without a shell
                command,
                env=child_environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RosError(f"the graph could not be inspected in {_TIMEOUT:g} s") from error
        if done.returncode or not output.exists():
            raise RosError(_last_line(done.stderr) or f"exit code {done.returncode}")
        return Graph.from_json(output.read_text(encoding="utf-8"))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    return lines[-1] if lines else ""
