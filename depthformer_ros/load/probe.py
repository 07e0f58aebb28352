"""Plays frames through a depth node in a process of its own, and measures its predictions."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depthformer_core.bags.node_topics import CLOUD, DEPTH
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.drive import STREET_CAMERA, Drive
from depthformer_ros.messages.conversions import camera_info_of, cdr_stamp, rgb_to_image
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.process import child_environment, end_process

NAMESPACE = "/probe"
"""Namespace of the measured node."""
DEPTH_TOPIC, CLOUD_TOPIC = f"{NAMESPACE}/{DEPTH}", f"{NAMESPACE}/{CLOUD}"
"""Its topics of images and clouds."""
_PICTURES = 8  # different frames, played in turn
_DIAGNOSTICS_PERIOD = 1.0
_MILLISECONDS = " (ms)"


class ProbeError(RuntimeError):
    """The run has no result."""


@dataclass(frozen=True)
class Sample:
    """Measurements at one moment, or since the sample before.

    Attributes:
        seconds: Since the start.
        memory: Resident memory of the node, bytes.
        processor: Processor time of the node so far, seconds.
        sent: Images so far.
        predicted: Depth images so far.
        missed: Messages on /diagnostics that are overdue.
        p50: Median latency since the last sample, seconds; None without a prediction.
        p95: The same, 95th percentile.
        p99: The same, 99th percentile.
        machine: Time of a fixed computation in our own process, seconds: it shows the load of the
            machine.
    """

    seconds: float
    memory: int
    processor: float
    sent: int
    predicted: int
    missed: int
    p50: float | None
    p95: float | None
    p99: float | None
    machine: float

    def to_json(self) -> dict[str, float | None]:
        """Return the values by the keys of `soak.json`."""
        values = dataclasses.asdict(self)
        return {"answered" if key == "predicted" else key: values[key] for key in values}


@dataclass(frozen=True)
class Window:
    """Measurements of a node within some seconds.

    Attributes:
        processor: Its processor time, seconds.
        sent: Images sent to it.
        predicted: Depth images received from it.
    """

    processor: float
    sent: int
    predicted: int


@dataclass
class _Seen:
    """Messages from the node."""

    sent: dict[int, float] = field(default_factory=dict)  # by stamp, seconds of time.monotonic
    latencies: list[tuple[float, float]] = field(default_factory=list)
    predicted: int = 0
    reports: int = 0
    # Times of the node's stages, milliseconds.
    stages: dict[str, float] = field(default_factory=dict)

    def on_depth(self, data: bytes) -> None:
        now = time.monotonic()
        sent = self.sent.pop(cdr_stamp(data), None)
        if sent is not None:
            self.predicted += 1
            self.latencies.append((now, now - sent))

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        prefix = f"{NAMESPACE}/"
        for status in message.status:
            if status.name.startswith(prefix):
                self.reports += 1
                self.stages = {
                    item.key.removesuffix(_MILLISECONDS): float(item.value)
                    for item in status.values
                    if item.key.endswith(_MILLISECONDS)
                }

    def missed(self, seconds: float) -> int:
        """Return the number of messages on /diagnostics that are missing after some seconds."""
        # One in transit may take half a period.
        return max(0, int(seconds / _DIAGNOSTICS_PERIOD - 0.5) - self.reports)


def resident_memory(process: int) -> int:
    """Return the resident memory of a process, bytes.

    Raises:
        ProbeError: This system is not Linux, or there is no such process.
    """
    return process_memory(process, "VmRSS")


def process_memory(process: int, kind: str) -> int:
    """Return a figure of the memory of a process, bytes.

    Args:
        process: Its number.
        kind: As in /proc/PID/status: `VmRSS` for what is resident, `VmHWM` for the most so far.

    Raises:
        ProbeError: This system is not Linux, or there is no such process.
    """
    path = Path("/proc", str(process), "status")
    try:
        for line in path.read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    except OSError as error:
        raise ProbeError(f"cannot read the memory of process {process}: {error}") from error
    raise ProbeError(f"{path} has no {kind}")


def processor_time(process: int) -> float:
    """Return the processor time of a process, seconds.

    Raises:
        ProbeError: This system is not Linux, or there is no such process.
    """
    try:
        # The process's name, in brackets, may be any text.
        values = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise ProbeError(f"cannot read the times of process {process}: {error}") from error
    in_user, in_kernel = map(int, values[11:13])
    return (in_user + in_kernel) / os.sysconf("SC_CLK_TCK")


def _fixed_work() -> float:
    """Return the time of some copying and arithmetic, seconds."""
    start = time.perf_counter()
    values = np.linspace(0.0, 1.0, 2**18, dtype=np.float32)
    for _ in range(4):
        values = np.sqrt(values + 1)
    return time.perf_counter() - start


def _ignore(data: bytes) -> None:
    del data


class Probe:
    """Plays frames through a node and samples it.

    Args:
        node: Our own node.
        process: The depth node's process, in the namespace `NAMESPACE`.
        camera: Camera of the frames.

    Attributes:
        node: Our own node.
        camera: Camera of the frames.
    """

    def __init__(self, node: Node, process: "subprocess.Popen[bytes]", camera: Camera) -> None:
        self.node = node
        self.camera = camera
        self._process = process
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        drive = Drive(0, frames=_PICTURES, camera=camera)
        header = Header(frame_id="probe_camera")
        self._images = [rgb_to_image(drive.picture(frame)[0], header) for frame in range(_PICTURES)]
        self._info = camera_info_of(camera, header)
        self._seen = _Seen()
        self._count = 0
        self._start = 0.0
        self._publisher = node.create_publisher(Image, f"{NAMESPACE}/image", 1)
        self._infos = node.create_publisher(CameraInfo, f"{NAMESPACE}/camera_info", 1)
        qos = QoSProfile(depth=5)
        node.create_subscription(Image, DEPTH_TOPIC, self._seen.on_depth, qos, raw=True)
        # The subscription makes the node build and send clouds, as for most robots.
        node.create_subscription(PointCloud2, CLOUD_TOPIC, _ignore, qos, raw=True)
        on_diagnostics = self._seen.on_diagnostics
        node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)

    @property
    def exit_code(self) -> int | None:
        """Exit code of the node; None while it runs."""
        return self._process.poll()

    def wait_for_subscribers(self, count: int, *, timeout: float = 60.0) -> None:
        """Wait until `count` others subscribe to the node's clouds.

        Raises:
            ProbeError: They do not within `timeout` seconds, or the node ended.
        """
        end = time.monotonic() + timeout
        # One subscription is our own.
        while (found := self.node.count_subscribers(CLOUD_TOPIC) - 1) != count:
            if time.monotonic() > end:
                raise ProbeError(f"{found} instead of {count} subscribe to {CLOUD_TOPIC}")
            self.spin_until(time.monotonic() + 0.1)

    def wait_for_node(self, timeout: float) -> None:
        """Play a frame a second until one is predicted.

        Raises:
            ProbeError: None was within `timeout` seconds, or the node ended.
        """
        end = time.monotonic() + timeout
        while not self._seen.predicted:
            if time.monotonic() > end:
                raise ProbeError(f"the node predicted nothing within {timeout:g} s")
            self._send()
            self.spin_until(time.monotonic() + 1.0)

    def run(self, *, seconds: float, rate: float, every: float) -> Iterator[Sample]:
        """Play frames, and yield samples.

        Args:
            seconds: Length of the run.
            rate: Frames a second.
            every: Seconds between samples.

        Raises:
            ProbeError: The node ended.
        """
        self._start = start = time.monotonic()
        seen = self._seen
        seen.latencies.clear()
        seen.sent.clear()
        seen.predicted = seen.reports = self._count = taken = 0
        frame_due, sample_due = start, start + every
        while sample_due <= start + seconds:
            self.spin_until(min(frame_due, sample_due))
            now = time.monotonic()
            if now >= frame_due:
                self._send()
                # A late frame does not shorten the next intervals.
                frame_due = max(frame_due + 1 / rate, now)
            if now >= sample_due:
                recent = [latency for _, latency in seen.latencies[taken:]]
                taken = len(seen.latencies)
                yield self._sample(now - start, recent)
                sample_due += every

    def window(self, *, seconds: float, rate: float) -> Window:
        """Play frames for a while, and wait for the last prediction.

        Raises:
            ProbeError: The node ended.
        """
        before, sent, predicted = (
            processor_time(self._process.pid),
            self._count,
            self._seen.predicted,
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._send()
            self.spin_until(time.monotonic() + 1 / rate)
        return Window(
            processor_time(self._process.pid) - before,
            self._count - sent,
            self._seen.predicted - predicted,
        )

    @property
    def stages(self) -> dict[str, float]:
        """Newest times of the node's stages, milliseconds, by `infer p50` and so on."""
        return dict(self._seen.stages)

    @property
    def latencies(self) -> list[tuple[float, float]]:
        """Time of each prediction since the start, and its latency, both in seconds."""
        return [(when - self._start, latency) for when, latency in self._seen.latencies]

    def _sample(self, seconds: float, latencies: Sequence[float]) -> Sample:
        p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist() if latencies else [None] * 3
        return Sample(
            seconds=seconds,
            memory=resident_memory(self._process.pid),
            processor=processor_time(self._process.pid),
            sent=self._count,
            predicted=self._seen.predicted,
            missed=self._seen.missed(seconds),
            p50=p50,
            p95=p95,
            p99=p99,
            machine=min(_fixed_work() for _ in range(5)),
        )

    def _send(self) -> None:
        self._count += 1
        image = self._images[self._count % _PICTURES]
        stamp = time.time_ns()
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp, 10**9)
        self._infos.publish(self._info)
        self._seen.sent[stamp] = time.monotonic()
        self._publisher.publish(image)
        # Dropped frames get no prediction.
        while len(self._seen.sent) > 1000:
            del self._seen.sent[next(iter(self._seen.sent))]

    def spin_until(self, end: float) -> None:
        """Handle messages until a time of `time.monotonic`.

        Raises:
            ProbeError: The node ended.
        """
        while (left := end - time.monotonic()) > 0:
            if self._process.poll() is not None:
                raise ProbeError(f"the node ended with exit code {self._process.returncode}")
            if not self.node.context.ok():
                raise ExternalShutdownException
            self._executor.spin_once(timeout_sec=left)


@contextlib.contextmanager
def probing(
    parameters: Sequence[str], *, width: int, node: str = "depthformer_ros.depth_node"
) -> Iterator[Probe]:
    """Start a depth node and wait for its first prediction; end it as a supervisor does.

    Args:
        parameters: Of the node, `name:=value`.
        width: Columns of the frames.
        node: Module that runs it.

    Raises:
        ProbeError: The node predicts nothing, or ended.
    """
    with running_node(node, parameters) as process:
        with large_messages():
            rclpy.init(args=[])
            own = rclpy.create_node("probe")
        probe = Probe(own, process, _camera(width))
        probe.wait_for_node(300.0)
        yield probe


def _camera(width: int) -> Camera:
    """Return KITTI's camera, scaled to `width` columns."""
    scale = width / STREET_CAMERA.width
    return Camera(
        width,
        round(STREET_CAMERA.height * scale),
        *(scale * value for value in (STREET_CAMERA.fx, STREET_CAMERA.fy)),
        *(scale * value for value in (STREET_CAMERA.cx, STREET_CAMERA.cy)),
    )


@contextlib.contextmanager
def running_node(module: str, parameters: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a depth node in the namespace `NAMESPACE`; end it as a supervisor does.

    Args:
        module: Module that runs it.
        parameters: Of the node, `name:=value`.
    """
    values = [*parameters, f"diagnostics.period:={_DIAGNOSTICS_PERIOD}"]
    process = subprocess.Popen(  # noqa: S603  # our own module, without a shell
        [
            *(sys.executable, "-m", module),
            *("--ros-args", "-r", f"__ns:={NAMESPACE}"),
            *(item for value in values for item in ("-p", value)),
        ],
        env=child_environment(),
    )
    try:
        yield process
    finally:
        end_process(process)
