"""Starts depth_node on the topics of a KITTI bag, plays one and shows it, as asked."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from depthformer_ros.launch_arguments import (
    SWITCH,
    config_file,
    depth_node,
    namespace_argument,
    node_arguments,
    transport_argument,
    value,
)
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

CAMERA = "/kitti/camera_color_left"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and what they start."""
    return LaunchDescription(
        [
            *node_arguments(
                params_file="kitti.yaml",
                use_sim_time="Take the time from /clock; a bag that is played then publishes it",
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
            transport_argument(),
            namespace_argument(),
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
    topic, bag = value(context, "image_topic"), value(context, "bag")
    images = topic + ("/compressed" if value(context, "image_transport") == "compressed" else "")
    sim_time = value(context, "use_sim_time") == "true"
    namespace = value(context, "namespace").strip("/")
    outputs = f"/{namespace}" if namespace else ""
    processes: list[LaunchDescriptionEntity] = [
        depth_node(
            context,
            namespace=namespace,
            image_topic=images,
            camera_info_topic=value(context, "camera_info_topic"),
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", config_file("depthformer.rviz")],
            parameters=[{"use_sim_time": sim_time}],
            remappings=[
                ("/image", topic),
                ("/depth/color", f"{outputs}/depth/color"),
                ("/points", f"{outputs}/points"),
            ],
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
    ]
    if bag:
        processes.append(
            Node(
                package="depthformer_ros",
                executable="replay",
                output="screen",
                arguments=[
                    bag,
                    *("--image-topic", images, "--namespace", namespace),
                    # A large network on a CPU takes its time to load.
                    *("--timeout", "300"),
                    *(["--clock"] if sim_time else []),
                ],
            )
        )
    return processes
