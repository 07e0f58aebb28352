import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, IMAGE_TOPIC, drive_to_bag
from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.conversions import cdr_stamp
from depthformer_ros.replay import main

REPO = Path(__file__).parents[2]
DAY = REPO.parent / "shared/samples/kitti_raw/2011_09_26"
DRIVE = DAY / "2011_09_26_drive_0052_sync"
PARAMETERS = REPO / "config" / "kitti.yaml"


def write_bag(path: Path, *, frames: int = 5, topic: str = "/camera/image") -> None:
    """Small images, ten a second."""
    types = TYPESTORE.types
    with BagWriter(path) as bag:
        for frame in range(frames):
            stamp = types["builtin_interfaces/msg/Time"](sec=100 + frame, nanosec=7)
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="eye")
            image = types["sensor_msgs/msg/Image"](
                header=header,
                height=64,
                width=96,
                encoding="rgb8",
                is_bigendian=0,
                step=96 * 3,
                data=np.full(64 * 96 * 3, 40 * frame, np.uint8),
            )
            bag.write(topic, image, stamp=10**18 + frame * 10**8)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
def test_cdr_stamp(order: str) -> None:
    data = bytes((0, order == "<", 0, 0)) + struct.pack(f"{order}iI", 12, 345) + bytes(20)
    assert cdr_stamp(data) == 12_000_000_345


def test_cdr_stamp_of_a_stump() -> None:
    with pytest.raises(ReplayError, match="3 bytes"):
        cdr_stamp(bytes(3))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["{missing}"], "does not exist", id="no bag"),
        pytest.param(["{bag}"], "has them on /camera/image", id="other image topic"),
        pytest.param(
            ["{bag}", "--image-topic", "/camera/image", "--timeout", "0.5"],
            "nobody subscribes to /camera/image within 0.5 s",
            id="no node",
        ),
        pytest.param(["{bag}", "--rate", "0"], "--rate must be positive", id="rate"),
        pytest.param(["{bag}", "--timeout", "nan"], "--timeout must be positive", id="timeout"),
        pytest.param(["{bag}", "--mode", "slow"], "--mode", id="mode"),
    ],
)
@pytest.mark.usefixtures("ros_domain")
def test_what_cannot_be_played(
    arguments: list[str], text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bag")
    places = {"bag": tmp_path / "bag", "missing": tmp_path / "missing"}
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main([*(item.format(**places) for item in arguments), "--output", str(output)])
    assert caught.value.code not in (0, None)
    assert text in f"{caught.value.code} {capfd.readouterr().err}"
    assert not output.exists() or not any(output.iterdir())


@pytest.mark.slow
def test_realtime_keeps_the_pace_of_the_bag(
    start_robot: Callable[..., Any], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    write_bag(tmp_path / "bag")
    robot = start_robot("-r", "image:=/camera/image", input__crop="none")
    process = start_process(
        "depthformer_ros.replay",
        str(tmp_path / "bag"),
        *("--image-topic", "/camera/image", "--namespace", robot.namespace),
        *("--output", str(tmp_path / "out"), "--rate", "0.5"),
    )
    assert process.wait(60) == 0, process.log
    report = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert (report["mode"], report["rate"], report["sent"]) == ("realtime", 0.5, 5)
    assert report["answered"] + report["dropped"] == 5
    # The newest frame wins: the last one is always predicted.
    assert report["frames"][-1]["latency"] > 0
    assert [frame["stamp"] for frame in report["frames"]] == [
        (100 + frame) * 10**9 + 7 for frame in range(5)
    ]
    sent = np.array([frame["sent"] for frame in report["frames"]])
    # Never early; how late depends on the machine.
    assert (sent >= np.arange(5) * 0.2).all()


@pytest.mark.slow
@pytest.mark.parametrize("misses", [1, 2])
def test_the_first_frame_is_sent_again_for_missing_outputs(
    misses: int, peer: Any, start_process: Callable[..., Any], tmp_path: Path
) -> None:
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    kinds = {"depth/image_rect": Image, "depth/camera_info": CameraInfo, "points": PointCloud2}
    publishers = {
        name: peer.node.create_publisher(kind, f"/slow/{name}", 10) for name, kind in kinds.items()
    }
    came = []

    def predict(image: Any) -> None:
        # The connections of the others are not there yet when the first image comes.
        for name in kinds if len(came) >= misses else ["depth/image_rect"]:
            publishers[name].publish(kinds[name](header=image.header))
        came.append(header_stamp_of(image))

    peer.node.create_subscription(Image, "/slow/image", predict, 10)
    write_bag(tmp_path / "bag", frames=3, topic="/slow/image")
    process = start_process(
        "depthformer_ros.replay",
        str(tmp_path / "bag"),
        *("--image-topic", "/slow/image", "--namespace", "slow", "--mode", "lockstep"),
        *("--output", str(tmp_path / "out")),
    )
    assert process.wait(60) == 0, process.log
    peer.leave("/slow")
    stamps = [(100 + frame) * 10**9 + 7 for frame in range(3)]
    assert came == [stamps[0]] * misses + stamps
    with BagReader(tmp_path / "out" / "answers") as bag:
        outputs = [
            (message.topic, header_stamp_of(message.message())) for message in bag.messages()
        ]
    assert sorted(outputs) == sorted((f"/slow/{name}", stamp) for name in kinds for stamp in stamps)


@pytest.mark.skipif(not DRIVE.is_dir(), reason=f"needs the frames of {DRIVE.name}")
def test_real_frames_come_back_as_depth_and_clouds(
    start_robot: Callable[..., Any], start_process: Callable[..., Any], tmp_path: Path
) -> None:
    drive_to_bag(DRIVE, tmp_path / "bag")
    robot = start_robot(
        *("-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={CAMERA_INFO_TOPIC}"),
        *("--params-file", str(PARAMETERS), "-p", "checkpoint:=debug"),
    )
    process = start_process(
        "depthformer_ros.replay",
        str(tmp_path / "bag"),
        *("--mode", "lockstep", "--clock", "--namespace", robot.namespace),
        *("--output", str(tmp_path / "out"), "--timeout", "60"),
    )
    assert process.wait(180) == 0, process.log
    report = json.loads((tmp_path / "out" / "replay.json").read_text())
    assert (report["sent"], report["answered"], report["dropped"]) == (12, 12, 0)
    assert list(report["latency"]) == ["p50", "p95", "p99", "max"]
    assert min(latencies := list(report["latency"].values())) > 0
    assert latencies == sorted(latencies)

    with BagReader(tmp_path / "bag") as bag:
        images = [message.message() for message in bag.messages([IMAGE_TOPIC])]
        info = next(bag.messages([CAMERA_INFO_TOPIC])).message()
    stamps = [header_stamp_of(image) for image in images]
    assert len(set(stamps)) == 12
    with BagReader(tmp_path / "out" / "answers") as bag:
        outputs: dict[str, dict[int, Any]] = {}
        for message in bag.messages():
            output = message.message()
            outputs.setdefault(message.topic, {})[header_stamp_of(output)] = output
        counts = [topic.count for topic in bag.topics.values()]
    assert counts == [12, 12, 12]
    depths, infos, clouds = (
        outputs[f"{robot.namespace}/{name}"]
        for name in ("depth/image_rect", "depth/camera_info", "points")
    )
    assert sorted(depths) == sorted(infos) == sorted(clouds) == sorted(stamps)
    for image, stamp in zip(images, stamps, strict=True):
        check_outputs(image, info, depth=depths[stamp], made=infos[stamp], cloud=clouds[stamp])


def header_stamp_of(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * 10**9 + stamp.nanosec)


def camera_of(info: Any) -> Camera:
    p = info.p
    return Camera(info.width, info.height, fx=p[0], fy=p[5], cx=p[2], cy=p[6])


def check_outputs(image: Any, info: Any, *, depth: Any, made: Any, cloud: Any) -> None:
    """One frame: sizes, frames and intrinsics fit, and points lie behind their pixels."""
    size = (image.height, image.width)
    for message in (depth, made, cloud):
        assert message.header.frame_id == image.header.frame_id
        assert (message.height, message.width) == size
    camera = camera_of(made)
    assert camera == camera_of(info)
    metres = depth.data.view(np.float32).reshape(size)
    window = np.zeros(size, bool)
    left = (size[1] - 1216) // 2
    window[-352:, left : left + 1216] = True
    np.testing.assert_array_equal(np.isfinite(metres), window)

    points = cloud.data.view(np.float32).reshape(*size, 4)
    np.testing.assert_array_equal(points[..., 2], metres)
    landed = camera.project(points[window][:, :3].astype(np.float64))
    rows, columns = np.nonzero(window)
    assert np.abs(landed - np.stack((columns, rows), axis=-1)).max() < 0.5
    packed = points[..., 3].copy().view(np.uint32)
    pixels = image.data.reshape(*size, 3)
    colours = np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1)
    order = slice(None) if image.encoding == "rgb8" else slice(None, None, -1)
    np.testing.assert_array_equal(colours, pixels[..., order])
