"""Launch file of depth_node for KITTI's left colour camera, with a bag and RViz as options.

Its parameters are wrong for other cameras, which depth_camera.launch.py is for.
"""

from depthformer_ros.bringup.camera_launch import camera_launch
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and the processes."""
    return camera_launch(params_file="kitti.yaml", images="/kitti/camera_color_left/image_raw")
