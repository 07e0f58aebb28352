"""Processes of the launch files, and the end of the others when one of them ends."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError
from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnProcessIO, OnShutdown
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessIO
from launch.substitutions import SubstitutionFailure
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from depthformer_core.bags.message_types import base_topic
from depthformer_core.bags.node_topics import CLOUD, COLOR, DEPTH, DEPTH_CAMERA_INFO
from depthformer_core.errors import DepthFormerError
from depthformer_ros.bringup.launch_arguments import (
    calibration,
    checkpoint,
    config_file,
    existing_path,
    number,
    switch,
    value,
)
from launch import LaunchContext

# Longest wait of the player: a large network loads slowly on a CPU, seconds.
_PATIENCE = 300
# Log of a node that will not become active.
_FAILURE = re.compile(rb"(?:configure|activate|autostart) failed: .*")
_INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)


def depth_node(
    context: LaunchContext,
    *,
    namespace: str,
    image_topic: str,
    camera_info_topic: str | None,
    environment: Mapping[str, str] | None = None,
) -> Node:
    """Make the node that the arguments of `node_arguments` describe.

    Args:
        context: The `launch.LaunchContext` they have their values in.
        namespace: Absolute namespace of the node and its outputs.
        image_topic: Topic of the images, relative to the namespace without a leading slash; of
            JPEG or PNG images if it ends in `/compressed`.
        camera_info_topic: Topic of their calibration, or None if there is none.
        environment: Variables of the process, beside those it inherits.

    Raises:
        DepthFormerError: A file is missing, or a value is none of its argument.
    """
    compressed = image_topic.endswith("/compressed")
    remappings = [("image/compressed" if compressed else "image", image_topic)]
    if camera_info_topic is not None:
        remappings.append(("camera_info", camera_info_topic))
    return Node(
        package="depthformer_ros",
        executable="depth_node",
        namespace=namespace,
        output="screen",
        parameters=[
            str(existing_path(context, "params_file")),
            {
                "image_transport": "compressed" if compressed else "raw",
                "use_sim_time": switch(context, "use_sim_time"),
                **_given(context),
            },
        ],
        remappings=remappings,
        ros_arguments=["--log-level", value(context, "log_level")],
        additional_env=dict(environment or {}),
        # A busy machine takes long to end a node with a network.
        sigterm_timeout="30",
    )


def _given(context: LaunchContext) -> dict[str, str | int | bool]:
    """Return the parameters with a value; params_file sets those with an empty argument."""
    values: dict[str, str | int | bool] = {
        parameter: text
        for parameter, text in (
            ("checkpoint", checkpoint(context)),
            ("depth.calibration", calibration(context)),
            ("device", value(context, "device")),
            ("precision", value(context, "precision")),
            ("input.rectify", value(context, "rectify")),
        )
        if text
    }
    for name in ("flip", "autostart"):
        if value(context, name):
            values[name] = switch(context, name)
    if text := value(context, "points_stride"):
        if not text.isdecimal():
            raise DepthFormerError(
                f"points_stride must be a whole number from 1 to 64, got {text!r}"
            )
        values["points.stride"] = int(text)
    return values


def player(context: LaunchContext, *, bag: Path, namespace: str, image_topic: str) -> Node:
    """Make the player of a bag, with the arguments `rate`, `loop` and `start`.

    Args:
        context: The `launch.LaunchContext` they have their values in.
        bag: Absolute path of the bag.
        namespace: Absolute namespace of the node that is played to.
        image_topic: Absolute topic of the images that it takes.

    Raises:
        DepthFormerError: A value is none of its argument.
    """
    rate, start = number(context, "rate"), number(context, "start")
    # Written so that NaN fails too.
    if not rate > 0:
        raise DepthFormerError(f"rate must be positive, got {rate:g}")
    if not start >= 0:
        raise DepthFormerError(f"start must not be negative, got {start:g}")
    return Node(
        package="depthformer_ros",
        executable="replay",
        output="screen",
        arguments=[
            *(str(bag), "--image-topic", image_topic, "--namespace", namespace),
            *("--timeout", str(_PATIENCE), "--rate", f"{rate:g}"),
            *(["--start", f"{start:g}"] if start else []),
            *(["--loop"] if switch(context, "loop") else []),
            *(["--clock"] if switch(context, "use_sim_time") else []),
        ],
    )


def rviz(context: LaunchContext, *, namespace: str, image_topic: str) -> Node:
    """Make RViz, with the argument `fixed_frame` or else the frame of the images.

    Args:
        context: The `launch.LaunchContext`.
        namespace: Absolute namespace of the node's outputs.
        image_topic: Absolute topic of the images that the node takes.

    Raises:
        DepthFormerError: RViz is not installed; the message has the command to install it.
    """
    program = _program(context, "rviz2", "rviz2", purpose="rviz:=true needs RViz")
    outputs = namespace.rstrip("/")
    command = [program, "-d", config_file("depthformer.rviz")]
    if frame := value(context, "fixed_frame"):
        command += ["-f", frame]
    else:
        module = ("-m", "depthformer_ros.bringup.camera_view", "--image-topic", image_topic)
        command = [sys.executable, *module, *command]
    executable, *arguments = command
    return Node(
        executable=executable,
        exec_name="rviz2",
        output="screen",
        arguments=arguments,
        parameters=[{"use_sim_time": switch(context, "use_sim_time")}],
        remappings=[
            ("/image", base_topic(image_topic)),
            (f"/{COLOR}", f"{outputs}/{COLOR}"),
            (f"/{CLOUD}", f"{outputs}/{CLOUD}"),
        ],
    )


def scan_converter(context: LaunchContext, *, namespace: str) -> Node:
    """Make depthimage_to_laserscan, with the arguments of `scan_arguments`.

    Args:
        context: The `launch.LaunchContext` they have their values in.
        namespace: Absolute namespace of the depth node whose depth becomes a scan.

    Raises:
        DepthFormerError: The package is not installed, or a value is none of its argument.
    """
    nearest, farthest = number(context, "range_min"), number(context, "range_max")
    # Written so that NaN fails too.
    if not 0 <= nearest < farthest:
        raise DepthFormerError(
            f"range_min must be below range_max, and not negative, got {nearest:g} and {farthest:g}"
        )
    rows = value(context, "scan_height")
    if not rows.isdecimal() or not int(rows):
        raise DepthFormerError(f"scan_height must be a positive whole number, got {rows!r}")
    package = "depthimage_to_laserscan"
    program = _program(context, package, f"{package}_node", purpose="a scan needs this package")
    return Node(
        executable=program,
        exec_name=package,
        namespace=namespace,
        output="screen",
        parameters=[
            {
                "output_frame": value(context, "scan_frame"),
                "scan_height": int(rows),
                "range_min": nearest,
                "range_max": farthest,
                "use_sim_time": switch(context, "use_sim_time"),
            }
        ],
        remappings=[
            ("depth", DEPTH),
            ("depth_camera_info", DEPTH_CAMERA_INFO),
            ("scan", value(context, "scan_topic")),
        ],
    )


def _program(context: LaunchContext, package: str, executable: str, *, purpose: str) -> str:
    """Return the path of another package's program.

    Raises:
        DepthFormerError: It is not installed; the message has the command to install it.
    """
    try:
        return str(ExecutableInPackage(package=package, executable=executable).perform(context))
    except (PackageNotFoundError, SubstitutionFailure):
        apt = f"ros-{os.environ.get('ROS_DISTRO', '$ROS_DISTRO')}-{package.replace('_', '-')}"
        raise DepthFormerError(
            f"{purpose}, which is not installed: sudo apt install {apt}, "
            "or run it on another machine"
        ) from None


def ends_with_error(process: ExecuteProcess, what: str) -> RegisterEventHandler:
    """End the launch with an error, exit code 1, when a process fails.

    Args:
        process: The process.
        what: What it is, for the message.
    """

    def on_exit(event: ProcessExited, context: LaunchContext) -> None:
        if event.returncode and not interrupted(event, context):
            raise RuntimeError(f"{what} ended with exit code {event.returncode}")

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=on_exit))


def fails_in_the_end(process: ExecuteProcess, what: str) -> list[RegisterEventHandler]:
    """Keep the others running when a process fails; once all have ended, the exit code is 1.

    Launch itself would end with 0, and a supervisor that restarts what failed would not restart it.

    Args:
        process: The process.
        what: What it is, for the message.
    """
    failures: list[str] = []

    def on_exit(event: ProcessExited, context: LaunchContext) -> None:
        if event.returncode and not interrupted(event, context):
            failures.append(f"{what} ended with exit code {event.returncode}")

    def on_shutdown(event: Shutdown, _context: LaunchContext) -> None:
        # Raised once no process is left: an error would keep others from their signal.
        if failures and event.reason == "idle":
            raise RuntimeError(failures[0])

    return [
        RegisterEventHandler(OnProcessExit(target_action=process, on_exit=on_exit)),
        RegisterEventHandler(OnShutdown(on_shutdown=on_shutdown)),
    ]


def ends_without_network(node: Node) -> list[RegisterEventHandler]:
    """End the launch with an error when a depth node fails, or cannot load its network.

    Such a node waits for another checkpoint, and a bag that is played would wait for the node.
    """

    def on_output(event: ProcessIO) -> None:
        if failure := _FAILURE.search(event.text):
            raise RuntimeError(f"depth_node: {failure[0].decode(errors='replace').strip()}")

    watch = OnProcessIO(target_action=node, on_stdout=on_output, on_stderr=on_output)
    return [ends_with_error(node, "depth_node"), RegisterEventHandler(watch)]


def interrupted(event: ProcessExited, context: LaunchContext) -> bool:
    """Return whether a process ended because the launch ends, or because of Ctrl+C."""
    return bool(context.is_shutdown or event.returncode in _INTERRUPTED)
