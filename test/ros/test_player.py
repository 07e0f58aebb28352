"""The messages of a bag that are played, from where and how often, as a node sees them."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.messages import camera_info_message, header
from depthformer_core.bags.node_topics import OUTPUTS
from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import cdr_stamp

TYPES = TYPESTORE.types
START = 10**18
NAMES = {
    "sensor_msgs/msg/Image": "Image",
    "sensor_msgs/msg/CompressedImage": "CompressedImage",
    "sensor_msgs/msg/CameraInfo": "CameraInfo",
    "sensor_msgs/msg/PointCloud2": "PointCloud2",
}


def image(frame: int, *, encoding: str = "rgb8") -> Any:
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp=(100 + frame) * 10**9, frame_id="eye"),
        height=2,
        width=3,
        encoding=encoding,
        is_bigendian=0,
        step=9 if encoding == "rgb8" else 12,
        data=np.full(18 if encoding == "rgb8" else 24, frame % 256, np.uint8),
    )


def compressed(frame: int) -> Any:
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header(stamp=(100 + frame) * 10**9, frame_id="eye"), "jpeg", np.zeros(8, np.uint8)
    )


def cloud(frame: int) -> Any:
    return TYPES["sensor_msgs/msg/PointCloud2"](
        header(stamp=(100 + frame) * 10**9, frame_id="eye"),
        0, 0, [], False, 16, 0, np.zeros(0, np.uint8), False,
    )  # fmt: skip


def info(frame: int) -> Any:
    camera = Camera(3, 2, 3.0, 3.0, 1.0, 1.0)
    return camera_info_message(camera, stamp=(100 + frame) * 10**9, frame_id="eye")


def text(topic: str) -> Any:
    """A message of one of the topics on which nodes speak of themselves."""
    time_ = TYPES["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    if topic == "/clock":
        return TYPES["rosgraph_msgs/msg/Clock"](time_)
    if topic == "/rosout":
        return TYPES["rcl_interfaces/msg/Log"](time_, 20, "depthformer", "old", "", "", 0)
    if topic == "/parameter_events":
        return TYPES["rcl_interfaces/msg/ParameterEvent"](time_, "/depthformer", [], [], [])
    return TYPES["diagnostic_msgs/msg/DiagnosticArray"](header(stamp=1, frame_id=""), [])


def write(path: Path, topics: dict[str, Callable[[int], Any]], *, frames: int = 5) -> Path:
    """A bag with a message of each topic ten times a second."""
    with BagWriter(path) as bag:
        for frame in range(frames):
            for topic, make in topics.items():
                bag.write(topic, make(frame), stamp=START + frame * 10**8)
    return path


class FakeNode:
    """Publishes depth of images as a depth node does, from a namespace of its own."""

    def __init__(self, peer: Any, namespace: str) -> None:
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        self.peer = peer
        self.namespace = namespace
        self.came: list[Any] = []
        kinds = {kind.__name__: kind for kind in (Image, CameraInfo, CompressedImage, PointCloud2)}
        self._kinds = {name: kinds[NAMES[kind]] for name, kind in OUTPUTS.items()}
        self._publishers = {
            name: peer.node.create_publisher(kind, f"{namespace}/{name}", 10)
            for name, kind in self._kinds.items()
        }
        for kind, name in ((Image, "image"), (CompressedImage, "image/compressed")):
            peer.node.create_subscription(kind, f"{namespace}/{name}", self._predict, 10)

    def _predict(self, message: Any) -> None:
        self.came.append(message)
        for name, publisher in self._publishers.items():
            publisher.publish(self._kinds[name](header=message.header))

    @property
    def seconds(self) -> list[int]:
        """Stamps of the images that came, whole seconds."""
        return [message.header.stamp.sec for message in self.came]


@pytest.fixture
def fake_node(peer: Any) -> Iterator[Callable[[str], FakeNode]]:
    made: list[FakeNode] = []

    def make(namespace: str) -> FakeNode:
        made.append(FakeNode(peer, namespace))
        return made[-1]

    yield make
    for node in made:
        peer.leave(node.namespace)


def play(start_process: Callable[..., Any], bag: Path, namespace: str, *options: str) -> Any:
    topic = ("--image-topic", f"/{namespace.strip('/')}/image")
    return start_process(
        "depthformer_ros.replay", str(bag), "--namespace", namespace, *topic, *options
    )


@pytest.mark.slow
def test_what_the_live_node_publishes_is_not_played(
    fake_node: Callable[[str], FakeNode], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    from sensor_msgs.msg import Image, PointCloud2

    node = fake_node("/full")
    depths = node.peer.subscribe(Image, "/full/depth/image_rect")
    clouds = node.peer.subscribe(PointCloud2, "/full/points")
    elsewhere = node.peer.subscribe(PointCloud2, "/full/lidar/points")
    depth = functools.partial(image, encoding="32FC1")
    spoken = ["/clock", "/diagnostics", "/rosout", "/parameter_events"]
    left = {
        "/full/depth/image_rect": depth,
        "/full/depth/camera_info": info,
        "/full/depth/color": image,
        "/full/depth/uncertainty": depth,
        "/full/points": cloud,
        **{name: lambda _, name=name: text(name) for name in spoken},
    }
    bag = write(tmp_path / "bag", {"/full/image": image, "/full/lidar/points": cloud, **left})
    # A namespace is what people type.
    process = play(start_process, bag, "full/", "--mode", "lockstep", "--output",
                   str(tmp_path / "out"))  # fmt: skip
    assert process.wait() == 0, process.log
    assert "5 of 5 frames predicted" in process.log
    (line,) = (line for line in process.log.splitlines() if "not played" in line)
    assert set(re.findall(r"/\S+[^\s,]", line.partition("bag: ")[2])) == set(left)
    assert len(depths) == len(clouds) == len(node.came)
    assert len(set(node.seconds)) == len(elsewhere) == 5
    with BagReader(tmp_path / "out" / "answers") as predictions:
        counts = {name: topic.count for name, topic in predictions.topics.items()}
    assert counts == {f"/full/{name}": 5 for name in ("depth/image_rect", "depth/camera_info",
                                                      "points")}  # fmt: skip


@pytest.mark.slow
def test_the_clock_is_the_players_alone(
    fake_node: Callable[[str], FakeNode], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    from rosgraph_msgs.msg import Clock

    node = fake_node("/timed")
    clocks = node.peer.subscribe(Clock, "/clock")
    bag = write(tmp_path / "bag", {"/timed/image": image, "/clock": lambda _: text("/clock")})
    process = play(start_process, bag, "timed", "--clock")
    assert process.wait() == 0, process.log
    seconds = [clock.clock.sec for clock in clocks]
    assert len(seconds) > 5
    assert set(seconds) == {START // 10**9}


def test_images_of_an_outputs_name_are_refused(
    start_process: Callable[..., Any], tmp_path: Path
) -> None:
    bag = write(tmp_path / "bag", {"/depth/color": image})
    process = start_process("depthformer_ros.replay", str(bag), "--image-topic", "/depth/color")
    assert process.wait() == 1
    assert "the depth node publishes on /depth/color itself" in process.log
    assert "--namespace" in process.log


@pytest.mark.slow
@pytest.mark.parametrize("given", ["", "/compressed/compressed"])
def test_images_that_are_compressed_only(
    given: str,
    fake_node: Callable[[str], FakeNode],
    start_process: Callable[..., Any],
    tmp_path: Path,
) -> None:
    node = fake_node("/packed")
    bag = write(
        tmp_path / "bag", {"/packed/image/compressed": compressed, "/other/image": image}, frames=2
    )
    process = start_process(
        "depthformer_ros.replay",
        str(bag),
        *("--namespace", "packed", "--image-topic", f"/packed/image{given}", "--mode", "lockstep"),
    )
    assert process.wait() == 0, process.log
    assert f"no images on /packed/image{given}: those on /packed/image/compressed play" in (
        process.log
    )
    assert node.seconds == [100, 101]


@pytest.mark.slow
def test_a_node_that_takes_raw_images_only_is_reported(
    peer: Any, start_process: Callable[..., Any], tmp_path: Path
) -> None:
    from sensor_msgs.msg import Image

    peer.subscribe(Image, "/raw/image")
    bag = write(tmp_path / "bag", {"/raw/image/compressed": compressed})
    process = play(start_process, bag, "raw", "--timeout", "8")
    assert process.wait() == 1
    peer.leave("/raw")
    assert process.log.count("start the node with image_transport:=compressed") == 2
    assert "yet, but a node to /raw/image" in process.log


@pytest.mark.slow
def test_a_node_that_cannot_load_ends_the_wait(
    start_robot: Callable[..., Any], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    robot = start_robot(checkpoint="/nowhere/a.safetensors")
    bag = write(tmp_path / "bag", {f"{robot.namespace}/image": image})
    process = play(start_process, bag, robot.namespace, "--timeout", "300")
    assert process.wait() == 1
    assert re.search(
        r"the depth node reports: configure failed: .*/nowhere/a\.safetensors", process.log
    )


@pytest.mark.slow
def test_latched_messages_wait_for_late_subscribers(
    fake_node: Callable[[str], FakeNode], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CameraInfo

    node = fake_node("/late")
    with BagWriter(tmp_path / "bag") as bag:
        # Of a type that every machine knows: only the name differs.
        for sender in range(15):
            bag.write("/late/tf_static", info(sender), stamp=START, latched=True)
        bag.write("/late/camera_info", info(0), stamp=START, latched=True)
        for frame in range(60):
            bag.write("/late/image", image(frame), stamp=START + (frame + 1) * 10**8)
    # What comes before the start is wanted all the same.
    process = play(start_process, tmp_path / "bag", "late", "--start", "1.05")
    end = time.monotonic() + 60
    while not node.came and time.monotonic() < end:
        time.sleep(0.02)
    latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    links: list[Any] = []
    infos: list[Any] = []
    create = node.peer.node.create_subscription
    create(CameraInfo, "/late/tf_static", links.append, latched)
    create(CameraInfo, "/late/camera_info", infos.append, latched)
    assert process.wait() == 0, process.log
    assert [link.header.stamp.sec for link in links] == [100 + sender for sender in range(15)]
    assert len(infos) == 1
    assert min(node.seconds) >= 110


def test_start_beyond_the_end(
    fake_node: Callable[[str], FakeNode], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    fake_node("/short")
    bag = write(tmp_path / "bag", {"/short/image": image})
    process = play(start_process, bag, "short", "--start", "7")
    assert process.wait() == 1
    assert f"bag {bag} lasts 0.4 s, not 7.0" in process.log


def test_loop_until_interrupted(
    fake_node: Callable[[str], FakeNode],
    start_process: Callable[..., Any],
    wait_until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    node = fake_node("/round")
    bag = write(tmp_path / "bag", {"/round/image": image}, frames=3)
    process = play(start_process, bag, "round", "--loop", "--start", "0.05")
    wait_until(lambda: node.seconds.count(101) >= 3 or not process.running, "third time")
    assert process.stop(signal.SIGINT) == 0, process.log
    assert 100 not in node.seconds
    times = re.findall(r"time (\d): 2 of 2 frames predicted", process.log)
    assert times[:2] == ["1", "2"]
    assert "Traceback" not in process.log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loop", "--mode", "lockstep"], "--loop is for the bag's pace"),
        (["--loop", "--output", "out"], "--output takes the predictions of one pass"),
        (["--start", "-1"], "--start must not be negative, got -1.0"),
        (["--start", "nan"], "--start must not be negative, got nan"),
        (["--rate", "inf"], "--rate must be positive, got inf"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from depthformer_ros.replay import main

    with pytest.raises(SystemExit) as caught:
        main(["bag", *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_home_in_paths(start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eye")
    process = start_process("depthformer_ros.replay", "~/drive")
    assert process.wait() == 1
    assert "/home/eye/drive does not exist" in process.log


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_plays_keeps_what_came(
    number: signal.Signals,
    fake_node: Callable[[str], FakeNode],
    start_process: Callable[..., Any],
    wait_until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    node = fake_node("/cut")
    bag = write(tmp_path / "bag", {"/cut/image": image}, frames=600)
    process = play(start_process, bag, "cut", "--output", str(tmp_path / "out"))
    wait_until(lambda: len(node.came) > 3 or not process.running, "images")
    # As where launch passes on what the terminal sent already.
    process.send_signal(number)
    assert process.stop(number) == 0, process.log
    assert "Traceback" not in process.log
    assert re.search(r"interrupted: \d+ of \d+ frames predicted", process.log)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answers", "replay.json"]
    report = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert report["interrupted"]
    assert 3 < report["sent"] < 600
    with BagReader(tmp_path / "out" / "answers") as predictions:
        kept = [cdr_stamp(item.data) for item in predictions.messages(["/cut/depth/image_rect"])]
    assert len(kept) >= report["answered"] > 0


@pytest.mark.parametrize("moment", ["argparse", "rosbags", "rclpy", "play"])
def test_a_signal_before_it_plays_leaves_nothing(
    moment: str,
    start_process: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bag = write(tmp_path / "bag", {"/alone/image": image, "/clock": lambda _: text("/clock")})
    if moment != "play":
        # Which module is imported shows in the log.
        monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    process = play(start_process, bag, "alone", "--output", str(tmp_path / "out"))
    process.wait_for_log("not played" if moment == "play" else moment)
    assert process.stop(signal.SIGINT) == 0, process.log
    assert "Traceback" not in process.log
    assert "KeyboardInterrupt" not in process.log
    assert not [*(tmp_path / "out").glob("**/*")]


@pytest.mark.slow
def test_space_pauses(
    fake_node: Callable[[str], FakeNode],
    wait_until: Callable[..., Any],
    ros_domain: int,
    tmp_path: Path,
) -> None:
    node = fake_node("/keys")
    bag = write(tmp_path / "bag", {"/keys/image": image}, frames=40)
    command = [sys.executable, "-m", "depthformer_ros.replay", str(bag), "--namespace", "keys",
             "--image-topic", "/keys/image"]  # fmt: skip
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    player = subprocess.Popen(
        [sys.executable, "-c", terminal, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "ROS_DOMAIN_ID": str(ros_domain),
        },
    )
    assert player.stdin is not None
    try:
        wait_until(lambda: len(node.came) > 3, "images")
        player.stdin.write(b" ")
        player.stdin.flush()
        time.sleep(1)
        paused = len(node.came)
        time.sleep(1)
        assert len(node.came) == paused < 40
        player.stdin.write(b"x  \n ")
        player.stdin.flush()
        wait_until(lambda: len(node.came) == 40, "images after the pause")
        output, _ = player.communicate(timeout=60)
        assert b"space pauses" in output
        assert player.returncode == 0, output
    finally:
        player.kill()


def test_the_node_publishes_what_is_left_out(
    shared_robot: Any, wait_until: Callable[..., Any]
) -> None:
    """All that a real node publishes is known to the player, so that none of it is played."""
    from depthformer_core.bags.node_topics import node_prefix
    from depthformer_ros.replay.topics import is_live

    graph, namespace = shared_robot.peer.node, shared_robot.namespace

    def published() -> list[str]:
        if ("depthformer", namespace) not in graph.get_node_names_and_namespaces():
            return []
        topics = graph.get_publisher_names_and_types_by_node("depthformer", namespace)
        return [name for name, _ in topics]

    wait_until(lambda: f"{namespace}/points" in published(), "outputs of the node")
    prefix = node_prefix(namespace)
    assert [name for name in published() if not is_live(name, prefix)] == []
