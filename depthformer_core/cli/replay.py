"""`depthformer replay`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from depthformer_core.bags.topics import Truth
from depthformer_core.config import Crop, Focal
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.compare import compare, read_results
from depthformer_core.evaluation.compare_report import (
    comparison_to_json,
    format_comparison,
    render_comparison,
)
from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.evaluation.output import provenance, write_evaluation
from depthformer_core.evaluation.protocol import Mask, Protocol
from depthformer_core.evaluation.requirement import Requirement, parse_requirement
from depthformer_core.evaluation.results import format_table
from depthformer_core.files import write_texts
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import Replay, replay_offline
from depthformer_core.replay.frame_plan import FrameOptions, Rectify
from depthformer_core.signals import Signals, exit_at_sigterm
from depthformer_ros.replay.live import Mode

# Images in the report: so many of the worst, and of the best.
_KEPT = 3
_TIMES = ("answered", "dropped", "late", "p50", "p95", "p99", "max")
_FAILED = 3


@dataclass(frozen=True)
class TopicOptions:
    """Topics of the bag, where it has several of a kind."""

    image_topic: str | None = None
    """Images, raw or compressed."""
    camera_info_topic: str | None = None
    """Their calibration."""
    depth_topic: str | None = None
    """Depth images to compare with."""
    cloud_topic: str | None = None
    """Point clouds of a LiDAR to compare with."""


@dataclass(frozen=True)
class NetworkOptions:
    """The network, unless a running node has its own."""

    checkpoint: str = "small"
    """A safetensors file, or one of the official release; small, or small_kitti for streets like
    KITTI's, for weights that come with the package; or another preset's name (random weights)."""
    crop: Literal["auto"] | Crop = "auto"
    """Part of the image that is read: the bottom 352 rows and middle 1216 columns (kitti), what
    lies in the field of view of the training images (view), all (none), or the network's own
    (auto)."""
    focal: Focal = "resize"
    """Handling of images of another focal length than the network's: resize them, scale the
    depth, or none."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""


@dataclass(frozen=True)
class ReplayOptions:
    """Say how good and how fast depth is on the images of a bag, or compare two such runs.

    Writes report.html, results.json and per_image.csv. Exit code 3 means that a requirement does
    not hold.
    """

    bag: tyro.conf.Positional[Path | None] = None
    """ROS 2 bag (SQLite or MCAP, compressed or split too), or ROS 1 bag."""
    topics: tyro.conf.OmitArgPrefixes[TopicOptions] = field(default_factory=TopicOptions)
    """Topics of the bag, found by their types where there is but one of a kind."""
    network: tyro.conf.OmitArgPrefixes[NetworkOptions] = field(default_factory=NetworkOptions)
    """The network."""
    node: bool = False
    """Evaluate the predictions of a depth node over ROS 2, instead of the network itself. The node
    is started for this, out of reach of other robots."""
    attach: bool = False
    """With --node: take the node that is running, with the network it has."""
    mode: Mode = "lockstep"
    """Through a node: send an image after the prediction for the one before, or keep the bag's
    pace."""
    rate: float = 1.0
    """Factor on the bag's pace, in realtime."""
    clock: bool = False
    """Publish the bag's time on /clock."""
    namespace: str = ""
    """Namespace of a running node."""
    timeout: float = 300.0
    """Seconds to wait for a node, and for a prediction."""
    truth: Truth = "auto"
    """Truth to compare with; auto takes depth images where there are any, else a LiDAR."""
    tolerance: float = 0.05
    """Largest difference between the stamps of an image and its truth, seconds."""
    keep_hidden: bool = False
    """Keep LiDAR points that lie behind what the camera sees."""
    accumulate: int = 0
    """Scans of the LiDAR to add before the one of an image's time, and as many after it, moved
    by /tf; up to 20."""
    fixed_frame: str = "odom"
    """With --accumulate: frame on /tf in which the world stands still."""
    rectify: Rectify = "auto"
    """Whether images are rectified first; auto does unless the topic's name says
    that they are, as image_rect does."""
    mask: Mask = "none"
    """Part of the image whose truth counts."""
    max_depth: float = 80.0
    """Truth counts up to this depth, metres."""
    require: tuple[str, ...] = ()
    """Bounds for a CI to gate on, such as 'abs_rel<0.1' 'p99<0.5'."""
    compare: tuple[Path, Path] | None = None
    """Instead of replaying, set two results.json side by side."""
    output: Path = field(default_factory=lambda: Path("replay"))
    """Folder that is written to."""


def replay(options: ReplayOptions) -> None:
    """Run `depthformer replay`."""
    with exit_at_sigterm():
        _replay(options)


def _replay(options: ReplayOptions) -> None:
    known = (*METRICS, "coverage", *_TIMES)
    requirements = [parse_requirement(text, known=known) for text in options.require]
    if options.compare is not None:
        if options.bag is not None:
            raise DepthFormerError(f"--compare reads results, no bag: leave {options.bag} out")
        _compare(*map(user_path, options.compare), output=user_path(options.output))
        return
    if options.bag is None:
        raise DepthFormerError("name the bag, or two results to --compare")
    if not options.rate > 0 or not options.timeout > 0:
        raise DepthFormerError(
            f"--rate and --timeout must be positive, got {options.rate} and {options.timeout}"
        )
    if options.attach and not options.node:
        raise DepthFormerError("--attach is for --node: without it, there is no node to find")
    topics = options.topics
    options = replace(options, bag=user_path(options.bag), output=user_path(options.output))
    assert options.bag is not None
    bag = BagFrames(
        options.bag,
        FrameOptions(
            image=topics.image_topic,
            camera_info=topics.camera_info_topic,
            depth=topics.depth_topic,
            cloud=topics.cloud_topic,
            truth=options.truth,
            tolerance=options.tolerance,
            rectify=options.rectify,
            keep_hidden=options.keep_hidden,
            accumulate=options.accumulate,
            fixed_frame=options.fixed_frame,
        ),
    )
    print(f"truth: {bag.topics.truth}", flush=True)
    # A folder that cannot be written to shows before the work, not after it.
    options.output.mkdir(parents=True, exist_ok=True)
    protocol = Protocol(mask=options.mask, max_depth=options.max_depth)
    run = _through_node if options.node else _offline
    result, about = run(options, bag, protocol)
    _write(options, bag, result, about)
    _gate(requirements, result)


def _offline(
    options: ReplayOptions, bag: BagFrames, protocol: Protocol
) -> tuple[Replay, dict[str, str]]:
    with Signals():
        from depthformer_core.inference.predictor import DepthPredictor

    network = options.network
    predictor = DepthPredictor.from_checkpoint(
        _checkpoint(network),
        device=network.device,
        precision=network.precision,
        crop=network.crop,
        focal=network.focal,
        flip=network.flip,
    )
    if predictor.note:
        print(predictor.note, file=sys.stderr)

    result = replay_offline(
        predictor.predict_depth, bag, protocol=protocol, keep=_KEPT, progress=True
    )
    if not predictor.trained:
        result.notes.insert(0, f"{network.checkpoint} has random weights: its depth means nothing.")
    return result, {
        "Checkpoint": network.checkpoint,
        "Way": "the network, image by image",
        "Focal length": predictor.focal,
        "Flip": "mean with the mirrored image" if network.flip else "no",
        "Device": f"{predictor.device}, {predictor.precision}",
    }


def _checkpoint(network: NetworkOptions) -> str:
    """Return the network's name as a preset, or its absolute path."""
    name = network.checkpoint
    return name if name in PRESETS else str(user_path(name))


def _through_node(
    options: ReplayOptions, bag: BagFrames, protocol: Protocol
) -> tuple[Replay, dict[str, str]]:
    from depthformer_ros.replay.node_evaluation import replay_through_node

    network = options.network
    parameters = None
    if not options.attach:
        parameters = {
            "checkpoint": _checkpoint(network),
            "device": network.device,
            "precision": network.precision,
            "flip": network.flip,
            "input.crop": network.crop,
            "input.focal": network.focal,
            "input.rectify": options.rectify,
        }
    result = replay_through_node(
        bag,
        protocol=protocol,
        keep=_KEPT,
        progress=True,
        namespace=options.namespace,
        parameters=parameters,
        mode=options.mode,
        rate=options.rate,
        clock=options.clock,
        timeout=options.timeout,
    )
    pace = f"realtime, rate {options.rate:g}" if options.mode == "realtime" else options.mode
    node = result.node
    return result, {
        "Checkpoint": node.get("checkpoint", "unknown: the node published no diagnostics"),
        "Way": f"a {'running' if parameters is None else 'started'} depth node, {pace}",
        "Device": f"{node.get('device', 'unknown')}, {node.get('precision', 'unknown')}",
    }


def _write(
    options: ReplayOptions, bag: BagFrames, result: Replay, about: Mapping[str, str]
) -> None:
    names = ("image", "camera_info", "depth", "cloud")
    topics = {name: topic for name in names if (topic := getattr(bag.topics, name))}
    scans = 2 * options.accumulate + 1
    about = {
        "Bag": str(bag.path),
        "Topics": ", ".join(f"{name} {topic}" for name, topic in topics.items()),
        **(
            {"Scans": f"up to {scans} together, by the motion in {options.fixed_frame}"}
            if scans > 1
            else {}
        ),
        **about,
        **provenance(),
    }
    evaluation, latency = result.evaluation, result.latency
    warnings = [*result.notes, *evaluation.warnings()]
    files = write_evaluation(
        options.output, evaluation, about=about, warnings=warnings, latency=latency
    )
    for warning in warnings:
        print(warning, file=sys.stderr)
    print(f"{len(evaluation.per_image)} images, {evaluation.seconds:.3f} s each")
    if latency is not None:
        times = latency.summary()
        print(
            f"{times['answered']} predicted, {times['dropped']} dropped, {times['late']} late; "
            f"latency p50 {times['p50']:.3f} s, p95 {times['p95']:.3f} s, p99 {times['p99']:.3f} s"
        )
    print(f"\n{format_table(evaluation)}\n\nWrote {', '.join(files)} to {options.output}")


def _gate(requirements: list[Requirement], result: Replay) -> None:
    """End with an exit code of its own if a requirement does not hold."""
    values = {**result.evaluation.mean, "coverage": result.evaluation.coverage}
    if result.latency is not None:
        values |= result.latency.summary()
    broken = []
    for requirement in requirements:
        value = values.get(requirement.metric, float("nan"))
        if not requirement.holds(value):
            broken.append(f"{requirement} does not hold: it is {value:.4g}")
    if broken:
        print("\n".join(broken), file=sys.stderr)
        sys.exit(_FAILED)


def _compare(first: Path, second: Path, *, output: Path) -> None:
    comparison = compare(read_results(first), read_results(second))
    files = {
        "comparison.json": comparison_to_json(comparison),
        "comparison.html": render_comparison(comparison),
    }
    write_texts(output, files)
    for warning in comparison.warnings():
        print(warning, file=sys.stderr)
    print(f"{format_comparison(comparison)}\n")
    print(f"Wrote {', '.join(files)} to {output}")
