"""The demonstration: a bag through the running node over ROS 2, pictures and a report of it."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import depthformer_core
from depthformer_core.benchmark import machine
from depthformer_core.data.bag import BagReader
from depthformer_core.data.images import write_png
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, IMAGE_TOPIC, drive_to_bag
from depthformer_core.data.messages import (
    cloud_colours,
    cloud_points,
    header_stamp,
    image_array,
)
from depthformer_core.data.synthetic import DEPTH_TRUTH_TOPIC, Drive, write_bag
from depthformer_core.presets import PRESETS
from depthformer_core.visualize import Rgb, cloud_picture, colorize, depth_range, legend, sheet

DEPTH_TOPIC = "/depth/image_rect"
CLOUD_TOPIC = "/points"
UNTRAINED = "UNTRAINED WEIGHTS: this depth means nothing"

_SEED = 3
# What the node says when it has loaded its checkpoint, or could not.
_READY = re.compile(r" on (\S+) in (\w+), ready in")
_FAILED = re.compile(r"configure failed: .*")
# A large network on a CPU takes this long for its last frame.
_TIMEOUT = 60.0
_LINES = 15


class DemoError(ValueError):
    """A demonstration that could not run; the message says why and what the node said last."""


def run_demo(
    *,
    output: Path,
    drive: Path | None = None,
    checkpoint: str = "small",
    device: str = "auto",
    frames: int = 30,
) -> dict[str, Any]:
    """Play a bag through the depth node and keep pictures and a report.

    Leaves in `output`: `bag` and `answers`, what was played and what came back; `input.png`,
    `depth.png`, `cloud.png` and all of them in `demo.png`; `report.json`, `report.md` and
    `node.log`. They replace those of an earlier demonstration; other files stay.

    Args:
        output: Folder for the results.
        drive: KITTI raw drive to play, or none for a generated street with exact depth.
        checkpoint: A safetensors file, or a preset's name: random weights.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        frames: Number of frames to play at most.

    Returns:
        The report, as in `report.json`.

    Raises:
        DemoError: ROS 2 or the checkpoint is missing, or the node did not run or answer.
        KittiError: The drive is missing something or damaged.
        ValueError: `frames` is not positive.
    """
    if frames < 1:
        raise ValueError(f"frames must be positive, got {frames}")
    if checkpoint not in PRESETS and not Path(checkpoint).is_file():
        raise DemoError(
            f"no checkpoint at {checkpoint}; it is no preset either ({', '.join(PRESETS)})"
        )
    if importlib.util.find_spec("rclpy") is None:
        raise DemoError(
            "ROS 2 is missing: this Python has no rclpy. Source a ROS 2 installation, or install "
            "the wheels ros-jazzy-rclpy, ros-jazzy-rmw-fastrtps-cpp and ros-jazzy-sensor-msgs"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as name:
        workplace = Path(name)
        try:
            report = _run(workplace, drive, checkpoint, device, frames)
        except DemoError:
            _move(workplace, output, ["node.log"])
            raise
        _move(workplace, output, [path.name for path in sorted(workplace.iterdir())])
    _say(f"pictures and report are in {output}")
    return report


def _run(
    workplace: Path, drive: Path | None, checkpoint: str, device: str, frames: int
) -> dict[str, Any]:
    bag = workplace / "bag"
    if drive is None:
        source = f"generated street {_SEED}"
        _say(f"rendering {frames} frames of a generated street")
        write_bag(Drive(_SEED, frames=frames), bag, progress=True)
    else:
        source = f"KITTI drive {drive.resolve().name}"
        _say(f"reading {source}")
        drive_to_bag(drive, bag, frames=frames, progress=True)
    with BagReader(bag) as reader:
        if IMAGE_TOPIC not in reader.topics:
            raise DemoError(f"drive {drive} has no images to play")

    _say(f"playing it through the node: checkpoint {checkpoint}, device {device}")
    replay = _play(workplace, checkpoint, device)
    _say("composing pictures")
    log = (workplace / "node.log").read_text(encoding="utf-8", errors="replace")
    ready = _READY.search(log)
    report: dict[str, Any] = {
        "source": source,
        "frames": replay["sent"],
        "answered": replay["answered"],
        "dropped": replay["dropped"],
        "latency": replay["latency"],
        "checkpoint": checkpoint,
        "trained": checkpoint not in PRESETS,
        "device": ready[1] if ready else device,
        "precision": ready[2] if ready else None,
        "machine": machine(),
    }
    report |= _compare(workplace)
    _compose(workplace, report)
    (workplace / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (workplace / "report.md").write_text(_markdown(report), encoding="utf-8")
    return report


def _play(workplace: Path, checkpoint: str, device: str) -> dict[str, Any]:
    """Run the node and the replay, each in a process of its own; give the replay's report."""
    node_command = [
        *(sys.executable, "-m", "depthformer_ros.depth_node", "--ros-args"),
        *("-p", f"checkpoint:={json.dumps(checkpoint)}", "-p", f"device:={device}"),
        *("-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={CAMERA_INFO_TOPIC}"),
    ]
    replay_command = [
        *(sys.executable, "-m", "depthformer_ros.replay", str(workplace / "bag")),
        *("--output", str(workplace), "--mode", "realtime"),
        *("--image-topic", IMAGE_TOPIC, "--timeout", str(_TIMEOUT)),
    ]
    node_log, replay_log = workplace / "node.log", workplace / "replay.log"
    with _process(node_command, node_log) as node, _process(replay_command, replay_log) as replay:
        failed = None
        while replay.poll() is None and node.poll() is None and failed is None:
            time.sleep(0.2)
            failed = _FAILED.search(_tail(node_log, _LINES))
        if failed is not None:
            reason = failed[0]
        elif replay.poll() is None:
            reason = f"the node ended with exit code {node.poll()}"
        elif replay.returncode:
            reason = _tail(replay_log, 1)
        else:
            reason = ""
    if reason:
        raise DemoError(f"{reason}. The node said last:\n{_tail(node_log, _LINES)}")
    report: dict[str, Any] = json.loads((workplace / "replay.json").read_text(encoding="utf-8"))
    if not report["answered"]:
        raise DemoError(
            f"the node answered none of {report['sent']} frames. It said last:\n"
            f"{_tail(node_log, _LINES)}"
        )
    for leftover in ("replay.json", "replay.log"):
        (workplace / leftover).unlink()
    return report


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a ROS process out of reach of other robots; end it with the context."""
    path = [os.environ.get("PYTHONPATH", ""), str(Path(depthformer_core.__file__).parents[1])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        # Domains up to 101 are free of the operating system's own ports.
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603  # our own modules, without a shell
            command, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _compare(workplace: Path) -> dict[str, Any]:
    """Count the clouds and, where the bag holds exact depth, measure the depth's error."""
    errors = []
    with BagReader(workplace / "bag") as bag, BagReader(workplace / "answers") as answers:
        clouds = answers.topics[CLOUD_TOPIC].count if CLOUD_TOPIC in answers.topics else 0
        if DEPTH_TRUTH_TOPIC in bag.topics:
            # Answers keep the order of their frames, of which some were dropped.
            truths = (item.message() for item in bag.messages([DEPTH_TRUTH_TOPIC]))
            for item in answers.messages([DEPTH_TOPIC]):
                answer = item.message()
                stamp = header_stamp(answer)
                truth = next(truth for truth in truths if header_stamp(truth) == stamp)
                errors.append(_abs_rel(image_array(answer), image_array(truth)))
    return {"clouds": clouds, "abs_rel": float(np.mean(errors)) if errors else None}


def _abs_rel(depth: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> float:
    """Mean of |depth - truth| / truth where both are finite."""
    valid = np.isfinite(depth) & np.isfinite(truth)
    return float(np.mean(np.abs(depth[valid] - truth[valid]) / truth[valid]))


def _compose(workplace: Path, report: dict[str, Any]) -> None:
    """Draw one answered frame: the middle one of those whose cloud came back too."""
    with BagReader(workplace / "answers") as answers:
        if CLOUD_TOPIC not in answers.topics:
            raise DemoError("the node sent depth, but no cloud")
        stamps = [header_stamp(item.message()) for item in answers.messages([DEPTH_TOPIC])]
        depths = set(stamps)
        stamps = [header_stamp(item.message()) for item in answers.messages([CLOUD_TOPIC])]
        both = [stamp for stamp in stamps if stamp in depths]
        if not both:
            raise DemoError(f"none of {len(stamps)} clouds belongs to a depth image")
        stamp = both[len(both) // 2]
        depth = image_array(_find(answers, DEPTH_TOPIC, stamp))
        cloud = _find(answers, CLOUD_TOPIC, stamp)
    with BagReader(workplace / "bag") as bag:
        rgb = image_array(_find(bag, IMAGE_TOPIC, stamp))
        truth = None
        if DEPTH_TRUTH_TOPIC in bag.topics:
            truth = image_array(_find(bag, DEPTH_TRUTH_TOPIC, stamp))

    # Trained depth is drawn on the scale of the truth; untrained depth would be off that scale.
    span = depth_range(depth if truth is None or not report["trained"] else truth)
    estimated = _with_legend(depth, span)
    view = cloud_picture(cloud_points(cloud), cloud_colours(cloud), width=rgb.shape[1])
    warning = None if report["trained"] else UNTRAINED
    panels = [("camera image", rgb), ("depth from the node", estimated)]
    if truth is not None:
        panels.append(("exact depth of the street", _with_legend(truth, depth_range(truth))))
    panels.append(("point cloud from the node, seen from above and behind", view))
    title = f"DepthFormer {report['checkpoint']} on {report['device']}: {report['source']}"
    write_png(workplace / "input.png", rgb)
    write_png(
        workplace / "depth.png",
        sheet([("", estimated)], title="Depth from the node", warning=warning),
    )
    write_png(
        workplace / "cloud.png",
        sheet([("", view)], title="Point cloud from the node", warning=warning),
    )
    write_png(workplace / "demo.png", sheet(panels, title=title, warning=warning))


def _with_legend(depth: npt.NDArray[np.float32], span: tuple[float, float]) -> Rgb:
    near, far = span
    bar = legend(near=near, far=far, width=depth.shape[1])
    return np.concatenate((colorize(depth, near=near, far=far), bar))


def _find(reader: BagReader, topic: str, stamp: int) -> Any:
    """Message of a topic whose header has a stamp that is known to be there."""
    messages = (item.message() for item in reader.messages([topic]))
    return next(message for message in messages if header_stamp(message) == stamp)


def _markdown(report: dict[str, Any]) -> str:
    latency = report["latency"]
    lines = ["# DepthFormer demonstration", ""]
    if not report["trained"]:
        lines += [
            "**The weights are untrained (random): the depth, the cloud and every figure of their "
            "quality mean nothing. What this shows is the way of a frame through the node.**",
            "",
        ]
    rows = [
        ("source", report["source"]),
        ("frames in", report["frames"]),
        ("answered", report["answered"]),
        ("dropped (a newer frame came first)", report["dropped"]),
        ("clouds", report["clouds"]),
        *((f"latency, {name}", f"{1e3 * latency[name]:.0f} ms") for name in ("p50", "p99", "max")),
        ("checkpoint", report["checkpoint"]),
        ("device", f"{report['device']}, {report['precision']}"),
        *report["machine"].items(),
    ]
    if report["abs_rel"] is not None:
        note = "" if report["trained"] else " (untrained: means nothing)"
        rows.append(
            ("mean relative error against the exact depth", f"{report['abs_rel']:.3f}{note}")
        )
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    lines += ["", "![input, depth and cloud](demo.png)", ""]
    return "\n".join(lines)


def _move(workplace: Path, output: Path, names: list[str]) -> None:
    """Move results to the output folder, in place of earlier ones of the same names."""
    output.mkdir(exist_ok=True)
    for name in names:
        target = output / name
        if not (workplace / name).exists():
            continue
        if target.is_dir():
            shutil.rmtree(target)
        (workplace / name).replace(target)


def _tail(log: Path, count: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-count:]) or "(nothing)"


def _say(step: str) -> None:
    print(f"demo: {step}", file=sys.stderr, flush=True)
