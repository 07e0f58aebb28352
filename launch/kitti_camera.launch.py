"""Starts depth_node on the topics of a KITTI bag, plays one and shows it, as asked."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

CAMERA = "/kitti/camera_color_left"
CONFIG = (ThisLaunchFileDir(), "..", "config")
SWITCH = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and what they start."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([*CONFIG, "kitti.yaml"]),
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
                "precision",
                default_value="",
                choices=["", "auto", "float32", "bfloat16"],
                description="Number format of the network; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "image_topic",
                default_value=f"{CAMERA}/image_raw",
                description="Topic of the camera's images, without /compressed",
            ),
            DeclareLaunchArgument(
                "camera_info_topic",
                default_value=f"{CAMERA}/camera_info",
                description="Topic of the camera's calibration",
            ),
            DeclareLaunchArgument(
                "image_transport",
                default_value="raw",
                choices=["raw", "compressed"],
                description="Whether images come as they are, or as JPEG or PNG",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the node and its outputs"
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=SWITCH,
                description="Take the time from /clock; a bag that is played then publishes it",
            ),
            DeclareLaunchArgument("bag", default_value="", description="Bag to play; empty: none"),
            DeclareLaunchArgument(
                "rviz",
                default_value="false",
                choices=SWITCH,
                description="Show image, depth and cloud in RViz",
            ),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes; a function, because empty arguments must leave params_file as it is."""

    def value(name: str) -> str:
        return context.perform_substitution(LaunchConfiguration(name))

    sim_time = {"use_sim_time": value("use_sim_time") == "true"}
    given = {name: value(name) for name in ("checkpoint", "device", "precision") if value(name)}
    transport = value("image_transport")
    images = value("image_topic") + ("/compressed" if transport == "compressed" else "")
    namespace = value("namespace").strip("/")
    outputs = f"/{namespace}" if namespace else ""
    processes: list[LaunchDescriptionEntity] = [
        Node(
            package="depthformer_ros",
            executable="depth_node",
            namespace=namespace,
            output="screen",
            parameters=[
                value("params_file"),
                {"image_transport": transport, **given, **sim_time},
            ],
            remappings=[
                ("image/compressed" if transport == "compressed" else "image", images),
                ("camera_info", value("camera_info_topic")),
            ],
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", PathJoinSubstitution([*CONFIG, "depthformer.rviz"])],
            parameters=[sim_time],
            remappings=[
                ("/image", value("image_topic")),
                ("/depth/color", f"{outputs}/depth/color"),
                ("/points", f"{outputs}/points"),
            ],
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
    ]
    if value("bag"):
        clock = ["--clock"] if sim_time["use_sim_time"] else []
        processes.append(
            Node(
                package="depthformer_ros",
                executable="replay",
                output="screen",
                arguments=[
                    value("bag"),
                    *("--image-topic", images, "--namespace", namespace),
                    # A large network on a CPU takes its time to load.
                    *("--timeout", "300"),
                    *clock,
                ],
            )
        )
    return processes
