"""What the launch files share: arguments of the node, and the node they make."""

from collections.abc import Mapping
from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

SWITCH = ["true", "false"]
"""Values of an argument that is on or off."""


def config_file(name: str) -> PathJoinSubstitution:
    """Name a file of config/, in the source tree and in an installed package."""
    return PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", name])


def node_arguments(*, params_file: str, use_sim_time: str) -> list[DeclareLaunchArgument]:
    """Declare the arguments that every launch file has.

    Args:
        params_file: File of config/ that holds the parameters by default.
        use_sim_time: What that argument does.
    """
    return [
        DeclareLaunchArgument(
            "params_file",
            default_value=config_file(params_file),
            description="YAML file with the parameters of depth_node",
        ),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="",
            description="A checkpoint (.safetensors, or the release's .pth) or a preset; empty: as "
            "in params_file",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="auto, cpu, cuda or cuda:N; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "precision",
            default_value="",
            choices=["", "auto", "float32", "bfloat16"],
            description="Number format of the network; empty: as in params_file",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=SWITCH, description=use_sim_time
        ),
    ]


def namespace_argument() -> DeclareLaunchArgument:
    """Declare the namespace of the one node of a launch file."""
    return DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node and its outputs"
    )


def transport_argument() -> DeclareLaunchArgument:
    """Declare how images come from a camera."""
    return DeclareLaunchArgument(
        "image_transport",
        default_value="raw",
        choices=["raw", "compressed"],
        description="Whether images come as they are, or as JPEG or PNG",
    )


def value(context: Any, name: str) -> str:
    """Value of an argument in a `launch.LaunchContext`."""
    return str(context.perform_substitution(LaunchConfiguration(name)))


def depth_node(
    context: Any,
    *,
    namespace: str,
    image_topic: str,
    camera_info_topic: str | None,
    environment: Mapping[str, str] | None = None,
) -> Node:
    """Make the node that the arguments of `node_arguments` describe.

    Args:
        context: The `launch.LaunchContext` they have their values in.
        namespace: Of the node and its outputs; empty for none.
        image_topic: Topic of the images, relative to the namespace without a leading slash; of
            JPEG or PNG images if it ends in `/compressed`.
        camera_info_topic: Topic of their calibration, or None if there is none.
        environment: Variables of the process, beside those it inherits.
    """
    compressed = image_topic.endswith("/compressed")
    # What is empty must leave params_file as it is.
    given = {
        name: text
        for name in ("checkpoint", "device", "precision")
        if (text := value(context, name))
    }
    remappings = [("image/compressed" if compressed else "image", image_topic)]
    if camera_info_topic is not None:
        remappings.append(("camera_info", camera_info_topic))
    return Node(
        package="depthformer_ros",
        executable="depth_node",
        namespace=namespace,
        output="screen",
        parameters=[
            value(context, "params_file"),
            {
                "image_transport": "compressed" if compressed else "raw",
                "use_sim_time": value(context, "use_sim_time") == "true",
                **given,
            },
        ],
        remappings=remappings,
        additional_env=dict(environment or {}),
        # A machine that is busy takes its time to end a node with a network.
        sigterm_timeout="30",
    )
