"""Launch file of a depth_node for each of two cameras, or of any number.

Each node loads the network for itself, on the same device unless params_file has others.
"""

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from depthformer_core.errors import DepthFormerError
from depthformer_ros.bringup.launch_arguments import (
    camera_info_argument,
    camera_info_topic,
    image_topic,
    namespace,
    node_arguments,
    transport_argument,
    value,
)
from depthformer_ros.bringup.launch_processes import depth_node, fails_in_the_end
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

THREADS = "OMP_NUM_THREADS"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras",
                default_value="camera_left camera_right",
                description="Namespaces of the cameras, separated by spaces; "
                "each gets a node and its outputs",
            ),
            *node_arguments(
                params_file="depthformer.yaml", use_sim_time="Take the time from /clock"
            ),
            DeclareLaunchArgument(
                "image_topic",
                default_value="image_raw",
                description="Topic of each camera's images in its namespace",
            ),
            camera_info_argument(),
            transport_argument(),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the nodes; a function, because their number is an argument."""
    cameras = [name.strip("/") for name in value(context, "cameras").split()]
    if not all(cameras) or len(set(cameras)) < max(len(cameras), 1):
        raise DepthFormerError(
            f"cameras must be different namespaces, got {value(context, 'cameras')!r}"
        )
    # On a CPU each network would take every core, and they would wait for each other.
    share = str(max(1, (os.cpu_count() or 1) // len(cameras)))
    nodes = [
        depth_node(
            context,
            namespace=namespace(context, name),
            # Without a leading slash, so that each node uses its own namespace.
            image_topic=image_topic(context).strip("/"),
            camera_info_topic=camera_info_topic(context).strip("/"),
            environment={THREADS: os.environ.get(THREADS, share)},
        )
        for name in cameras
    ]
    return [
        *nodes,
        *(
            handler
            for name, node in zip(cameras, nodes, strict=True)
            for handler in fails_in_the_end(node, f"depth_node of {name}")
        ),
    ]
