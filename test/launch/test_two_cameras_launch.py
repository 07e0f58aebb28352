import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

ARGUMENTS = {
    *("cameras", "params_file", "checkpoint", "device", "precision", "flip", "rectify"),
    *("points_stride", "autostart", "calibration", "log_level", "use_sim_time"),
    *("image_topic", "camera_info_topic", "image_transport"),
}


@pytest.fixture
def two_cameras(launch_file: Callable[[str], Any]) -> Any:
    return launch_file("two_cameras")


def test_arguments_are_described(two_cameras: Any) -> None:
    declared = two_cameras.arguments()
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())


def test_each_camera_gets_a_node_in_its_namespace(two_cameras: Any) -> None:
    started = two_cameras.nodes(cameras="front /rear/ top", image_topic="/color/image_raw")
    assert [node.expanded_node_namespace for node in started] == ["/front", "/rear", "/top"]
    for node in started:
        assert node.node_executable == "depth_node"
        # Without a leading slash, so that each node looks into its own namespace.
        assert node.expanded_remapping_rules == [
            ("image", "color/image_raw"),
            ("camera_info", "color/camera_info"),
        ]


def test_compressed_images_come_on_the_transports_topic(two_cameras: Any) -> None:
    first, _ = two_cameras.nodes(image_transport="compressed")
    assert first.expanded_remapping_rules[0] == ("image/compressed", "image_raw/compressed")


def threads(node: Any) -> str:
    """Value of the variable that PyTorch's CPU threads obey."""
    ((name, value),) = node.additional_env
    assert name[0].text == "OMP_NUM_THREADS"
    return str(value[0].text)


def test_nodes_share_the_cores(two_cameras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.cpu_count() or 1
    for cameras, share in (("front", cores), ("front rear", max(1, cores // 2))):
        assert {threads(node) for node in two_cameras.nodes(cameras=cameras)} == {str(share)}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert {threads(node) for node in two_cameras.nodes()} == {"7"}


@pytest.mark.parametrize(
    "cameras",
    [
        pytest.param("", id="none"),
        pytest.param("front front", id="twice"),
        pytest.param("front /front/", id="twice with slashes"),
        pytest.param("front /", id="no name"),
    ],
)
def test_cameras_are_different_namespaces(two_cameras: Any, cameras: str) -> None:
    with pytest.raises(ValueError, match=f"must be different namespaces, got '{cameras}'"):
        two_cameras.nodes(cameras=cameras)


def test_both_cameras_are_predicted(ros_domain: int, start_launch: Callable[..., Any]) -> None:
    rclpy = pytest.importorskip("rclpy")
    from sensor_msgs.msg import Image

    from depthformer_ros.messages.conversions import rgb_to_image

    launched = start_launch(
        "two_cameras", "cameras:=front rear", "checkpoint:=debug", "device:=cpu"
    )
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    try:
        node = rclpy.create_node("cameras", context=context)
        predictions: dict[str, list[Any]] = {"front": [], "rear": []}
        cameras = {
            name: node.create_publisher(Image, f"/{name}/image_raw", 10) for name in predictions
        }
        for name, received in predictions.items():
            node.create_subscription(Image, f"/{name}/depth/image_rect", received.append, 10)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def predicted() -> bool:
            for number, (name, camera) in enumerate(cameras.items()):
                picture = np.full((64, 96 + 32 * number, 3), 90, np.uint8)
                image = rgb_to_image(picture, Image().header)
                image.header.frame_id = name
                camera.publish(image)
            executor.spin_once(timeout_sec=0.3)
            return all(predictions.values())

        launched.wait_until(predicted)
        # Each node has seen its own camera alone.
        widths = {name: {depth.width for depth in got} for name, got in predictions.items()}
        frames = {
            name: {depth.header.frame_id for depth in got} for name, got in predictions.items()
        }
        assert widths == {"front": {96}, "rear": {128}}
        assert frames == {"front": {"front"}, "rear": {"rear"}}
    finally:
        context.try_shutdown()
    launched.press_ctrl_c()
    assert launched.end() == 0, launched.output()
    assert launched.output().count("process has finished cleanly") == 2
    assert launched.left() == []
