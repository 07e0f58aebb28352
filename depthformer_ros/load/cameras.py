"""Count what becomes of the images of cameras of every kind.

Each camera is a driver in a process of its own, which publishes as drivers do, with the
middleware's defaults. A depth node whose network answers at once takes its images, with the
parameters of a launch file. Printed is a Markdown table: images sent, received and answered, and
how long after its subscription the node's first cloud came.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from tqdm import tqdm

from depthformer_ros.load.probe import CLOUDS, DEPTH, NAMESPACE, ProbeError
from depthformer_ros.load.probe_command import exit_with, positive
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.node.diagnostics import status_name
from depthformer_ros.replay import header_stamp

SETTINGS = {
    "depth_camera": {},
    "kitti_camera": {"input.crop": "kitti", "input.rectify": "never"},
}
"""Parameters of each launch file that are not the node's defaults, but for the checkpoint."""

_CAMERA = "/probe_camera"
_NODE = f"{NAMESPACE}/depthformer"
_PERIOD = 0.5  # seconds between two diagnostics
_SETTLE = 2.0  # seconds after the subscription, before images are counted
_LAST = 1.5  # seconds for the answers to the last images
_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Case:
    """A camera, and the launch file whose parameters the node has.

    Attributes:
        launch: One of `SETTINGS`.
        size: Columns and rows of its images.
        reliable: Whether it publishes reliable, else best effort.
        compressed: Whether it sends JPEG.
        latched: Whether it sends camera_info once and keeps it (transient local), else with each
            image.
        rectified: Whether its images are, and named so.
    """

    launch: str
    size: tuple[int, int]
    reliable: bool
    compressed: bool = False
    latched: bool = False
    rectified: bool = True

    @property
    def rate(self) -> float:
        """Images a second."""
        return 30.0 if self.size == _VGA else 10.0

    @property
    def image(self) -> str:
        """Topic of the images, without what image_transport adds."""
        return f"{_CAMERA}/{'image_rect' if self.rectified else 'image_raw'}"

    def cells(self) -> list[str]:
        """What the table says of it."""
        width, height = self.size
        return [
            self.launch,
            f"{width}x{height}, {self.rate:g} Hz",
            "reliable" if self.reliable else "best effort",
            "compressed" if self.compressed else "raw",
            "latched" if self.latched else "repeated",
            "rectified" if self.rectified else "not rectified",
        ]


_VGA, _HD, _FULL = (640, 480), (1280, 720), (1920, 1080)

CASES = (
    Case("depth_camera", _VGA, reliable=True),
    Case("depth_camera", _VGA, reliable=False),
    Case("depth_camera", _HD, reliable=True, rectified=False),
    Case("depth_camera", _HD, reliable=False),
    Case("depth_camera", _FULL, reliable=True),
    Case("depth_camera", _FULL, reliable=False, rectified=False),
    Case("depth_camera", _VGA, reliable=True, latched=True, rectified=False),
    Case("depth_camera", _HD, reliable=False, latched=True),
    Case("depth_camera", _VGA, reliable=False, compressed=True),
    Case("depth_camera", _HD, reliable=True, compressed=True, rectified=False),
    Case("depth_camera", _FULL, reliable=True, compressed=True, latched=True),
    Case("depth_camera", _FULL, reliable=False, compressed=True, rectified=False),
    Case("kitti_camera", _VGA, reliable=True),
    Case("kitti_camera", _HD, reliable=True, latched=True, rectified=False),
    Case("kitti_camera", _HD, reliable=False, compressed=True),
    Case("kitti_camera", _FULL, reliable=True),
)
"""Rows of the table: each value of each property with both launch files or both forms."""

_HEAD = (
    *("", "launch file", "size", "publisher", "images", "camera_info", "lens"),
    *("sent", "received", "answered", "first cloud after s"),
)


@dataclass(frozen=True)
class _Outcome:
    """What became of a camera's images.

    Attributes:
        sent: Images that the driver published.
        received: Those that the node received.
        answered: Those for which depth came back.
        cloud: Seconds from the node's subscription to its first cloud, None if none came.
    """

    sent: int
    received: int
    answered: int
    cloud: float | None


@dataclass
class _Seen:
    """What came from the node."""

    answers: set[int] = field(default_factory=set)  # stamps
    reports: list[tuple[int, int]] = field(default_factory=list)  # stamp, images received
    cloud: float | None = None  # when the first came, seconds of time.monotonic

    def on_depth(self, data: bytes) -> None:
        self.answers.add(header_stamp(data))

    def on_cloud(self, data: bytes) -> None:
        del data
        self.cloud = self.cloud or time.monotonic()

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        for status in message.status:
            if status.name == status_name(_NODE):
                values = {item.key: item.value for item in status.values}
                self.reports.append((stamp, int(values["received"])))


def main(args: Sequence[str] | None = None) -> None:
    """Run as the command line says; exit code 1 where a row fails, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m depthformer_ros.load.cameras", description=__doc__
    )
    parser.add_argument(
        "--seconds", type=positive, default=10.0, help="for how long images are counted, each row"
    )
    parser.add_argument(
        "--rows", type=_rows, default=range(1, len(CASES) + 1), help="such as 1,7; all by default"
    )
    parser.add_argument("parameters", nargs="*", help="of the node, such as device:=cpu")
    options = parser.parse_args(args)
    exit_with("cameras", lambda: _table(options))


def _rows(text: str) -> list[int]:
    """Read numbers of rows, parted by commas.

    Raises:
        argparse.ArgumentTypeError: There is no such row.
        ValueError: One is no number.
    """
    rows = [int(word) for word in text.split(",")]
    for row in rows:
        if not 1 <= row <= len(CASES):
            raise argparse.ArgumentTypeError(f"must be 1 to {len(CASES)}, got {row}")
    return rows


def _table(options: argparse.Namespace) -> list[str]:
    """Print a row for each camera as soon as it is known."""
    _write(_HEAD)
    _write(["---:", *["---"] * 6, *["---:"] * 4])
    for row in tqdm(options.rows, unit="camera", disable=None):
        case = CASES[row - 1]
        with tempfile.TemporaryDirectory(prefix="depthformer_") as folder:
            found = _measure(case, options, Path(folder))
        cloud = "none" if found.cloud is None else f"{found.cloud:.1f}"
        counts = map(str, (found.sent, found.received, found.answered))
        _write([str(row), *case.cells(), *counts, cloud])
    return []


def _write(cells: Sequence[str]) -> None:
    tqdm.write(f"| {' | '.join(cells)} |", file=sys.stdout)
    sys.stdout.flush()


def _measure(case: Case, options: argparse.Namespace, folder: Path) -> _Outcome:
    """Run a camera and a node, and count.

    Raises:
        ProbeError: The node or the driver ended, or the node says nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        stamps = folder / "stamps"
        # The driver comes first, as one that runs when a robot's other nodes are started.
        driver = _Process(_driver_words(case, stamps), folder / "driver.log")
        stack.callback(driver.end)
        watch = _Watch(case, [driver])
        watch.wait_for(lambda: watch.publishers, "the driver's topic")
        node = _Process(_node_words(case, options.parameters), folder / "node.log")
        stack.callback(node.end)
        watch.processes.append(node)
        watch.wait_for(lambda: watch.subscribers, "the node's subscription")
        subscribed = time.monotonic()
        start, before = watch.report(after=_SETTLE)
        watch.spin(options.seconds)
        watch.processes.remove(driver)
        driver.end()
        _, received = watch.report(after=_LAST)
        sent = {stamp for stamp in map(int, stamps.read_text().split()) if stamp > start}
        seen = watch.seen
        return _Outcome(
            len(sent),
            # One that was on its way at the start is none of those that were sent since.
            min(received - before, len(sent)),
            len(sent & seen.answers),
            None if seen.cloud is None else max(0.0, seen.cloud - subscribed),
        )


def _driver_words(case: Case, stamps: Path) -> list[str]:
    """The command of the driver."""
    width, height = map(str, case.size)
    return [
        *("depthformer_ros.load.camera_driver", str(stamps)),
        *("--image", case.image, "--camera-info", f"{_CAMERA}/camera_info"),
        *("--width", width, "--height", height, "--rate", str(case.rate)),
        *([] if case.reliable else ["--best-effort"]),
        *(["--compressed"] if case.compressed else []),
        *(["--latched"] if case.latched else []),
        *([] if case.rectified else ["--distorted"]),
    ]


def _node_words(case: Case, parameters: Sequence[str]) -> list[str]:
    """The command of the node, as the launch file gives it."""
    values = [f"{name}:={value}" for name, value in SETTINGS[case.launch].items()]
    values.append(f"image_transport:={'compressed' if case.compressed else 'raw'}")
    values += [f"diagnostics.period:={_PERIOD}", *parameters]
    relative = "image/compressed" if case.compressed else "image"
    return [
        *("depthformer_ros.load.node_without_network", "--ros-args", "-r", f"__ns:={NAMESPACE}"),
        *("-r", f"{relative}:={_topic(case)}", "-r", f"camera_info:={_CAMERA}/camera_info"),
        *(word for value in values for word in ("-p", value)),
    ]


def _topic(case: Case) -> str:
    return f"{case.image}/compressed" if case.compressed else case.image


class _Process:
    """A module of ours in a process of its own.

    Args:
        words: The module and its arguments.
        log: File for what it prints.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._name = words[0]
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, without a shell
                [sys.executable, "-m", *words], stdout=output, stderr=subprocess.STDOUT
            )

    def check(self) -> None:
        """Look whether it runs.

        Raises:
            ProbeError: It does not.
        """
        if (code := self._process.poll()) is not None:
            lines = self._log.read_text().split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            raise ProbeError(f"{self._name} ended with exit code {code}: {last}")

    def end(self) -> None:
        """End it as a supervisor does."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Watch:
    """Our own participant, which sees what a camera and a node do.

    Args:
        case: The camera.
        processes: What has to run meanwhile.

    Attributes:
        processes: As given.
        seen: What came from the node.
    """

    def __init__(self, case: Case, processes: list[_Process]) -> None:
        self.processes = processes
        self.seen = _Seen()
        self._topic = _topic(case)
        with large_messages():
            rclpy.init(args=[])
            self._node = rclpy.create_node("cameras")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        subscribe, seen = self._node.create_subscription, self.seen
        qos = QoSProfile(depth=5)
        subscribe(Image, DEPTH, seen.on_depth, qos, raw=True)
        subscribe(DiagnosticArray, "/diagnostics", seen.on_diagnostics, 10)
        self._clouds: Any = subscribe(PointCloud2, CLOUDS, seen.on_cloud, qos, raw=True)

    @property
    def publishers(self) -> int:
        """How many publish the camera's images."""
        return int(self._node.count_publishers(self._topic))

    @property
    def subscribers(self) -> int:
        """How many subscribe to the camera's images."""
        return int(self._node.count_subscribers(self._topic))

    def spin(self, seconds: float) -> None:
        """Take what comes, for a while.

        Raises:
            ProbeError: A process ended.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for process in self.processes:
                process.check()
            self._executor.spin_once(timeout_sec=min(left, 0.1))
            if self.seen.cloud and self._clouds:
                # More of them would take from the machine what the images need.
                self._node.destroy_subscription(self._clouds)
                self._clouds = None

    def wait_for(self, check: Callable[[], Any], what: str) -> None:
        """Take what comes until a check gives something true.

        Raises:
            ProbeError: It does not within two minutes, or a process ended.
        """
        end = time.monotonic() + _TIMEOUT
        while not check():
            if time.monotonic() > end:
                raise ProbeError(f"{what} did not come within {_TIMEOUT:g} s")
            self.spin(0.02)

    def report(self, *, after: float) -> tuple[int, int]:
        """Wait for a while, and for the node's next diagnostics.

        Args:
            after: How long, seconds.

        Returns:
            Their stamp, nanoseconds, and how many images the node had received.

        Raises:
            ProbeError: None came, or a process ended.
        """
        self.spin(after)
        known = len(self.seen.reports)
        self.wait_for(lambda: len(self.seen.reports) > known, "the node's diagnostics")
        return self.seen.reports[-1]


if __name__ == "__main__":
    main()
