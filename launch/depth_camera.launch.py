"""Starts depth_node for a camera of any kind, plays a bag of one and shows it, as asked."""

from depthformer_ros.bringup.camera_launch import camera_launch
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and what they start."""
    return camera_launch(params_file="depthformer.yaml", images="image_raw")
