"""The doctor's view of a real graph: a depth node in another process, and its neighbours."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from depthformer_core.bags.message_types import COMPRESSED_IMAGE
from depthformer_core.cli import main
from depthformer_core.doctor import Finding, Level
from depthformer_core.geometry.camera import Camera
from depthformer_ros.doctor.gather import observer
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.graph_facts import Graph
from depthformer_ros.messages.conversions import camera_info_of, rgb_to_image
from depthformer_ros.node.node import DepthNode

NODE = "/robot/eyes"
IMAGE = "/robot/image"
INFO = "/robot/camera_info"
# Enough for messages that come twenty times a second, among those that know each other.
SOON = {"discovery": 0.3, "receive": 1.0}


class World:
    """A domain of its own with one depth node in it, and a participant that does the rest."""

    def __init__(self, domain: int, log: Path, wait_until: Callable[..., Any]) -> None:
        self.domain = domain
        self.wait_until = wait_until
        repository = Path(__file__).parents[2]
        path = os.pathsep.join(filter(None, (str(repository), os.environ.get("PYTHONPATH"))))
        values = {"checkpoint": "debug", "device": "cpu", "diagnostics.period": 0.2}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "depthformer_ros.depth_node", "--ros-args"),
                    *("-r", "__ns:=/robot", "-r", "__node:=eyes"),
                    *(item for key in values for item in ("-p", f"{key}:={values[key]}")),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "ROS_DOMAIN_ID": str(domain)},
            )
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("world", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self._observer = observer(domain=domain)
        self.eyes = self._observer.__enter__()
        wait_until(
            lambda: "waiting for images" in log.read_text() or self.process.poll() is not None,
            "start of the node",
        )
        assert self.process.poll() is None, log.read_text()
        wait_until(self.eyes.depth_nodes, "the node in the graph")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._observer.__exit__(None, None, None)
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()
        self._context.try_shutdown()

    def clear(self) -> None:
        """Take everything away but the depth node."""
        # Between two waits: rclpy stumbles over what is destroyed in one.
        task = self._executor.create_task(self._clear)
        self.wait_until(task.done, "change of the world")

    def _clear(self) -> None:
        node = self.node
        for timer in list(node.timers):
            node.destroy_timer(timer)
        for publisher in list(node.publishers):
            if publisher.topic_name not in ("/rosout", "/parameter_events"):
                node.destroy_publisher(publisher)
        for subscription in list(node.subscriptions):
            node.destroy_subscription(subscription)

    def publish(
        self, message: Any, topic: str, qos: Any = qos_profile_sensor_data, *, every: float = 0.05
    ) -> Any:
        """Send a message twenty times a second, or every so many seconds."""
        publisher = self.node.create_publisher(type(message), topic, qos)
        self.node.create_timer(every, lambda: publisher.publish(message))
        return publisher

    def subscribe(self, kind: Any, topic: str, qos: Any = 10) -> list[Any]:
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def call(self, kind: Any, name: str, request: Any) -> None:
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(60)
        time.sleep(0.5)
        future = client.call_async(request)
        self.wait_until(future.done, f"response of {name}")
        assert future.result().success
        self.node.destroy_client(client)

    def change(self, transition: int) -> None:
        request = ChangeState.Request()
        request.transition.id = transition
        self.call(ChangeState, f"{NODE}/change_state", request)

    def set(self, name: str, text: str) -> None:
        """Set a parameter of the depth node."""
        value = Parameter(name, value=text).to_parameter_msg()
        client = self.node.create_client(SetParameters, f"{NODE}/set_parameters")
        assert client.wait_for_service(60)
        time.sleep(0.5)
        future = client.call_async(SetParameters.Request(parameters=[value]))
        self.wait_until(future.done, f"response to {name}")
        assert future.result().results[0].successful
        self.node.destroy_client(client)

    def loading(self) -> Any:
        """Another depth node that is too busy to respond."""
        return DepthNode(context=self._context, namespace="/later")

    def findings(self, *topics: str) -> dict[str, list[Finding]]:
        """Findings of the doctor, by subject."""
        graph = self.eyes.observe(topics, **SOON)
        # The facts of another process are the same.
        assert Graph.from_json(graph.to_json()) == graph
        ordered = sorted(examine_graph(graph, wanted=topics), key=lambda found: found.subject)
        return {
            subject: list(found)
            for subject, found in itertools.groupby(ordered, key=lambda found: found.subject)
        }


@pytest.fixture(scope="module", name="quiet")
def _quiet() -> Iterator[int]:
    """A domain in which no other test is."""
    with pytest.MonkeyPatch.context() as patch:
        domain = 1 + (os.getpid() + 50) % 100
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain


@pytest.fixture(scope="module")
def shared_world(
    quiet: int, tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., Any]
) -> Iterator[World]:
    world = World(quiet, tmp_path_factory.mktemp("doctor") / "node.log", wait_until)
    yield world
    world.close()


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    yield shared_world
    shared_world.clear()


def picture(encoding: str = "rgb8", frame_id: str = "eye") -> Any:
    message = rgb_to_image(np.zeros((64, 96, 3), np.uint8), Header(frame_id=frame_id))
    message.encoding = encoding
    return message


def calibration(width: int = 96) -> Any:
    return camera_info_of(Camera(width, 64, 80.0, 80.0, 47.0, 33.0), Header(frame_id="eye"))


def only(findings: dict[str, list[Finding]], part: str, level: Level) -> Finding:
    """The only finding about a part of the node."""
    (finding,) = findings[f"{NODE} {part}"]
    assert finding.level is level, finding
    return finding


def test_all_is_well(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The command as one runs it, with nothing to complain of but random weights."""
    world.publish(picture(), IMAGE)
    world.publish(calibration(), INFO)
    depths = world.subscribe(Image, "/robot/depth/image_rect")
    world.wait_until(lambda: depths, "depth")
    main(["doctor", "debug", "--device", "cpu", "--topic", IMAGE.lstrip("/")])
    output = capsys.readouterr().out
    assert f"[ok]      {NODE} state: active" in output
    assert f"[warning] {NODE} diagnostics: input running; untrained weights" in output
    assert f"[ok]      {NODE} images: {IMAGE}: " in output
    assert "96x64, rgb8, from /world" in output
    assert f"[ok]      {NODE} camera_info: {INFO} of /world, for 96x64" in output
    assert f"[ok]      {NODE} outputs: subscribed to: /robot/depth/image_rect by /world" in output
    assert f"[ok]      camera: {IMAGE}: " in output
    assert "\n0 problems, " in output


def test_no_camera_on_the_topic(world: World) -> None:
    world.publish(picture(), "/front/image_raw")
    world.publish(calibration(), "/front/camera_info")
    finding = only(world.findings(), "images", Level.PROBLEM)
    assert (
        finding.found == f"nobody publishes {IMAGE}; there are images on /front/image_raw (Image)"
    )
    launch = "depth_camera.launch.py namespace:=robot image_topic:=/front/image_raw"
    assert f"ros2 launch depthformer_ros {launch}" in finding.advice
    assert "-r image:=/front/image_raw -r camera_info:=/front/camera_info" in finding.advice


def test_another_type_on_the_topic(world: World) -> None:
    # No participant can have two types on one topic.
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=world.domain)
    driver = rclpy.create_node("driver", context=context)
    driver.create_publisher(CompressedImage, IMAGE, 1)
    world.wait_until(lambda: "/driver" in world.eyes.nodes(), "the driver in the graph")
    finding = only(world.findings(), "images", Level.PROBLEM)
    driver.destroy_node()
    context.try_shutdown()
    assert finding.found.startswith(f"/driver publishes {IMAGE} as {COMPRESSED_IMAGE}")
    assert f"-p image_transport:=compressed -r image/compressed:={IMAGE}" in finding.advice


def test_a_camera_that_sends_nothing_and_a_subscriber_that_cannot_meet(world: World) -> None:
    # The node forgets the images of the tests before.
    world.change(4)
    world.change(3)
    world.node.create_publisher(Image, IMAGE, 10)
    world.node.create_publisher(CameraInfo, INFO, 10)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.subscribe(PointCloud2, "/robot/points", latched)
    findings = world.findings()
    assert "no image came" in only(findings, "images", Level.PROBLEM).found
    assert "/robot/camera_info of /world" in findings[f"{NODE} camera_info"][0].found
    outputs = only(findings, "outputs", Level.PROBLEM)
    assert outputs.found.startswith("/world subscribes to /robot/points, but cannot receive it")
    assert "transient local" in outputs.found.lower()


def test_nobody_listens(world: World) -> None:
    world.publish(picture(), IMAGE)
    world.publish(calibration(48), INFO)
    findings = world.findings()
    assert "nobody subscribes to" in only(findings, "outputs", Level.WARNING).found
    only(findings, "images", Level.OK)
    info = only(findings, "camera_info", Level.WARNING)
    assert f"{INFO} of /world is for 48x64, images are 96x64" in info.found


def test_fewer_images_than_camera_info(world: World) -> None:
    world.publish(picture(), IMAGE, every=0.25)
    world.publish(calibration(), INFO)
    finding = only(world.findings(), "images", Level.WARNING)
    assert (
        f"camera_info a second on {INFO}, both from /world: the other images are missing"
        in finding.found
    )
    assert "ros2 topic hz" in finding.advice


def test_camera_info_that_was_published_once(world: World) -> None:
    """Kept by its publisher for later subscribers such as the doctor."""
    once = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.publish(picture(), IMAGE)
    world.node.create_publisher(CameraInfo, INFO, once).publish(calibration())
    (infos,) = (s for s in world.eyes.observe([], **SOON).streams if s.topic == INFO)
    assert (infos.count, infos.size) == (1, (96, 64))


@pytest.mark.parametrize("reliable", [True, False])
def test_the_doctor_asks_for_what_is_offered(world: World, reliable: bool) -> None:
    """A reliable driver's images are subscribed to reliably: others would lose those of many MB."""
    qos = 10 if reliable else qos_profile_sensor_data
    publisher = world.publish(picture(), "/front/image_raw", qos)
    world.wait_until(
        lambda: world.eyes.nodes() and publisher.get_subscription_count() == 0, "a quiet topic"
    )
    requested = []

    def look() -> None:
        for end in world.node.get_subscriptions_info_by_topic("/front/image_raw"):
            requested.append(end.qos_profile.reliability)

    world.node.create_timer(0.1, look)
    world.eyes.observe(["/front/image_raw"], **SOON)
    wanted = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    assert set(requested) == {wanted}


@pytest.mark.parametrize(
    ("frame_id", "found", "advice"),
    [
        ("", "the frame_id is empty", "set the driver's frame_id"),
        ("/eye", "the frame_id /eye has a slash in front", "set the driver's frame_id to eye"),
    ],
)
def test_frames_that_tf2_refuses(world: World, frame_id: str, found: str, advice: str) -> None:
    world.publish(picture(frame_id=frame_id), IMAGE)
    world.publish(calibration(), INFO)
    fine, frame = world.findings()[f"{NODE} images"]
    assert (fine.level, frame.level) == (Level.OK, Level.WARNING)
    assert found in frame.found
    assert advice in frame.advice


def test_a_camera_info_without_a_size(world: World) -> None:
    world.publish(picture(), IMAGE)
    info = calibration()
    info.width = info.height = 0
    world.publish(info, INFO)
    finding = only(world.findings(), "camera_info", Level.WARNING)
    assert f"{INFO} of /world is for images of 0x0, which is no size" in finding.found


def test_a_lens_that_is_never_rectified(world: World) -> None:
    world.publish(picture(), IMAGE)
    bent = calibration()
    bent.d = [-0.35, 0.1, 0.0, 0.0, 0.0]
    world.publish(bent, INFO)
    world.set("input.rectify", "never")
    finding = only(world.findings(), "camera_info", Level.WARNING)
    world.set("input.rectify", "auto")
    assert "has distortion, and input.rectify is never" in finding.found
    assert f"ros2 param set {NODE} input.rectify auto" in finding.advice


def test_images_that_cannot_be_used(world: World) -> None:
    world.publish(picture("plaid"), IMAGE)
    world.subscribe(Image, "/robot/depth/image_rect")
    findings = world.findings()
    assert "plaid" in only(findings, "images", Level.PROBLEM).found
    assert "rejected" in only(findings, "diagnostics", Level.PROBLEM).found


def test_paused(world: World) -> None:
    world.call(SetBool, f"{NODE}/set_enabled", SetBool.Request(data=False))
    finding = only(world.findings(), "diagnostics", Level.PROBLEM)
    assert finding.found == "paused"
    assert f"ros2 service call {NODE}/set_enabled" in finding.advice
    world.call(SetBool, f"{NODE}/set_enabled", SetBool.Request(data=True))


def test_inactive(world: World) -> None:
    world.change(4)  # deactivate
    finding = only(world.findings(), "state", Level.PROBLEM)
    assert finding.found.startswith("inactive")
    assert finding.advice == f"ros2 lifecycle set {NODE} activate"
    world.change(3)  # activate


def test_a_node_that_loads_does_not_respond(world: World) -> None:
    node = world.loading()
    findings = world.findings()
    node.destroy_node()
    (state,) = findings["/later/depthformer state"]
    assert state.found == "the node does not respond"
    assert findings[f"{NODE} state"][0].level is Level.OK


@pytest.mark.slow
def test_nothing_here_but_elsewhere() -> None:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=7)
    node = rclpy.create_node("somebody", context=context)
    try:
        with observer(domain=215 + os.getpid() % 15) as eyes:
            graph = eyes.observe([], **SOON)
    finally:
        node.destroy_node()
        context.try_shutdown()
    (finding,) = examine_graph(graph)
    assert finding.level is Level.PROBLEM
    assert "/somebody" in graph.elsewhere[7]
    assert "in domain 7" in finding.found


def test_nothing_works(
    quiet: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as one runs it, with problems all over."""
    del quiet
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody")
    with pytest.raises(SystemExit) as end:
        main(["doctor", "/no/such.safetensors"])
    assert end.value.code == 1
    output = capsys.readouterr().out
    assert "[problem] checkpoint: no checkpoint at /no/such.safetensors" in output
    assert "[problem] rclpy: does not work here: " in output
    assert "rmw_of_nobody" in output
    assert output.endswith("2 problems, 0 warnings\n")
