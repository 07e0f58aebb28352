"""Launch file that plays a bag through depth_node and writes a report."""

import shlex
import sys

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

from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_ros.bringup.launch_arguments import (
    existing_path,
    namespace,
    namespace_argument,
    node_arguments,
    path,
    switch,
    value,
)
from depthformer_ros.bringup.launch_processes import depth_node, ends_without_network, interrupted
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="ROS 2 or ROS 1 bag to evaluate on"),
            *node_arguments(
                params_file="depthformer.yaml",
                use_sim_time="Publish the bag's time on /clock and let the node take it",
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
                description="Wait for the prediction of each image, or keep the bag's pace",
            ),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Factor on the bag's pace, in realtime"
            ),
            namespace_argument(),
            DeclareLaunchArgument(
                "require",
                default_value="",
                description="Bounds separated by spaces, such as 'abs_rel<0.1 p99<0.5'",
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
    """Make the processes; a function, because their topics depend on the bag."""
    bag = existing_path(context, "bag")
    place = namespace(context, value(context, "namespace"))
    # The evaluation finds the topic of the truth.
    topics = BagFrames(
        bag,
        FrameOptions(
            image=value(context, "image_topic") or None,
            camera_info=value(context, "camera_info_topic") or None,
            truth="none",
        ),
    ).topics
    node = depth_node(
        context,
        namespace=place,
        image_topic=topics.image,
        camera_info_topic=topics.camera_info,
    )
    requirements = value(context, "require").split()
    # No Node: it is a command, which takes no arguments of ROS.
    evaluation = ExecuteProcess(
        name="evaluation",
        output="screen",
        cmd=[
            *(sys.executable, "-m", "depthformer_core.cli"),
            *("replay", str(bag), "--node", "--attach"),
            *("--image-topic", topics.image),
            *(["--camera-info-topic", topics.camera_info] if topics.camera_info else []),
            *("--mode", value(context, "mode"), "--rate", value(context, "rate")),
            *("--namespace", place),
            *(["--clock"] if switch(context, "use_sim_time") else []),
            *(["--require", *requirements] if requirements else []),
            *("--output", str(path(context, "output"))),
            *shlex.split(value(context, "options")),
        ],
    )
    ended = OnProcessExit(target_action=evaluation, on_exit=_end)
    return [node, evaluation, RegisterEventHandler(ended), *ends_without_network(node)]


def _end(event: ProcessExited, context: LaunchContext) -> EmitEvent:
    """End the node too; an error makes `ros2 launch` itself end with exit code 1."""
    if event.returncode and not interrupted(event, context):
        raise RuntimeError(f"the evaluation ended with exit code {event.returncode}")
    return EmitEvent(event=Shutdown(reason="evaluated"))
