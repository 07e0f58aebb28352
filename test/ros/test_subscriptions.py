"""The node's subscriptions: as drivers publish, and where the calibration is."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import camera_info_of, rgb_to_image

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
RELIABLE = QoSProfile(depth=5)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NUMBERS = itertools.count()


def subscription(robot: Any, topic: str) -> Any:
    """The node's subscription to a topic."""
    ends = robot.peer.node.get_subscriptions_info_by_topic(topic)
    mine = [end for end in ends if end.node_name == "depthformer"]
    return mine[0].qos_profile if len(mine) == 1 else None


@pytest.fixture
def camera(peer: Any) -> Iterator[str]:
    """Namespace of a driver of its own."""
    namespace = f"/driver{next(NUMBERS)}"
    yield namespace
    peer.leave(namespace)


@pytest.mark.slow
def test_reliability_is_that_of_the_publishers(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any], camera: str, peer: Any
) -> None:
    create = peer.node.create_publisher
    robot = start_robot("-r", f"image:={camera}/image_raw", input__crop="none")

    def asks_for(wanted: ReliabilityPolicy) -> bool:
        found = subscription(robot, f"{camera}/image_raw")
        return found is not None and found.reliability == wanted

    best = ReliabilityPolicy.BEST_EFFORT
    wait_until(lambda: asks_for(best), "subscription before there is a publisher")
    first = create(Image, f"{camera}/image_raw", RELIABLE)
    wait_until(lambda: asks_for(ReliabilityPolicy.RELIABLE), "reliable subscription")
    second = create(Image, f"{camera}/image_raw", qos_profile_sensor_data)
    wait_until(lambda: asks_for(best), "best-effort subscription")
    for publisher in (first, second):
        image = robot.image()

        def came(image: Any = image, publisher: Any = publisher) -> bool:
            publisher.publish(image)
            return any(depth.header.stamp == image.header.stamp for depth in robot.depths)

        wait_until(came, "depth from each of two drivers")
    peer.in_turn(functools.partial(peer.node.destroy_publisher, second))
    wait_until(lambda: asks_for(ReliabilityPolicy.RELIABLE), "reliable subscription again")


@pytest.mark.slow
@pytest.mark.parametrize("latched", [True, False], ids=["latched", "repeated"])
@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "raw"])
def test_the_calibration_is_beside_the_images(
    start_robot: Callable[..., Any], camera: str, peer: Any, *, latched: bool, compressed: bool
) -> None:
    info = camera_info_of(CAMERA, Header(frame_id="eye"))
    publisher = peer.node.create_publisher(
        CameraInfo, f"{camera}/camera_info", LATCHED if latched else RELIABLE
    )
    # Once, before the node is there.
    publisher.publish(info)
    transport = "compressed" if compressed else "raw"
    robot = start_robot("-r", f"image:={camera}/image_raw", image_transport=transport)

    def calibrated(status: Any) -> bool:
        if not latched:
            publisher.publish(info)
        return any("96x64, fx 80.00" in item.value for item in status.values)

    status = robot.diagnosed(calibrated)
    topic = {item.key: item.value for item in status.values}["image topic"]
    assert topic == f"{camera}/image_raw" + ("/compressed" if compressed else "")
    assert f"calibration on {camera}/camera_info" in robot.process.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("remapping", "images", "infos"),
    [
        pytest.param("image:={}/a/image_raw/compressed", "/a/image_raw", "/a", id="no doubled"),
        pytest.param("image/compressed:={}/b/jpeg", "/b/jpeg", "/b", id="its own"),
    ],
)
def test_names_of_compressed_images(
    start_robot: Callable[..., Any], camera: str, remapping: str, images: str, infos: str
) -> None:
    robot = start_robot("-r", remapping.format(camera), image_transport="compressed")
    robot.process.wait_for_log("waiting for images")
    images = camera + images + ("" if images.endswith("jpeg") else "/compressed")
    assert f"images on {images}, with" in robot.process.log
    assert f"calibration on {camera}{infos}/camera_info" in robot.process.log


@pytest.mark.slow
def test_what_the_user_fixed_stays(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any], camera: str, peer: Any
) -> None:
    images, points = f"{camera}/image_raw", f"{camera}/points"
    robot = start_robot(
        *("-r", f"image:={images}", "-r", f"points:={points}"),
        *("-p", f"qos_overrides.{images}.subscription.reliability:=best_effort"),
        *("-p", f"qos_overrides.{images}.subscription.depth:=3"),
        *("-p", f"qos_overrides.{points}.publisher.reliability:=best_effort"),
    )
    peer.node.create_publisher(Image, images, RELIABLE)
    peer.node.create_publisher(CameraInfo, f"{camera}/camera_info", LATCHED)
    # The calibration follows: there was time to.
    wait_until(
        lambda: (
            (found := subscription(robot, f"{camera}/camera_info")) is not None
            and found.durability == DurabilityPolicy.TRANSIENT_LOCAL
        ),
        "latched subscription",
    )
    # Discovery may still be at work.
    found = wait_until(lambda: subscription(robot, images), "subscription to the images")
    assert found.reliability == ReliabilityPolicy.BEST_EFFORT
    (cloud,) = peer.node.get_publishers_info_by_topic(points)
    assert cloud.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert "is not used" not in robot.process.log


@pytest.mark.slow
def test_a_late_driver_of_compressed_images(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any], camera: str, peer: Any
) -> None:
    import cv2

    robot = start_robot("-r", f"image:={camera}/image_raw", image_transport="compressed")
    robot.process.wait_for_log("waiting for images")
    publisher = peer.node.create_publisher(
        CompressedImage, f"{camera}/image_raw/compressed", RELIABLE
    )
    data = cv2.imencode(".jpg", np.full((64, 96, 3), 90, np.uint8))[1].tobytes()
    image = CompressedImage(header=Header(frame_id="eye"), format="jpeg", data=data)

    def came() -> bool:
        publisher.publish(image)
        return bool(robot.depths)

    wait_until(came, "depth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "given", "text"),
    [
        pytest.param("/eye", "eye", "which tf2 refuses", id="leading slash"),
        pytest.param("", "", "no frame_id", id="empty"),
    ],
)
def test_frames_that_tf2_refuses(
    start_robot: Callable[..., Any], frame: str, given: str, text: str
) -> None:
    robot = start_robot(input__crop="none")
    robot.calibrate(camera_info_of(CAMERA, Header(frame_id=frame)))
    image = robot.image()
    image.header.frame_id = frame
    depths = [
        robot.prediction(image),
        *(robot.partner(image, got) for got in (robot.infos, robot.clouds)),
    ]
    assert {depth.header.frame_id for depth in depths} == {given}
    assert text in robot.process.log


@pytest.mark.slow
def test_points_alone_need_a_calibration_before_the_network_runs(
    start_robot: Callable[..., Any], wait_until: Callable[..., Any], camera: str, peer: Any
) -> None:
    robot = start_robot(
        *("-r", f"image:={camera}/image", "-r", f"points:={camera}/points"),
        *("-r", f"depth/image_rect:={camera}/depth"),
        input__crop="none",
    )
    # Of the peer's subscriptions only that of the cloud is left.
    for received in ("depth/camera_info", "depth/color", "depth/uncertainty"):
        topic = f"{robot.namespace}/{received}"
        for found in [s for s in peer.node.subscriptions if s.topic_name == topic]:
            peer.in_turn(functools.partial(peer.node.destroy_subscription, found))
    from sensor_msgs.msg import PointCloud2

    peer.subscribe(PointCloud2, f"{camera}/points")
    publisher = peer.node.create_publisher(Image, f"{camera}/image", RELIABLE)
    picture = rgb_to_image(np.full((64, 96, 3), 90, np.uint8), Header(frame_id="eye"))

    def dropped() -> bool:
        publisher.publish(picture)
        return robot.count("dropped: no calibration") > 2

    wait_until(dropped, "images without a calibration")
    assert robot.count("answered") == 0
    assert robot.process.log.count("no camera_info yet") == 1


@pytest.mark.slow
def test_the_image_of_the_depth_is_published(start_robot: Callable[..., Any], peer: Any) -> None:
    robot = start_robot(input__crop="none")
    images = peer.subscribe(Image, f"{robot.namespace}/depth/image_rect_color")
    info = camera_info_of(CAMERA, Header(frame_id="eye"))
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    robot.calibrate(info)
    image = robot.image()
    depth = robot.prediction(image)
    rectified = robot.partner(image, images)
    assert rectified.header == depth.header
    assert (rectified.encoding, rectified.height, rectified.width) == ("rgb8", 64, 96)
    assert bytes(rectified.data) != bytes(image.data)


@pytest.mark.slow
def test_whole_numbers_and_misspelt_names_of_parameters(start_robot: Callable[..., Any]) -> None:
    robot = start_robot("-p", "depth.max:=50", "-p", "point.stride:=2", input__crop="none")
    robot.prediction(robot.image())
    text = "there is no parameter point.stride, 2 is not used; did you mean points.stride?"
    assert text in robot.process.log
    assert robot.set(depth__max=40).successful
    assert not robot.set(depth__max=5000).successful
    assert not robot.set(points__stride=2.0).successful


@pytest.mark.slow
def test_images_that_pass_for_rectified(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(input__rectify="never", input__crop="none")
    info = camera_info_of(CAMERA, Header(frame_id="eye"))
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    robot.calibrate(info)
    robot.prediction(robot.image())
    robot.diagnosed(lambda status: "input.rectify is never" in status.message)
    robot.process.wait_for_log("set input.rectify to auto")


@pytest.mark.slow
def test_a_crop_that_lets_through_what_was_never_trained(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(input__crop="kitti", checkpoint="small")
    # A wide view: twice as wide as KITTI's.
    robot.calibrate(camera_info_of(Camera(640, 480, 180.0, 180.0, 320.0, 240.0), Header()))
    robot.prediction(robot.image(640, 480))
    robot.process.wait_for_log("crop kitti lets it through")
