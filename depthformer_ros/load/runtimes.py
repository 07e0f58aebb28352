"""Compare two checkpoints as a robot sees them: the same network in PyTorch and exported.

For each one in turn, a depth node starts in a process of its own. The time until its first depth is
measured, then the depth of all frames, its memory, and how many frames a second it predicts when
the next ones always wait. The output has the medians over the turns, their ratios, and the largest
difference of the depth.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.data.images import read_rgb
from depthformer_core.errors import DepthFormerError
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from depthformer_core.synthetic.drive import STREET_CAMERA, Drive
from depthformer_core.types import FloatArray
from depthformer_ros.load.probe import (
    DEPTH_TOPIC,
    NAMESPACE,
    ProbeError,
    process_memory,
    processor_time,
    running_node,
)
from depthformer_ros.load.probe_command import exit_with, positive
from depthformer_ros.messages.conversions import camera_info_of, cdr_stamp, rgb_to_image
from depthformer_ros.messages.transport import large_messages

_SUFFIXES = (".jpeg", ".jpg", ".png")
_SEED = 7
_START = 300.0  # longest wait for the first depth, seconds
_PATIENCE = 30.0  # likewise for any other
_AGAIN = 2.0  # seconds after which a frame is sent again
_REST = 4.0  # seconds between two nodes
_AT_START = 0.1  # likewise, as a camera of 10 Hz that runs already
_WAITING = 2  # frames in the node: one that it predicts, one that waits
# Compared is what the network says: in float32, and beyond its farthest depth too.
_DEFAULTS = {"precision": "float32", "depth.max": "1000.0"}


@dataclass(frozen=True)
class NodeRun:
    """Measurement of one node.

    Attributes:
        start: Time from the start of the process to its first depth, seconds.
        processor: Its processor time until then, seconds: that time without other processes.
        memory: Resident memory after the frames, bytes.
        peak: Largest resident memory until then, bytes.
        rate: Frames that it predicted a second, with the next one always waiting.
        pytorch: Whether the process has loaded PyTorch.
        depths: Depth of each frame, (H, W), metres.
    """

    start: float
    processor: float
    memory: int
    peak: int
    rate: float
    pytorch: bool
    depths: Sequence[FloatArray]


def depth_difference(first: NodeRun, second: NodeRun) -> tuple[float, float, int]:
    """Compare the depths of two nodes.

    Returns:
        The largest difference and the first node's depth where it is, metres, and the number of
        pixels that have depth of one node alone.
    """
    largest, where, alone = 0.0, 0.0, 0
    for one, other in zip(first.depths, second.depths, strict=True):
        known, also = np.isfinite(one), np.isfinite(other)
        alone += int(np.count_nonzero(known != also))
        both = known & also
        if both.any():
            differences = np.abs(one[both] - other[both])
            worst = int(differences.argmax())
            if differences[worst] > largest:
                largest, where = float(differences[worst]), float(one[both][worst])
    return largest, where, alone


def format_runs(names: Sequence[str], runs: Sequence[Sequence[NodeRun]]) -> str:
    """Format the measurements of two checkpoints as a Markdown table, and what they differ by.

    Args:
        names: Of the two checkpoints.
        runs: Those of each, in turns.
    """
    rows = [f"| | {names[0]} | {names[1]} | ratio |", "| --- | ---: | ---: | ---: |"]
    figures: Mapping[str, Callable[[NodeRun], float]] = {
        "resident memory, MiB": lambda run: run.memory / 2**20,
        "peak of it, MiB": lambda run: run.peak / 2**20,
        "process start to first depth, s": lambda run: run.start,
        "processor time until then, s": lambda run: run.processor,
        "frames a second": lambda run: run.rate,
    }
    for name, figure in figures.items():
        first, second = (statistics.median(map(figure, those)) for those in runs)
        ratio = statistics.median(
            figure(other) / figure(one) for one, other in zip(*runs, strict=True)
        )
        rows.append(f"| {name} | {first:.4g} | {second:.4g} | {ratio:.2f} |")
    loaded = ["yes" if any(run.pytorch for run in those) else "no" for those in runs]
    rows.append(f"| PyTorch in the process | {loaded[0]} | {loaded[1]} | |")
    largest, where, alone = depth_difference(runs[0][0], runs[1][0])
    more = f" (at {where:.3g} m)" if largest else ""
    more += f"; {alone} pixels have depth of one alone" if alone else ""
    count = len(runs[0][0].depths)
    return "\n".join(
        [*rows, "", f"largest difference of depth over {count} frames: {largest:.2g} m{more}"]
    )


class _Player:
    """Plays frames through a node, and gets its depth.

    Args:
        node: Our own node.
        images: The frames.
        info: Their calibration, if it is known.
    """

    def __init__(self, node: Node, images: Sequence[Image], info: CameraInfo | None) -> None:
        self._node = node
        self._images = images
        self._info = info
        self._stamp = 0
        self._received: dict[int, bytes] = {}
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._publisher = node.create_publisher(Image, f"{NAMESPACE}/image", 5)
        self._infos = node.create_publisher(CameraInfo, f"{NAMESPACE}/camera_info", 5)
        node.create_subscription(Image, DEPTH_TOPIC, self._on_depth, 10, raw=True)

    def measure(self, checkpoint: str, parameters: Sequence[str], *, seconds: float) -> NodeRun:
        """Start a node, measure it, end it.

        Args:
            checkpoint: What it runs.
            parameters: Its other parameters, `name:=value`.
            seconds: How long it is driven for its rate.

        Raises:
            ProbeError: The node ended, or sends no depth.
        """
        self._received.clear()
        # One that starts where another just ended is found seconds later.
        time.sleep(_REST)
        began = time.monotonic()
        module = "depthformer_ros.depth_node"
        with running_node(module, [*parameters, f"checkpoint:={checkpoint}"]) as process:

            def check() -> None:
                if process.poll() is not None:
                    raise ProbeError(f"the node ended with exit code {process.returncode}")

            self._wait(lambda: self._publisher.get_subscription_count() > 0, _START, check)
            # A large one may be lost on its way several times.
            smallest = min(self._images, key=lambda image: len(image.data))
            self._depth(smallest, _START, check, again=_AT_START)
            start = time.monotonic() - began
            processor = processor_time(process.pid)
            depths = [self._depth(image, _PATIENCE, check) for image in self._images]
            memory = process_memory(process.pid, "VmRSS")
            peak = process_memory(process.pid, "VmHWM")
            rate = self._rate(seconds, check)
            libraries = Path("/proc", str(process.pid), "maps").read_text()
        return NodeRun(start, processor, memory, peak, rate, "libtorch" in libraries, depths)

    def _rate(self, seconds: float, check: Callable[[], None]) -> float:
        """Return how many frames a second are predicted while one always waits."""
        waiting: list[int] = []
        count, sent, begin, end = 0, 0, time.monotonic(), 0.0
        while (now := time.monotonic()) < begin + seconds:
            while len(waiting) < _WAITING:
                waiting.append(self._send(self._images[sent % len(self._images)]))
                sent += 1
            self._spin(0.1, check)
            came = [stamp for stamp in waiting if stamp in self._received]
            if came:
                # A frame before the newest that came was lost.
                waiting = [stamp for stamp in waiting if stamp > max(came)]
                count, end = count + len(came), time.monotonic()
                self._received.clear()
            elif now - (end or begin) > _PATIENCE:
                raise ProbeError(f"the node predicted nothing for {_PATIENCE:g} s")
        return count / (end - begin) if count else 0.0

    def _depth(
        self, image: Image, timeout: float, check: Callable[[], None], *, again: float = _AGAIN
    ) -> FloatArray:
        """Send a frame until its depth comes, and return that."""
        end = time.monotonic() + timeout
        stamps: list[int] = []

        def came() -> bool:
            return any(stamp in self._received for stamp in stamps)

        while not came():
            if time.monotonic() > end:
                raise ProbeError(f"the node predicted nothing within {timeout:g} s")
            stamps.append(self._send(image))
            with contextlib.suppress(TimeoutError):
                self._wait(came, again, check)
        data = next(self._received[stamp] for stamp in stamps if stamp in self._received)
        self._received.clear()
        depth: FloatArray = image_to_depth(deserialize_message(data, Image))
        return depth

    def _send(self, image: Image) -> int:
        """Publish a frame, and return its stamp."""
        # As a camera's: the stamps only have to differ.
        self._stamp = max(time.time_ns(), self._stamp + 1)
        seconds, nanoseconds = divmod(self._stamp, 10**9)
        for message in (self._info, image):
            if message is not None:
                message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
        if self._info is not None:
            self._infos.publish(self._info)
        self._publisher.publish(image)
        return self._stamp

    def _on_depth(self, data: bytes) -> None:
        self._received[cdr_stamp(data)] = data

    def _wait(self, ready: Callable[[], bool], timeout: float, check: Callable[[], None]) -> None:
        """Handle messages until something is ready.

        Raises:
            TimeoutError: It is not, after a time.
        """
        end = time.monotonic() + timeout
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError
            self._spin(0.01, check)

    def _spin(self, seconds: float, check: Callable[[], None]) -> None:
        check()
        if not self._node.context.ok():
            raise ExternalShutdownException
        self._executor.spin_once(timeout_sec=seconds)


def main(args: Sequence[str] | None = None) -> None:
    """Run with the options of the command line; exit code 1 on a problem, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m depthformer_ros.load.runtimes", description=__doc__
    )
    parser.add_argument("first", help="a checkpoint, or a preset's name")
    parser.add_argument("second", help="another one, such as an exported network (.onnx)")
    parser.add_argument("parameters", nargs="*", help="of both nodes, such as flip:=true")
    parser.add_argument(
        "--devices", nargs=2, default=("auto", "auto"), help="of the two, such as cpu cpu"
    )
    parser.add_argument(
        "--images", type=Path, help="folder of images; generated streets without one"
    )
    parser.add_argument("--frames", type=_count, default=12, help="how many of them")
    parser.add_argument("--turns", type=_count, default=3, help="how often each node starts")
    parser.add_argument(
        "--seconds", type=positive, default=10.0, help="how long each is driven for its rate"
    )
    options = parser.parse_intermixed_args(args)
    exit_with("runtimes", lambda: _measure(options))


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def _measure(options: argparse.Namespace) -> list[str]:
    try:
        images, info = _frames(options.images, options.frames)
    except (DepthFormerError, OSError) as error:
        raise ProbeError(str(error)) from error
    names = [options.first, options.second]
    checkpoints = [name if name in PRESETS else str(user_path(name)) for name in names]
    given = {parameter.partition(":=")[0] for parameter in options.parameters}
    defaults = [f"{name}:={value}" for name, value in _DEFAULTS.items() if name not in given]
    parameters = [*defaults, *options.parameters]
    runs: list[list[NodeRun]] = [[], []]
    with _playing(images, info) as player:
        for turn in range(options.turns):
            for those, checkpoint, device in zip(runs, checkpoints, options.devices, strict=True):
                sys.stderr.write(f"turn {turn + 1} of {options.turns}: {checkpoint}\n")
                values = [f"device:={device}", *parameters]
                those.append(player.measure(checkpoint, values, seconds=options.seconds))
    sys.stdout.write(f"{format_runs(names, runs)}\n")
    return []


@contextlib.contextmanager
def _playing(images: Sequence[Image], info: CameraInfo | None) -> Iterator[_Player]:
    with large_messages():
        rclpy.init(args=[])
        node = rclpy.create_node("runtimes")
    yield _Player(node, images, info)


def _frames(folder: Path | None, count: int) -> tuple[list[Image], CameraInfo | None]:
    """Return frames, and their calibration if all have a known one."""
    header = Header(frame_id="camera")
    if folder is None:
        drive = Drive(_SEED, frames=count)
        pictures = [drive.picture(frame)[0] for frame in range(count)]
        return [rgb_to_image(rgb, header) for rgb in pictures], camera_info_of(
            STREET_CAMERA, header
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)[:count]
    if not files:
        raise DepthFormerError(f"{folder} has no images ({', '.join(_SUFFIXES)})")
    return [rgb_to_image(read_rgb(path), header) for path in files], None


if __name__ == "__main__":
    main()
