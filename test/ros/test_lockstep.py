"""A lockstep replay to a node that is slow, without ROS's middleware."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.messages import image_message
from depthformer_ros.replay.player import Player


class SlowNode:
    """The player's node, and a depth node that predicts once a frame has come a second time."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self._receive: dict[str, Callable[[bytes], None]] = {}

    def create_publisher(self, *_: object) -> Any:
        return MagicMock(publish=self._predict)

    def create_subscription(
        self, _kind: type, topic: str, receive: Callable[[bytes], None], *_: object, **__: object
    ) -> None:
        self._receive[topic] = receive

    def get_logger(self) -> Any:
        return MagicMock()

    def _predict(self, data: bytes) -> None:
        self.came.append(time.monotonic())
        if len(self.came) == 2:
            # Of the frame and of its repetition; the player reads their stamps alone.
            for _ in self.came:
                self._receive["/depth/image_rect"](data)


def test_latency_counts_from_the_first_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthformer_ros.replay.player._RESEND", 0.1)
    monkeypatch.setattr("depthformer_ros.replay.player._INTRODUCTION", 0.0)
    with BagWriter(tmp_path / "bag") as writer:
        rgb = np.zeros((2, 3, 3), np.uint8)
        writer.write("/image", image_message(rgb, stamp=7, frame_id="eye"), stamp=10**9)
    node: Any = SlowNode()
    with BagReader(tmp_path / "bag") as bag:
        player = Player(bag, node=node, image_topic="/image", check=lambda: None)
        player.play(mode="lockstep", rate=1.0, timeout=60.0)
    report = player.report(mode="lockstep", rate=1.0, interrupted=False)
    assert (report["sent"], report["answered"], report["dropped"]) == (1, 1, 0)
    first, second = node.came
    assert second - first >= 0.1
    (frame,) = report["frames"]
    assert frame["latency"] is not None
    assert frame["latency"] >= second - first
