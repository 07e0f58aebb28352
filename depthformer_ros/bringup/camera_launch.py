"""The launch description of one camera: its depth node, a bag in its place, and RViz."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from depthformer_ros.bringup.launch_arguments import (
    camera_info_argument,
    camera_info_topic,
    existing_path,
    image_topic,
    namespace,
    namespace_argument,
    node_arguments,
    resolved,
    switch,
    switch_argument,
    transport_argument,
    value,
)
from depthformer_ros.bringup.launch_processes import (
    depth_node,
    ends_with_error,
    ends_without_network,
    fails_in_the_end,
    player,
    rviz,
)
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


def camera_launch(*, params_file: str, images: str) -> LaunchDescription:
    """Declare the arguments of a camera's launch file, and their processes.

    Args:
        params_file: File of config/ that holds the parameters by default.
        images: Topic of the images by default, in the node's namespace without a leading slash.
    """
    return LaunchDescription(
        [
            *node_arguments(
                params_file=params_file,
                use_sim_time="Take the time from /clock, where a bag that is played publishes it",
            ),
            DeclareLaunchArgument(
                "image_topic",
                default_value=images,
                description="Topic of the camera's images",
            ),
            camera_info_argument(),
            transport_argument(),
            namespace_argument(),
            DeclareLaunchArgument(
                "bag", default_value="", description="ROS 2 or ROS 1 bag to play; empty: none"
            ),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Factor on the bag's pace"
            ),
            DeclareLaunchArgument(
                "start", default_value="0.0", description="Seconds of the bag that are left out"
            ),
            switch_argument("loop", "Play the bag again and again"),
            switch_argument("rviz", "Show image, depth and cloud in RViz"),
            DeclareLaunchArgument(
                "fixed_frame",
                default_value="",
                description="Fixed frame of RViz; empty: that of the first image",
            ),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the processes; a function, so that errors come before any of them starts."""
    topic = image_topic(context)
    place = namespace(context, value(context, "namespace"))
    images = resolved(topic, namespace=place)
    node = depth_node(
        context,
        namespace=place,
        image_topic=topic,
        camera_info_topic=camera_info_topic(context),
    )
    processes: list[LaunchDescriptionEntity] = [node]
    if value(context, "bag"):
        bag = existing_path(context, "bag")
        replay = player(context, bag=bag, namespace=place, image_topic=images)
        processes += [replay, ends_with_error(replay, "the player"), *ends_without_network(node)]
    else:
        processes += fails_in_the_end(node, "depth_node")
    if switch(context, "rviz"):
        processes.append(rviz(context, namespace=place, image_topic=images))
    return processes
