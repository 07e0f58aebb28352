"""The table of cameras: a driver and a node in processes of their own, counted from a third."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.cameras import CASES, SETTINGS, main
from depthformer_ros.node.parameters import NodeParameters

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "config"


def row(log: str) -> list[str]:
    (cells,) = re.findall(r"^\| (\d.*) \|$", log, re.MULTILINE)
    return str(cells).split(" | ")


@pytest.mark.timeout(300)
def test_a_row_counts_images(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.cameras", "--rows", "9", "--seconds", "2")
    assert process.wait(280) == 0, process.log
    number, *about, sent, received, predicted, cloud = row(process.log)
    assert number == "9"
    expected = "depth_camera, 640x480, 30 Hz, best effort, compressed, repeated, rectified"
    assert ", ".join(about) == expected
    # JPEG gets through whatever the transport; how much of it the machine keeps up with is its own.
    assert 0 < int(predicted) <= int(received) <= int(sent), process.log
    assert float(cloud) >= 0


def test_a_driver_sends_what_it_is_told_to(
    start_process: Callable[..., Any], peer: Any, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    """Camera_info once and kept, of a lens with distortion; at the end the stamps of all images."""
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CameraInfo, CompressedImage

    process = start_process(
        "depthformer_ros.load.camera_driver",
        str(tmp_path / "stamps"),
        *("--image", "/driver/image_raw", "--camera-info", "/driver/camera_info"),
        *("--width", "320", "--height", "240", "--rate", "20"),
        *("--compressed", "--latched", "--distorted"),
    )
    images = peer.subscribe(CompressedImage, "/driver/image_raw/compressed")
    wait_until(lambda: len(images) > 3, "images")
    infos: list[Any] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_subscription(CameraInfo, "/driver/camera_info", infos.append, latched)
    wait_until(lambda: infos, "camera_info")
    assert process.stop() == 0
    peer.leave("/driver")
    (info,) = infos
    assert (info.width, info.height, info.d[0]) == (320, 240, -0.35)
    stamps = [int(line) for line in (tmp_path / "stamps").read_text().split()]
    came = {image.header.stamp.sec * 10**9 + image.header.stamp.nanosec for image in images}
    assert came <= set(stamps)
    assert stamps == sorted(stamps)


def test_each_value_of_each_property_has_a_row() -> None:
    assert {case.launch for case in CASES} == set(SETTINGS)
    assert len({case.size for case in CASES}) == 3
    for name in ("reliable", "compressed", "latched", "rectified"):
        assert {getattr(case, name) for case in CASES} == {True, False}
    # Every size comes raw, reliable and best effort: where images get lost.
    assert len({(c.size, c.reliable) for c in CASES if not c.compressed}) == 6
    assert len(set(CASES)) == len(CASES)


@pytest.mark.parametrize(
    ("file", "launch"), [("depthformer.yaml", "depth_camera"), ("kitti.yaml", "kitti_camera")]
)
def test_parameters_are_those_of_the_launch_file(file: str, launch: str) -> None:
    given = yaml.safe_load((CONFIG / file).read_text())["/**"]["ros__parameters"]
    flat: dict[str, Any] = {}
    for name, value in given.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name}.{part}" if part else name: v for part, v in inner}
    defaults = NodeParameters().to_ros()
    changed = {name: value for name, value in flat.items() if value != defaults[name]}
    changed.pop("checkpoint", None)
    assert changed == SETTINGS[launch]


def test_a_node_that_ends_is_reported(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.cameras", "--rows", "9", "points.stride:=0")
    assert process.wait() == 1
    assert (
        "cameras: depthformer_ros.load.node_without_network ended with exit code 1" in process.log
    )
    assert "points.stride" in process.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "0"], "--seconds: must be positive"),
        (["--rows", "1,17"], "--rows: must be 1 to 16, got 17"),
        (["--rows", "first"], "--rows: invalid"),
    ],
)
def test_bad_arguments(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capfd.readouterr().err
