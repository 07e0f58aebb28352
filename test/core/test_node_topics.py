"""Recognition of a depth node's topics among those of sensors and drivers."""

import pytest

from depthformer_core.bags import Topic
from depthformer_core.bags.node_topics import find_node_topics, is_output, node_prefix

IMAGE, INFO, CLOUD = (f"sensor_msgs/msg/{name}" for name in ("Image", "CameraInfo", "PointCloud2"))
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def topics(**kinds: list[str]) -> dict[str, Topic]:
    """Topics by the short names of their types."""
    names = {"image": IMAGE, "info": INFO, "cloud": CLOUD, "compressed": COMPRESSED}
    return {name: Topic(name, names[kind], 1) for kind, listed in kinds.items() for name in listed}


@pytest.mark.parametrize("namespace", ["robot", "/robot", "robot/", "/robot/"])
def test_namespace(namespace: str) -> None:
    assert node_prefix(namespace) == "/robot"


@pytest.mark.parametrize("namespace", ["", "/"])
def test_root(namespace: str) -> None:
    assert node_prefix(namespace) == ""


@pytest.mark.parametrize(
    ("topic", "prefix", "is_one"),
    [
        ("/depth/image_rect", "", True),
        ("/depth/image_rect/compressedDepth", "", True),
        ("/points", "", True),
        ("/robot/points", "/robot", True),
        ("/robot/points", "", False),
        ("/points", "/robot", False),
        ("/depth/image_rect_raw", "", False),
    ],
)
def test_outputs(topic: str, prefix: str, is_one: bool) -> None:
    assert is_output(topic, prefix) == is_one


REALSENSE = topics(
    image=[
        *("/camera/color/image_raw", "/camera/depth/image_rect_raw"),
        *("/camera/aligned_depth_to_color/image_raw", "/camera/infra1/image_rect_raw"),
    ],
    info=["/camera/color/camera_info", "/camera/depth/camera_info"],
    cloud=["/camera/depth/color/points"],
)
OPENNI = topics(
    image=["/camera/rgb/image_rect_color", "/camera/depth_registered/image_rect"],
    info=["/camera/rgb/camera_info", "/camera/depth_registered/camera_info"],
    cloud=["/camera/depth_registered/points"],
)
GAZEBO = topics(
    image=["/camera/image_raw", "/camera/depth/image_raw"],
    info=["/camera/camera_info", "/camera/depth/camera_info"],
    cloud=["/camera/points"],
)
ZED = topics(
    image=["/zed/left/image_rect_color", "/zed/depth/depth_registered"],
    cloud=["/zed/point_cloud/cloud_registered", "/points"],
)


@pytest.mark.parametrize("camera", [REALSENSE, OPENNI, GAZEBO, ZED])
def test_cameras_of_depth_are_sensors(camera: dict[str, Topic]) -> None:
    assert find_node_topics(camera) == set()


@pytest.mark.parametrize("prefix", ["", "/robot"])
@pytest.mark.parametrize("telling", ["depth/image_rect", "depth/color", "depth/uncertainty"])
def test_outputs_are_told_by_each_image(prefix: str, telling: str) -> None:
    left = topics(
        image=[f"{prefix}/{telling}"],
        info=[f"{prefix}/depth/camera_info"],
        cloud=[f"{prefix}/points"],
    )
    sensors = REALSENSE | topics(image=["/image"], cloud=["/ouster/points"])
    assert find_node_topics(left | sensors) == set(left)


def test_transports_of_outputs() -> None:
    left = topics(compressed=["/depth/image_rect/compressedDepth", "/depth/color/compressed"])
    assert find_node_topics(left) == set(left)
