"""The evaluation of one bag, as a piece of work that any process can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depthformer_core.evaluation.obstacles import ObstacleOptions
from depthformer_core.evaluation.output import provenance
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import Replay, replay_offline
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.network import NetworkOptions, load_network

KEPT = 3
"""Number of the worst and of the best images of a report."""


@dataclass(frozen=True)
class ReplayJob:
    """A bag to evaluate, and how.

    Attributes:
        bag: The bag.
        output: Folder of its results.
        frames: Topics, truth and preparation of the frames.
        network: The network; none to evaluate recorded predictions alone.
        protocol: What counts.
        obstacles: What counts as an obstacle.
        record: File for a recording; none by default.
    """

    bag: Path
    output: Path
    frames: FrameOptions
    network: NetworkOptions | None
    protocol: Protocol
    obstacles: ObstacleOptions = field(default_factory=ObstacleOptions)
    record: Path | None = None


def replay_bag(
    job: ReplayJob, bag: BagFrames, *, progress: bool = False
) -> tuple[Replay, dict[str, str]]:
    """Evaluate a bag without a node.

    Args:
        job: The work.
        bag: Its frames.
        progress: Whether to show a bar on the terminal.

    Returns:
        The evaluation, and what describes it.
    """
    if job.network is None:
        result = replay_offline(
            None,
            bag,
            protocol=job.protocol,
            keep=KEPT,
            progress=progress,
            obstacles=job.obstacles,
            record=job.record,
        )
        return result, {"Way": "recorded predictions"}
    network = job.network
    predictor = load_network(network)
    result = replay_offline(
        predictor.predict_depth,
        bag,
        protocol=job.protocol,
        keep=KEPT,
        progress=progress,
        obstacles=job.obstacles,
        record=job.record,
        name=network.name,
    )
    if not predictor.trained:
        result.notes.insert(0, f"{network.checkpoint} has random weights: its depth means nothing.")
    return result, {
        "Checkpoint": network.checkpoint or "small",
        "Way": "the network, image by image",
        "Focal length": predictor.focal,
        "Flip": "mean with the mirrored image" if network.flip else "no",
        **({"Rotation": f"{network.rotate} degrees clockwise"} if network.rotate else {}),
        "Device": f"{predictor.device}, {predictor.precision}",
        **({"Calibration": network.calibration} if network.calibration else {}),
    }


def describe(job: ReplayJob, bag: BagFrames, about: Mapping[str, str]) -> dict[str, str]:
    """Describe an evaluation for its report.

    Args:
        job: The work.
        bag: The frames.
        about: What describes the sources.
    """
    names = ("image", "camera_info", "depth", "cloud")
    topics = {name: topic for name in names if (topic := getattr(bag.topics, name))}
    described = {
        "Bag": str(bag.path),
        "Topics": ", ".join(f"{name} {topic}" for name, topic in topics.items()),
    }
    if bag.predictions:
        described["Predictions"] = ", ".join(
            planned.topic if planned.name == planned.topic else f"{planned.name} {planned.topic}"
            for planned in bag.predictions
        )
    scans = 2 * job.frames.accumulate + 1
    if scans > 1:
        described["Scans"] = f"up to {scans} together, by the motion in {job.frames.fixed_frame}"
    return {**described, **about, **provenance()}
