"""The demonstration: a bag played through a node over ROS 2, with pictures and a report."""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from depthformer_core.bags import BagReader
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import cloud_colours, cloud_points, header_stamp
from depthformer_core.benchmark.description import machine
from depthformer_core.data.dataset import Frame
from depthformer_core.data.images import write_png
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, IMAGE_TOPIC, drive_to_bag
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.evaluate import FrameEvaluation, evaluate_frame
from depthformer_core.evaluation.metrics import METRICS, mean_over_images
from depthformer_core.evaluation.panels import error_panel
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from depthformer_core.synthetic import DEPTH_TRUTH_TOPIC, Drive, write_bag
from depthformer_core.types import FloatArray, Rgb
from depthformer_core.visualize import cloud_picture, colorize, depth_range, legend, sheet
from depthformer_core.weights import SHIPPED
from depthformer_ros.replay.live import (
    CLOUD_TOPIC,
    DEPTH_TOPIC,
    play_through_node,
    require_ros,
)

UNTRAINED = "UNTRAINED WEIGHTS: this depth means nothing"

_ERROR = "error of the depth: blue half as far or nearer, white right, red twice as far or farther"

_SEED = 3
_PROTOCOL = Protocol(max_depth=80.0)


class DemoReport(TypedDict):
    """The contents of `report.json`."""

    source: str
    frames: int
    answered: int
    dropped: int
    latency: dict[str, float]
    checkpoint: str
    trained: bool
    device: str | None
    precision: str | None
    machine: dict[str, str]
    clouds: int
    metrics: dict[str, float] | None


def run_demo(
    *,
    output: Path,
    drive: Path | None = None,
    checkpoint: str | None = None,
    device: str = "auto",
    frames: int = 30,
) -> DemoReport:
    """Play a bag through the depth node and keep pictures and a report.

    Writes to `output`: `bag` and `answers`, the played messages and the outputs of the node;
    `input.png`, `depth.png`, `cloud.png`, `error.png` if the depth is known, and all of them in
    `demo.png`; `report.json`, `report.md` and `node.log`. They replace those of an earlier
    demonstration; other files are kept.

    Args:
        output: Folder for the results.
        drive: KITTI raw drive to play, or none for a generated street with exact depth.
        checkpoint: A safetensors file or a preset's name; none for the weights that come with the
            package, `small` on a generated street and `small_kitti` on a drive.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        frames: Number of frames to play at most.

    Returns:
        The report, as in `report.json`.

    Raises:
        ReplayError: ROS 2 or the checkpoint is missing, or the node did not run or predict.
        KittiError: The drive is missing something or damaged.
        DepthFormerError: `frames` is not positive.
    """
    if frames < 1:
        raise DepthFormerError(f"frames must be positive, got {frames}")
    if checkpoint is None:
        checkpoint = "small" if drive is None else "small_kitti"
    if checkpoint not in PRESETS:
        name, path = checkpoint, user_path(checkpoint)
        if not path.is_file():
            raise ReplayError(
                f"no checkpoint at {path}; {name} is no preset either ({', '.join(PRESETS)})"
            )
        checkpoint = str(path)
    require_ros()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as name:
        workplace = Path(name)
        try:
            report = _run(workplace, drive, checkpoint, device, frames)
        except ReplayError:
            _move(workplace, output, ["node.log"])
            raise
        _move(workplace, output, [path.name for path in sorted(workplace.iterdir())])
    return report


def summary(report: DemoReport, output: Path) -> list[str]:
    """Return a report in a few lines.

    Args:
        report: As from `run_demo`.
        output: Folder of the results.
    """
    latency, metrics, frames = report["latency"], report["metrics"], report["frames"]
    note = "" if report["trained"] else " (untrained weights: the depth means nothing)"
    accuracy = "AbsRel: unknown, there is no exact depth"
    if metrics is not None:
        accuracy = f"AbsRel: {metrics['abs_rel']:.3f}"
    return [
        f"checkpoint: {report['checkpoint']} on {report['device']}, {report['precision']}{note}",
        f"frames: {report['answered']} of {frames} predicted, {report['dropped']} dropped",
        f"latency: p50 {1e3 * latency['p50']:.0f} ms, p95 {1e3 * latency['p95']:.0f} ms",
        accuracy,
        f"results: {output / 'demo.png'}, {output / 'report.md'}, {output / 'report.json'}",
    ]


def _run(
    workplace: Path, drive: Path | None, checkpoint: str, device: str, frames: int
) -> DemoReport:
    bag = workplace / "bag"
    if drive is None:
        source = f"generated street {_SEED}"
        _log(f"rendering {frames} frames of a generated street")
        write_bag(Drive(_SEED, frames=frames), bag, progress=True)
    else:
        source = f"KITTI drive {drive.resolve().name}"
        _log(f"reading {source}")
        for note in drive_to_bag(drive, bag, frames=frames, progress=True):
            _log(note)
    with BagReader(bag) as reader:
        if IMAGE_TOPIC not in reader.topics:
            raise ReplayError(f"drive {drive} has no images to play")

    _log(f"playing it through the node: checkpoint {checkpoint}, device {device}")
    replay = play_through_node(
        bag,
        output=workplace,
        image_topic=IMAGE_TOPIC,
        compressed=False,
        camera_info_topic=CAMERA_INFO_TOPIC,
        parameters={"checkpoint": checkpoint, "device": device},
        mode="realtime",
    )
    _log("composing pictures")
    latency = replay["latency"]
    assert latency is not None  # there are predictions
    clouds, metrics = _compare(workplace)
    report: DemoReport = {
        "source": source,
        "frames": replay["sent"],
        "answered": replay["answered"],
        "dropped": replay["dropped"],
        "latency": latency,
        "checkpoint": checkpoint,
        # An exported network knows itself what it was made from.
        "trained": (checkpoint in SHIPPED or checkpoint not in PRESETS)
        and replay["node"]["trained"] != str(False),
        "device": replay["node"]["device"],
        "precision": replay["node"]["precision"],
        "machine": machine(),
        "clouds": clouds,
        "metrics": metrics,
    }
    _compose(workplace, report)
    (workplace / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (workplace / "report.md").write_text(_markdown(report), encoding="utf-8")
    return report


def _compare(workplace: Path) -> tuple[int, dict[str, float] | None]:
    """Count the clouds and, if the bag has exact depth, measure the errors of the depth."""
    rows = []
    with BagReader(workplace / "bag") as bag, BagReader(workplace / "answers") as outputs:
        clouds = outputs.topics[CLOUD_TOPIC].count if CLOUD_TOPIC in outputs.topics else 0
        if DEPTH_TRUTH_TOPIC in bag.topics:
            # Predictions keep the order of their frames, of which some were dropped.
            truths = (item.message() for item in bag.messages([DEPTH_TRUTH_TOPIC]))
            for item in outputs.messages([DEPTH_TOPIC]):
                prediction = item.message()
                stamp = header_stamp(prediction)
                truth = next(truth for truth in truths if header_stamp(truth) == stamp)
                depth = image_to_depth(prediction)
                rgb = np.zeros((*depth.shape, 3), np.uint8)  # unused by the errors
                rows.append(_evaluate(rgb, depth, image_to_depth(truth)).row)
    return clouds, mean_over_images(rows) if rows else None


def _evaluate(rgb: Rgb, depth: FloatArray, truth: FloatArray) -> FrameEvaluation:
    """Evaluate a depth image where the exact depth is at most 80 m."""
    # The node publishes +Inf beyond its range.
    prediction = np.where(np.isposinf(depth), np.float32(_PROTOCOL.max_depth), depth)
    return evaluate_frame(lambda _, __: prediction, Frame("", rgb, truth, None), protocol=_PROTOCOL)


def _compose(workplace: Path, report: DemoReport) -> None:
    """Draw the middle one of the frames with depth and cloud."""
    with BagReader(workplace / "answers") as outputs:
        if CLOUD_TOPIC not in outputs.topics:
            raise ReplayError("the node sent depth, but no cloud")
        stamps = [header_stamp(item.message()) for item in outputs.messages([DEPTH_TOPIC])]
        depths = set(stamps)
        stamps = [header_stamp(item.message()) for item in outputs.messages([CLOUD_TOPIC])]
        both = [stamp for stamp in stamps if stamp in depths]
        if not both:
            raise ReplayError(f"none of {len(stamps)} clouds belongs to a depth image")
        stamp = both[len(both) // 2]
        depth = image_to_depth(_find(outputs, DEPTH_TOPIC, stamp))
        cloud = _find(outputs, CLOUD_TOPIC, stamp)
    with BagReader(workplace / "bag") as bag:
        rgb = image_to_rgb(_find(bag, IMAGE_TOPIC, stamp))
        truth = None
        if DEPTH_TRUTH_TOPIC in bag.topics:
            truth = image_to_depth(_find(bag, DEPTH_TRUTH_TOPIC, stamp))

    # Trained depth is drawn on the scale of the truth; untrained depth would be off that scale.
    span = depth_range(depth if truth is None or not report["trained"] else truth)
    depth_picture = _with_legend(depth, span)
    view = cloud_picture(cloud_points(cloud), cloud_colours(cloud), width=rgb.shape[1])
    warning = None if report["trained"] else UNTRAINED
    panels = [("camera image", rgb), ("depth from the node", depth_picture)]
    if truth is not None:
        panels.append(("exact depth of the street", _with_legend(truth, depth_range(truth))))
        error = error_panel(_evaluate(rgb, depth, truth).comparison)
        panels.append((_ERROR, error))
        write_png(workplace / "error.png", sheet([(_ERROR, error)], title="Error", warning=warning))
    panels.append(("point cloud from the node, seen from above and behind", view))
    title = f"DepthFormer {report['checkpoint']} on {report['device']}: {report['source']}"
    write_png(workplace / "input.png", rgb)
    write_png(
        workplace / "depth.png",
        sheet([("", depth_picture)], title="Depth from the node", warning=warning),
    )
    write_png(
        workplace / "cloud.png",
        sheet([("", view)], title="Point cloud from the node", warning=warning),
    )
    write_png(workplace / "demo.png", sheet(panels, title=title, warning=warning))


def _with_legend(depth: FloatArray, span: tuple[float, float]) -> Rgb:
    near, far = span
    bar = legend(near=near, far=far, width=depth.shape[1])
    return np.concatenate((colorize(depth, near=near, far=far), bar))


def _find(reader: BagReader, topic: str, stamp: int) -> Any:
    """Return the message of a topic with a stamp, which must exist."""
    messages = (item.message() for item in reader.messages([topic]))
    return next(message for message in messages if header_stamp(message) == stamp)


def _markdown(report: DemoReport) -> str:
    latency = report["latency"]
    lines = ["# DepthFormer demonstration", ""]
    if not report["trained"]:
        lines += [
            "**The weights are untrained (random): the depth, the cloud and every figure of their "
            "quality mean nothing. They only show that frames pass through the node.**",
            "",
        ]
    rows = [
        ("source", report["source"]),
        ("frames in", report["frames"]),
        ("answered", report["answered"]),
        ("dropped (a newer frame came first)", report["dropped"]),
        ("clouds", report["clouds"]),
        *((f"latency, {name}", f"{1e3 * time:.0f} ms") for name, time in latency.items()),
        ("checkpoint", report["checkpoint"]),
        ("device", f"{report['device']}, {report['precision']}"),
        *report["machine"].items(),
    ]
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    if report["metrics"] is not None:
        note = "" if report["trained"] else " (untrained: means nothing)"
        lines += ["", f"Errors against the exact depth, up to 80 m{note}:", ""]
        values = (f"{report['metrics'][name]:.3f}" for name in METRICS)
        lines += [f"| {' | '.join(METRICS)} |", f"|{' ---: |' * len(METRICS)}"]
        lines += [f"| {' | '.join(values)} |"]
    lines += ["", "![input, depth and cloud](demo.png)", ""]
    return "\n".join(lines)


def _move(workplace: Path, output: Path, names: list[str]) -> None:
    """Move results to the output folder, and replace earlier ones of the same names."""
    output.mkdir(exist_ok=True)
    for name in names:
        target = output / name
        if not (workplace / name).exists():
            continue
        if target.is_dir():
            shutil.rmtree(target)
        (workplace / name).replace(target)


def _log(step: str) -> None:
    print(f"demo: {step}", file=sys.stderr, flush=True)
