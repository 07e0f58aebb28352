"""`depthformer replay`."""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from depthformer_core.calibration.calibration_file import read_calibration
from depthformer_core.cli.topics import TopicOptions, TruthOptions
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.compare import compare, read_results
from depthformer_core.evaluation.compare_report import (
    comparison_to_json,
    format_comparison,
    render_comparison,
)
from depthformer_core.evaluation.obstacles import ObstacleOptions
from depthformer_core.evaluation.protocol import Mask, Protocol
from depthformer_core.evaluation.requirement import Requirement, parse_requirement
from depthformer_core.files import write_texts
from depthformer_core.paths import user_path
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.drives import evaluate_drives, evaluate_in_turn, find_bags
from depthformer_core.replay.drives_output import format_drives, write_drives
from depthformer_core.replay.evaluation import Replay
from depthformer_core.replay.figures import NAMES, figures
from depthformer_core.replay.job import KEPT, ReplayJob, describe, replay_bag
from depthformer_core.replay.network import NetworkOptions, load_network
from depthformer_core.replay.output import format_replay, replay_warnings, write_replay
from depthformer_core.replay.prediction_topics import PredictionTopic, parse_prediction
from depthformer_core.signals import Signals, exit_at_sigterm
from depthformer_ros.replay.live import Mode

_FAILED = 3


@dataclass(frozen=True)
class ReplayTopicOptions(TopicOptions):
    """Topics of the bag, where it has several of a kind."""

    prediction_topic: tuple[str, ...] = ()
    """Recorded depth to judge instead of a network's: depth images, point clouds or disparity, as
    /TOPIC or NAME=/TOPIC. With --checkpoint or --node the network is judged beside it."""
    inverse_depth_topic: tuple[str, ...] = ()
    """The same of networks without a scale (MiDaS, Depth Anything): images of relative inverse
    depth, which are aligned to the truth first."""


@dataclass(frozen=True)
class ReplayOptions:
    """Say how good and how fast depth is on the images of bags, or compare two such runs.

    The depth is a network's, a running node's, or recorded; several sources are judged side by
    side. Writes report.html, results.json and per_image.csv. Exit code 3 means that a requirement
    does not hold.
    """

    bags: tyro.conf.Positional[tuple[Path, ...]] = ()
    """ROS 2 bags (SQLite or MCAP, compressed or split too), ROS 1 bags, or folders of bags."""
    topics: tyro.conf.OmitArgPrefixes[ReplayTopicOptions] = field(
        default_factory=ReplayTopicOptions
    )
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
    truth: tyro.conf.OmitArgPrefixes[TruthOptions] = field(default_factory=TruthOptions)
    """The truth, and how images and truth come together."""
    ground_frame: str | None = None
    """Frame whose plane z = 0 is the ground, for obstacles and scale; base_footprint where
    /tf_static has it, else the ground is fitted to the truth, for obstacles."""
    obstacles: ObstacleOptions = field(default_factory=ObstacleOptions)
    """What counts as an obstacle."""
    mask: Mask = "none"
    """Part of the image whose truth counts."""
    require: tuple[str, ...] = ()
    """Bounds for a CI to gate on, such as 'abs_rel<0.1' 'p99<0.5', of every source, or of one as
    'NAME:abs_rel<0.1'."""
    record: Path | None = None
    """File, .mcap, for a recording that Foxglove, Lichtblick, Rerun and RViz show: images, depth,
    errors, clouds and metrics of one bag."""
    jobs: int | None = None
    """Bags at once, each on its share of the cores; by default one for each core."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers evaluate the bags, as tcp://HOST:8786. They need
    the same paths."""
    resume: bool = False
    """Leave out bags whose results are in the output folder already, from the same options."""
    compare: tuple[Path, Path] | None = None
    """Instead of replaying, set two results.json side by side."""
    output: Path = field(default_factory=lambda: Path("replay"))
    """Folder that is written to."""


def replay(options: ReplayOptions) -> None:
    """Run `depthformer replay`."""
    with exit_at_sigterm():
        _replay(options)


def _replay(options: ReplayOptions) -> None:
    requirements = [parse_requirement(text, known=NAMES) for text in options.require]
    output = user_path(options.output)
    if options.compare is not None:
        if options.bags:
            raise DepthFormerError(f"--compare reads results, no bag: leave {options.bags[0]} out")
        _compare(*map(user_path, options.compare), output=output)
        return
    if not options.bags:
        raise DepthFormerError(
            "name the bag, before options that take several values, or two results to --compare"
        )
    if not options.rate > 0 or not options.timeout > 0:
        raise DepthFormerError(
            f"--rate and --timeout must be positive, got {options.rate} and {options.timeout}"
        )
    if options.jobs is not None and options.jobs < 1:
        raise DepthFormerError(f"--jobs must be positive, got {options.jobs}")
    if options.attach and not options.node:
        raise DepthFormerError("--attach is for --node: without it, there is no node to find")
    if options.attach and options.network.calibration is not None:
        raise DepthFormerError(
            "--calibration is for a node that is started: one that runs has depth.calibration"
        )
    bags = find_bags([user_path(bag) for bag in options.bags])
    job = _job(replace(options, output=output), bags[0])
    sources = _source_names(job, node=options.node)
    for requirement in requirements:
        if requirement.source and requirement.source not in sources:
            raise DepthFormerError(f"{requirement} names no source; there are {', '.join(sources)}")
    if len(bags) > 1:
        _several(options, job, bags, requirements)
        return
    bag = BagFrames(job.bag, job.frames)
    print(f"truth: {bag.topics.truth}", flush=True)
    if len(sources) > 1 or bag.predictions:
        print(f"sources: {', '.join(sources)}", flush=True)
    # A folder that cannot be written to shows before the work, not after it.
    output.mkdir(parents=True, exist_ok=True)
    if options.node:
        result, about = _through_node(options, job, bag)
    else:
        result, about = _offline(job, bag)
    files = write_replay(output, result, about=describe(job, bag, about))
    _print(result)
    print(f"\nWrote {', '.join(files)} to {output}")
    _gate(requirements, {"": {source.name: figures(source) for source in result.sources}})


def _job(options: ReplayOptions, bag: Path) -> ReplayJob:
    topics = options.topics
    predictions = _predictions(topics)
    alone = bool(predictions) and options.network.checkpoint is None and not options.node
    if alone and options.network != NetworkOptions():
        raise DepthFormerError(
            "crop, focal, flip, rotate, device, precision and calibration are the network's, which "
            "is judged beside recorded depth where --checkpoint names it"
        )
    return ReplayJob(
        bag=bag,
        output=options.output,
        frames=replace(
            options.truth.of_frames(topics),
            ground_frame=options.ground_frame,
            predictions=predictions,
        ),
        network=None if alone or options.node else options.network,
        protocol=Protocol(mask=options.mask, max_depth=options.truth.max_depth),
        obstacles=options.obstacles,
        record=None if options.record is None else user_path(options.record),
    )


def _source_names(job: ReplayJob, *, node: bool) -> list[str]:
    """Return the names of the sources in their order."""
    names = ["node"] if node else [] if job.network is None else [job.network.name]
    return [*names, *(prediction.name for prediction in job.frames.predictions)]


def _predictions(topics: ReplayTopicOptions) -> tuple[PredictionTopic, ...]:
    return (
        *map(parse_prediction, topics.prediction_topic),
        *(parse_prediction(text, inverse=True) for text in topics.inverse_depth_topic),
    )


def _offline(job: ReplayJob, bag: BagFrames) -> tuple[Replay, dict[str, str]]:
    if job.network is not None:
        with Signals():
            job.network.import_runtime()  # a signal meanwhile ends the process
        note = load_network(job.network).note
        if note:
            print(note, file=sys.stderr)
    return replay_bag(job, bag, progress=True)


def _through_node(
    options: ReplayOptions, job: ReplayJob, bag: BagFrames
) -> tuple[Replay, dict[str, str]]:
    from depthformer_ros.replay.node_evaluation import replay_through_node

    network = options.network
    parameters = None
    if not options.attach:
        parameters = {
            "checkpoint": network.source,
            "device": network.device,
            "precision": network.precision,
            "flip": network.flip,
            "input.crop": network.crop,
            "input.focal": network.focal,
            "input.rotate": network.rotate,
            "input.rectify": options.truth.rectify,
            "depth.calibration": _checked_calibration(network, bag),
        }
    result = replay_through_node(
        bag,
        protocol=job.protocol,
        keep=KEPT,
        progress=True,
        namespace=options.namespace,
        parameters=parameters,
        mode=options.mode,
        rate=options.rate,
        clock=options.clock,
        timeout=options.timeout,
        obstacles=options.obstacles,
        record=job.record,
    )
    pace = f"realtime, rate {options.rate:g}" if options.mode == "realtime" else options.mode
    node = result.node
    return result, {
        "Checkpoint": node.get("checkpoint", "unknown: the node published no diagnostics"),
        "Way": f"a {'running' if parameters is None else 'started'} depth node, {pace}",
        "Device": f"{node.get('device', 'unknown')}, {node.get('precision', 'unknown')}",
    }


def _checked_calibration(network: NetworkOptions, bag: BagFrames) -> str:
    """Return the calibration's path for a node; refuse another camera's before the node starts."""
    file = network.calibration_file
    if file is None:
        return ""
    calibration = read_calibration(file)
    first = next(iter(bag), None)
    if first is not None:
        calibration.check_camera(first.frame.camera)
    return str(file)


def _print(result: Replay) -> None:
    for warning in replay_warnings(result):
        print(warning, file=sys.stderr)
    evaluation, latency = result.evaluation, result.latency
    each = "" if math.isnan(evaluation.seconds) else f", {evaluation.seconds:.3f} s each"
    print(f"{len(evaluation.per_image)} images{each}")
    if latency is not None and len(result.sources) == 1:
        times = latency.summary()
        print(
            f"{times['answered']} predicted, {times['dropped']} dropped, {times['late']} late; "
            f"latency p50 {times['p50']:.3f} s, p95 {times['p95']:.3f} s, p99 {times['p99']:.3f} s"
        )
    print(f"\n{format_replay(result)}")


def _several(
    options: ReplayOptions, job: ReplayJob, bags: Sequence[Path], requirements: list[Requirement]
) -> None:
    """Evaluate several bags, and write one report for all."""
    if options.attach:
        raise DepthFormerError(f"--attach plays one bag to the running node, got {len(bags)}")
    if options.record is not None:
        raise DepthFormerError(f"--record records one bag, got {len(bags)}")
    job.output.mkdir(parents=True, exist_ok=True)
    if options.node:
        run = functools.partial(_through_node, options)
        drives = evaluate_in_turn(job, bags, resume=options.resume, run=run)
    else:
        drives = evaluate_drives(
            job, bags, jobs=options.jobs, scheduler=options.scheduler, resume=options.resume
        )
    files = write_drives(job.output, drives)
    print(format_drives(drives))
    print(f"\nWrote {', '.join(files)} to {job.output}, and a report for each bag")
    failed = [drive for drive in drives if drive.error]
    for drive in failed:
        print(f"{drive.name}: {drive.error}", file=sys.stderr)
    _gate(requirements, {drive.name: drive.figures for drive in drives if not drive.error})
    if failed:
        sys.exit(1)


def _gate(
    requirements: Sequence[Requirement], drives: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> None:
    """End with an exit code of its own if a requirement does not hold.

    Args:
        requirements: The requirements.
        drives: Figures of each source of each drive by their names.
    """
    broken = []
    for requirement in requirements:
        for drive, sources in drives.items():
            for name, values in sources.items():
                value = values[requirement.metric]
                if requirement.source in ("", name) and not requirement.holds(value):
                    of = " of ".join(
                        part for part in (name if len(sources) > 1 else "", drive) if part
                    )
                    broken.append(
                        f"{requirement} does not hold{f' for {of}' if of else ''}: "
                        f"it is {value:.4g}"
                    )
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
