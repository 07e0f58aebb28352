"""Count the received and predicted images of many kinds of cameras.

Each camera is a driver in a process of its own, which publishes with the middleware's defaults. A
depth node with a trivial network takes its images, with the parameters of a launch file. The output
is a Markdown table: images sent, received and predicted, and the time from the node's subscription
to its first cloud.
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

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, PointCloud2
from tqdm import tqdm

from depthformer_ros.load.probe import CLOUD_TOPIC, DEPTH_TOPIC, NAMESPACE, ProbeError
from depthformer_ros.load.probe_command import exit_with, positive
from depthformer_ros.messages.conversions import cdr_stamp
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.node.diagnostics import status_name
from depthformer_ros.process import child_environment, end_process

SETTINGS = {
    "depth_camera": {},
    "kitti_camera": {"input.crop": "kitti", "input.rectify": "never"},
}
"""Parameters of each launch file that differ from the node's defaults, except the checkpoint."""

_CAMERA = "/probe_camera"
_NODE = f"{NAMESPACE}/depthformer"
_PERIOD = 0.5  # seconds between two diagnostics
_SETTLE = 2.0  # seconds after the subscription, before images are counted
_LAST = 1.5  # seconds for the predictions of the last images
_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Case:
    """A camera, and the launch file with the parameters of the node.

    Attributes:
        launch: One of `SETTINGS`.
        size: Columns and rows of its images.
        reliable: Whether it publishes reliable, else best effort.
        compressed: Whether it sends JPEG.
        latched: Whether it sends camera_info once (transient local), else with each image.
        rectified: Whether its images are rectified, and their topic is named so.
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
        """Base topic of the images, as image_transport calls it."""
        return f"{_CAMERA}/{'image_rect' if self.rectified else 'image_raw'}"

    def cells(self) -> list[str]:
        """Return its cells of the table."""
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
    *("sent", "received", "predicted", "first cloud after s"),
)


@dataclass(frozen=True)
class _Outcome:
    """Counts of a camera's images.

    Attributes:
        sent: Images that the driver published.
        received: Those that the node received.
        predicted: Those whose depth was published.
        cloud: Seconds from the node's subscription to its first cloud; None without one.
    """

    sent: int
    received: int
    predicted: int
    cloud: float | None


@dataclass
class _Seen:
    """Messages from the node."""

    predictions: set[int] = field(default_factory=set)  # stamps
    reports: list[tuple[int, int]] = field(default_factory=list)  # stamp, images received
    cloud: float | None = None  # time of the first one, seconds of time.monotonic

    def on_depth(self, data: bytes) -> None:
        self.predictions.add(cdr_stamp(data))

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
    """Run with the options of the command line; exit code 1 if a row fails, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m depthformer_ros.load.cameras", description=__doc__
    )
    parser.add_argument("--seconds", type=positive, default=10.0, help="time of counting, each row")
    parser.add_argument(
        "--rows", type=_rows, default=range(1, len(CASES) + 1), help="such as 1,7; all by default"
    )
    parser.add_argument("parameters", nargs="*", help="of the node, such as device:=cpu")
    options = parser.parse_args(args)
    exit_with("cameras", lambda: _table(options))


def _rows(text: str) -> list[int]:
    """Read numbers of rows, separated by commas.

    Raises:
        argparse.ArgumentTypeError: There is no such row.
        DepthFormerError: One is no number.
    """
    rows = [int(item) for item in text.split(",")]
    for row in rows:
        if not 1 <= row <= len(CASES):
            raise argparse.ArgumentTypeError(f"must be 1 to {len(CASES)}, got {row}")
    return rows


def _table(options: argparse.Namespace) -> list[str]:
    """Print a row for each camera as soon as it is measured."""
    _write(_HEAD)
    _write(["---:", *["---"] * 6, *["---:"] * 4])
    for row in tqdm(options.rows, unit="camera", disable=None):
        case = CASES[row - 1]
        with tempfile.TemporaryDirectory(prefix="depthformer_") as folder:
            found = _measure(case, options, Path(folder))
        cloud = "none" if found.cloud is None else f"{found.cloud:.1f}"
        counts = map(str, (found.sent, found.received, found.predicted))
        _write([str(row), *case.cells(), *counts, cloud])
    return []


def _write(cells: Sequence[str]) -> None:
    tqdm.write(f"| {' | '.join(cells)} |", file=sys.stdout)
    sys.stdout.flush()


def _measure(case: Case, options: argparse.Namespace, folder: Path) -> _Outcome:
    """Run a camera and a node, and count.

    Raises:
        ProbeError: The node or the driver ended, or the node publishes no diagnostics.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        stamps = folder / "stamps"
        # The driver starts first, as on most robots.
        driver = _Process(_driver_arguments(case, stamps), folder / "driver.log")
        stack.callback(driver.end)
        watch = _Watch(case, [driver])
        watch.wait_for(lambda: watch.publishers, "the driver's topic")
        node = _Process(_node_arguments(case, options.parameters), folder / "node.log")
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
            # An image that was in transit at the start is not among those sent since.
            min(received - before, len(sent)),
            len(sent & seen.predictions),
            None if seen.cloud is None else max(0.0, seen.cloud - subscribed),
        )


def _driver_arguments(case: Case, stamps: Path) -> list[str]:
    """Return the module and arguments of the driver."""
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


def _node_arguments(case: Case, parameters: Sequence[str]) -> list[str]:
    """Return the module and arguments of the node, as in the launch file."""
    values = [f"{name}:={value}" for name, value in SETTINGS[case.launch].items()]
    values.append(f"image_transport:={'compressed' if case.compressed else 'raw'}")
    values += [f"diagnostics.period:={_PERIOD}", *parameters]
    relative = "image/compressed" if case.compressed else "image"
    return [
        *("depthformer_ros.load.node_without_network", "--ros-args", "-r", f"__ns:={NAMESPACE}"),
        *("-r", f"{relative}:={_topic(case)}", "-r", f"camera_info:={_CAMERA}/camera_info"),
        *(item for value in values for item in ("-p", value)),
    ]


def _topic(case: Case) -> str:
    return f"{case.image}/compressed" if case.compressed else case.image


class _Process:
    """A module of ours in a process of its own.

    Args:
        command: The module and its arguments.
        log: File for its output.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._name = command[0]
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, without a shell
                [sys.executable, "-m", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(),
            )

    def check(self) -> None:
        """Check that it runs.

        Raises:
            ProbeError: It has ended.
        """
        if (code := self._process.poll()) is not None:
            lines = self._log.read_text().split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            raise ProbeError(f"{self._name} ended with exit code {code}: {last}")

    def end(self) -> None:
        """End it as a supervisor does."""
        end_process(self._process)


class _Watch:
    """Our own participant, which observes a camera and a node.

    Args:
        case: The camera.
        processes: Processes that must run meanwhile.

    Attributes:
        processes: The processes.
        seen: Messages from the node.
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
        subscribe(Image, DEPTH_TOPIC, seen.on_depth, qos, raw=True)
        subscribe(DiagnosticArray, "/diagnostics", seen.on_diagnostics, 10)
        on_cloud = seen.on_cloud
        self._clouds: Subscription | None
        self._clouds = subscribe(PointCloud2, CLOUD_TOPIC, on_cloud, qos, raw=True)

    @property
    def publishers(self) -> int:
        """Number of publishers of the camera's images."""
        return int(self._node.count_publishers(self._topic))

    @property
    def subscribers(self) -> int:
        """Number of subscribers of the camera's images."""
        return int(self._node.count_subscribers(self._topic))

    def spin(self, seconds: float) -> None:
        """Handle messages for a while.

        Raises:
            ProbeError: A process ended.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for process in self.processes:
                process.check()
            self._executor.spin_once(timeout_sec=min(left, 0.1))
            if self.seen.cloud and self._clouds:
                # Further clouds would only load the machine.
                self._node.destroy_subscription(self._clouds)
                self._clouds = None

    def wait_for(self, check: Callable[[], object], what: str) -> None:
        """Handle messages until a check is true.

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
            after: Seconds to wait first.

        Returns:
            Their stamp, nanoseconds, and the number of images that the node had received.

        Raises:
            ProbeError: None came, or a process ended.
        """
        self.spin(after)
        known = len(self.seen.reports)
        self.wait_for(lambda: len(self.seen.reports) > known, "the node's diagnostics")
        return self.seen.reports[-1]


if __name__ == "__main__":
    main()
