"""Child processes: their environment, and how to end them."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import depthformer_core

ROS_WHEELS = (
    "ros-jazzy-rclpy, ros-jazzy-rmw-fastrtps-cpp, ros-jazzy-sensor-msgs, ros-jazzy-std-srvs, "
    "ros-jazzy-diagnostic-msgs and ros-jazzy-rosgraph-msgs"
)
"""ROS 2 from PyPI, as far as the node needs it: the extra `ros` without what tests need."""

# Their middleware does not know ROS_AUTOMATIC_DISCOVERY_RANGE.
_BEFORE_IRON = ("foxy", "galactic", "humble")
# Variables that reach other robots in spite of it.
_PEERS = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER")


def child_environment(*, isolated: bool = False) -> dict[str, str]:
    """Return the environment of a module of ours in a process of its own.

    Args:
        isolated: Whether it must not discover other robots.
    """
    path = [os.environ.get("PYTHONPATH", ""), str(Path(depthformer_core.__file__).parents[1])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        # Nothing is imported from the user's working folder, such as that of a foreign bag.
        "PYTHONSAFEPATH": "1",
    }
    if isolated:
        for name in _PEERS:
            environment.pop(name, None)
        # Domains up to 101 are free of the operating system's own ports.
        environment["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        if os.environ.get("ROS_DISTRO") in _BEFORE_IRON:
            environment["ROS_LOCALHOST_ONLY"] = "1"
    return environment


def end_process(
    process: "subprocess.Popen[bytes]",
    *,
    number: signal.Signals = signal.SIGTERM,
    timeout: float = 30.0,
) -> None:
    """End a process by a signal; kill it after a timeout, or if an error interrupts the wait.

    Args:
        process: The process; it may have ended already.
        number: The signal.
        timeout: Longest wait, seconds; a network that loads delays the end.
    """
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
