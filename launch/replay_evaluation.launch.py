"""Starts depth_node on the topics of a bag, plays the bag into it and writes a report."""

import shlex
import sys
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from depthformer_core.replay.bag_frames import BagFrames
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

CONFIG = (ThisLaunchFileDir(), "..", "config")
SWITCH = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and what they start."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="ROS 2 or ROS 1 bag to evaluate on"),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([*CONFIG, "depthformer.yaml"]),
                description="YAML file with the parameters of depth_node",
            ),
            DeclareLaunchArgument(
                "checkpoint",
                default_value="",
                description="A .safetensors checkpoint or a preset; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "device",
                default_value="",
                description="auto, cpu, cuda or cuda:N; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "image_topic",
                default_value="",
                description="Topic of the bag's images; empty: the only one",
            ),
            DeclareLaunchArgument(
                "camera_info_topic",
                default_value="",
                description="Topic of their calibration; empty: that beside them",
            ),
            DeclareLaunchArgument(
                "mode",
                default_value="lockstep",
                choices=["lockstep", "realtime"],
                description="Send the next image when the last is answered, or keep the bag's pace",
            ),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Factor on the bag's pace, in realtime"
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=SWITCH,
                description="Publish the bag's time on /clock and let the node take it",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the node and its outputs"
            ),
            DeclareLaunchArgument(
                "require",
                default_value="",
                description="Bounds parted by spaces, such as 'abs_rel<0.1 p99<0.5'",
            ),
            DeclareLaunchArgument(
                "options",
                default_value="",
                description="Further options of `depthformer replay`, as '--truth lidar'",
            ),
            DeclareLaunchArgument(
                "output", default_value="replay", description="Folder for the report"
            ),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes; a function, because the bag tells which topics they use."""

    def value(name: str) -> str:
        return context.perform_substitution(LaunchConfiguration(name))

    bag = Path(value("bag")).absolute()
    # Which topic the truth is on is for the evaluation to say.
    topics = BagFrames(
        bag,
        image=value("image_topic") or None,
        camera_info=value("camera_info_topic") or None,
        truth="none",
    ).topics
    compressed = topics.image.endswith("/compressed")
    sim_time = value("use_sim_time") == "true"
    given = {name: value(name) for name in ("checkpoint", "device") if value(name)}
    remappings = [("image/compressed" if compressed else "image", topics.image)]
    if topics.camera_info is not None:
        remappings.append(("camera_info", topics.camera_info))
    node = Node(
        package="depthformer_ros",
        executable="depth_node",
        namespace=value("namespace").strip("/"),
        output="screen",
        parameters=[
            value("params_file"),
            {
                "image_transport": "compressed" if compressed else "raw",
                "use_sim_time": sim_time,
                **given,
            },
        ],
        remappings=remappings,
        # A machine that is busy takes its time to end a node with a network.
        sigterm_timeout="30",
    )
    requirements = value("require").split()
    # No Node: it is a command, which takes no arguments of ROS.
    evaluation = ExecuteProcess(
        output="screen",
        cmd=[
            *(sys.executable, "-m", "depthformer_core.cli"),
            *("replay", str(bag), "--node", "--attach"),
            *("--image-topic", topics.image),
            *(["--camera-info-topic", topics.camera_info] if topics.camera_info else []),
            *("--mode", value("mode"), "--rate", value("rate")),
            *("--namespace", value("namespace")),
            *(["--clock"] if sim_time else []),
            *(["--require", *requirements] if requirements else []),
            *("--output", str(Path(value("output")).absolute())),
            *shlex.split(value("options")),
        ],
    )
    ended = OnProcessExit(target_action=evaluation, on_exit=_end)
    return [node, evaluation, RegisterEventHandler(ended)]


def _end(event: ProcessExited, _context: LaunchContext) -> EmitEvent:
    """End the node too; an error makes `ros2 launch` itself end with exit code 1."""
    if event.returncode:
        raise RuntimeError(f"the evaluation ended with exit code {event.returncode}")
    return EmitEvent(event=Shutdown(reason="evaluated"))
