"""Launch file of depth_node for any camera, with a bag in its place and RViz as options."""

from depthformer_ros.bringup.camera_launch import camera_launch
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the processes."""
    return camera_launch(params_file="depthformer.yaml", images="image_raw")
