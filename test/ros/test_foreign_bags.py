"""A bag may call its types anything: the player imports message packages alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from rosbags.rosbag2 import StoragePlugin, Writer

from depthformer_core.bags import TYPESTORE

IMAGES = "/eye/image_raw"
TYPES = ["/msg/X", "a..b/msg/X", "os/msg/path", "sensor_msgs/msg/np", "xml.dom/msg/X", "no_slash"]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """A bag whose topics have names of types that are none, beside one of images."""
    path = tmp_path / "bag"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection(IMAGES, "sensor_msgs/msg/Image", typestore=TYPESTORE)
        for number, kind in enumerate(TYPES):
            writer.add_connection(
                f"/topic{number}", kind, msgdef="uint32 a\n", rihs01="RIHS01_" + "0" * 64
            )
    return path


def test_types_that_are_none_are_skipped(bag: Path, start_process: Callable[..., Any]) -> None:
    player = start_process(
        "depthformer_ros.replay", str(bag), *("--image-topic", IMAGES, "--timeout", "0.5")
    )
    assert player.wait() == 1
    assert f"nobody subscribes to {IMAGES}" in player.log
    assert "Traceback" not in player.log
    (left_out,) = (line for line in player.log.splitlines() if "left out" in line)
    assert all(kind in left_out for kind in TYPES)
