"""Commands that findings advise, to start a depth node on a camera."""

import re

from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED,
    COMPRESSED_IMAGE,
    calibration_beside,
)
from depthformer_ros.doctor.cameras import ImageTopic, published
from depthformer_ros.doctor.graph_facts import Graph

RUN = "ros2 run depthformer_ros depth_node"
"""Starts a node without launch."""

_LAUNCH = "ros2 launch depthformer_ros"
_NAME = "depthformer"  # of a node without another name
_KITTI = re.compile(r"/kitti/camera_(gray|color)_(left|right)/")


def start(
    graph: Graph, camera: ImageTopic, *, node: str = "", taken: str = "", calibration: str = ""
) -> str:
    """Return the commands that start a depth node on a camera: by launch, and without.

    Args:
        graph: The graph.
        camera: Topic of the images, and their type.
        node: Full name of the node; that of a new one by default.
        taken: Type of images that the node takes now, if one runs.
        calibration: Topic of the calibration, where it is not that beside the images.
    """
    namespace, _, name = (node or f"/{_NAME}").rpartition("/")
    launch = _launch(camera, namespace=namespace.strip("/"), calibration=calibration)
    arguments = [RUN, "--ros-args"]
    if namespace:
        arguments.append(f"-r __ns:={namespace}")
    if name != _NAME:
        arguments.append(f"-r __node:={name}")
    arguments.append(_arguments(graph, camera, taken=taken, calibration=calibration))
    run = " ".join(arguments)
    return f"{launch}  (without launch: {run})" if launch else run


def start_on(topic: str) -> str:
    """Return the command that starts a depth node by launch on a topic of raw images."""
    return f"{_LAUNCH} depth_camera.launch.py image_topic:={topic}"


def _launch(camera: ImageTopic, *, namespace: str, calibration: str) -> str:
    """Return the command for launch; empty if its arguments cannot name the topic."""
    topic, kind = camera
    compressed = kind == COMPRESSED_IMAGE
    base = topic.name.removesuffix(COMPRESSED)
    # The launch files take a name that ends so for that of compressed images.
    if compressed != topic.name.endswith(COMPRESSED) or base.endswith(COMPRESSED):
        return ""
    file = "kitti_camera" if _KITTI.search(topic.name) else "depth_camera"
    arguments = [_LAUNCH, f"{file}.launch.py"]
    if namespace:
        arguments.append(f"namespace:={namespace}")
    arguments.append(f"image_topic:={base}")
    if compressed:
        arguments.append("image_transport:=compressed")
    # The one beside the images needs no argument.
    if calibration and calibration != calibration_beside(topic.name):
        arguments.append(f"camera_info_topic:={calibration}")
    return " ".join(arguments)


def _arguments(graph: Graph, camera: ImageTopic, *, taken: str, calibration: str) -> str:
    """Return the arguments that make a depth node take the images of a topic."""
    topic, kind = camera
    arguments = f"-r image:={topic.name}"
    if kind == COMPRESSED_IMAGE:
        arguments = f"-p image_transport:=compressed -r image/compressed:={topic.name}"
    elif taken == COMPRESSED_IMAGE:
        arguments = f"-p image_transport:=raw {arguments}"
    beside = calibration_beside(topic.name)
    if not calibration and published(graph, beside, CAMERA_INFO):
        calibration = beside
    return f"{arguments} -r camera_info:={calibration}" if calibration else arguments
