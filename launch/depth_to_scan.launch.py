"""Launch file of depthimage_to_laserscan beside a running depth_node: its depth as a laser scan."""

from launch.actions import OpaqueFunction

from depthformer_ros.bringup.launch_arguments import (
    namespace,
    namespace_argument,
    scan_arguments,
    switch_argument,
    value,
)
from depthformer_ros.bringup.launch_processes import fails_in_the_end, scan_converter
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the process."""
    return LaunchDescription(
        [
            namespace_argument(),
            *scan_arguments(),
            switch_argument("use_sim_time", "Take the time from /clock"),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the process; a function, so that errors come before it starts."""
    converter = scan_converter(context, namespace=namespace(context, value(context, "namespace")))
    return [converter, *fails_in_the_end(converter, "depthimage_to_laserscan")]
