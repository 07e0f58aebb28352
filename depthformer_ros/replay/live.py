"""A bag played through a node: both in processes of their own, connected by ROS 2."""

import contextlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.node_topics import CLOUD, DEPTH, node_prefix
from depthformer_ros.process import ROS_WHEELS, child_environment, end_process
from depthformer_ros.replay.predictions import Mode, ReplayReport

__all__ = ["CLOUD_TOPIC", "DEPTH_TOPIC", "Mode", "play_through_node", "require_ros"]

DEPTH_TOPIC = f"/{DEPTH}"
CLOUD_TOPIC = f"/{CLOUD}"

# Log of a node that could not load its checkpoint.
_FAILED = re.compile(r"configure failed: .*")
_LINES = 15
_POLL = 0.2  # seconds


def play_through_node(
    bag: Path,
    *,
    output: Path,
    image_topic: str,
    compressed: bool,
    camera_info_topic: str | None,
    parameters: Mapping[str, bool | float | str] | None,
    mode: Mode,
    rate: float = 1.0,
    clock: bool = False,
    namespace: str = "",
    timeout: float = 60.0,
) -> ReplayReport:
    """Play a bag through a depth node.

    Args:
        bag: The bag.
        output: Folder that gets the bag `answers` and, of a node that was started, `node.log`.
        image_topic: Topic of the bag whose messages are the frames.
        compressed: Whether they are of type `CompressedImage`.
        camera_info_topic: Topic of their calibration, if there is one.
        parameters: Parameters of a node that is started for it, out of reach of other robots;
            None for one that runs already and subscribes to these topics.
        mode: `realtime` keeps the bag's pace, `lockstep` waits for each prediction.
        rate: Factor on the bag's pace.
        clock: Whether to publish the bag's time, and start the node with it.
        namespace: Namespace of the node.
        timeout: Seconds to wait for the node, for a prediction in lockstep, and at the end.

    Returns:
        The player's `ReplayReport`.

    Raises:
        ReplayError: ROS 2 is missing, or node or player failed or was interrupted; the message
            has the reason and the last log lines of the node.
    """
    require_ros()
    player = [
        *(sys.executable, "-m", "depthformer_ros.replay", str(bag)),
        *("--output", str(output), "--mode", mode, "--rate", str(rate)),
        *("--image-topic", image_topic, "--timeout", str(timeout)),
        *("--namespace", namespace),
        *(["--clock"] if clock else []),
    ]
    player_log = output / "replay.log"
    with contextlib.ExitStack() as stack:
        environment = child_environment(isolated=parameters is not None)
        node = None
        if parameters is not None:
            values = {**parameters, **({"use_sim_time": True} if clock else {})}
            command = _node_command(
                values,
                image_topic,
                camera_info_topic,
                compressed=compressed,
                namespace=namespace,
            )
            node = stack.enter_context(_process(command, output / "node.log", environment))
        # On a terminal the player shows its progress, and why it failed.
        seen = sys.stderr.isatty()
        replay = stack.enter_context(_process(player, player_log, environment, loud=seen))
        reason = _watch(replay, node, output / "node.log")
    if not reason and replay.returncode:
        reason = "the replay failed, see above" if seen else _tail(player_log, 1)
    node_log = (
        ""
        if node is None
        else f"\nLast lines of the node's log:\n{_tail(output / 'node.log', _LINES)}"
    )
    if reason:
        raise ReplayError(f"{reason}.{node_log}")
    report: ReplayReport = json.loads((output / "replay.json").read_text(encoding="utf-8"))
    if report["interrupted"]:
        raise ReplayError(f"the player was interrupted after {report['sent']} frames.{node_log}")
    if not report["answered"]:
        raise ReplayError(f"the node predicted none of {report['sent']} frames.{node_log}")
    for leftover in ("replay.json", "replay.log"):
        (output / leftover).unlink()
    return report


def _node_command(
    parameters: Mapping[str, bool | float | str],
    image_topic: str,
    camera_info_topic: str | None,
    *,
    compressed: bool,
    namespace: str,
) -> list[str]:
    transport = "compressed" if compressed else "raw"
    values = {"image_transport": transport, **parameters}
    renamed = {"image/compressed" if compressed else "image": image_topic}
    if camera_info_topic is not None:
        renamed["camera_info"] = camera_info_topic
    if prefix := node_prefix(namespace):
        renamed["__ns"] = prefix
    return [
        *(sys.executable, "-m", "depthformer_ros.depth_node", "--ros-args"),
        *(item for name in values for item in ("-p", f"{name}:={json.dumps(values[name])}")),
        *(item for name in renamed for item in ("-r", f"{name}:={renamed[name]}")),
    ]


def _watch(
    replay: subprocess.Popen[bytes], node: subprocess.Popen[bytes] | None, node_log: Path
) -> str:
    """Wait for the player; return what is wrong if the node ends or fails before it."""
    while replay.poll() is None:
        time.sleep(_POLL)
        if node is None:
            continue
        if node.poll() is not None and replay.poll() is None:
            return f"the node ended with exit code {node.poll()}"
        if failed := _FAILED.search(_tail(node_log, _LINES)):
            return failed[0]
    return ""


def require_ros() -> None:
    """Check that ROS 2 is available.

    Raises:
        ReplayError: It is not.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise ReplayError(
            "ROS 2 is missing: this Python has no rclpy. Source a ROS 2 installation, or install "
            f"the wheels {ROS_WHEELS}"
        )


@contextlib.contextmanager
def _process(
    command: list[str], log: Path, environment: dict[str, str], *, loud: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it with the context. A loud one keeps our stderr."""
    with log.open("wb") as file:
        errors = None if loud else subprocess.STDOUT
        process = subprocess.Popen(  # noqa: S603  # our own modules, without a shell
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=errors, env=environment
        )
        try:
            yield process
        finally:
            end_process(process, number=signal.SIGINT)


def _tail(log: Path, count: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-count:]) or "(nothing)"
