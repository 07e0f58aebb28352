"""The evaluation of one bag, as a piece of work that any process can do."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthformer_core.config import Crop, Focal
from depthformer_core.evaluation.obstacles import ObstacleOptions
from depthformer_core.evaluation.output import provenance
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.inference.rotate import Rotation
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import Replay, replay_offline
from depthformer_core.replay.frame_plan import FrameOptions

if TYPE_CHECKING:
    from depthformer_core.inference.predictor import DepthPredictor

KEPT = 3
"""Number of the worst and of the best images of a report."""


@dataclass(frozen=True)
class NetworkOptions:
    """The network, unless a running node has its own."""

    checkpoint: str | None = None
    """A safetensors file, or one of the official release; small, or small_kitti for streets like
    KITTI's, for weights that come with the package; or another preset's name (random weights).
    small by default, and no network beside recorded predictions."""
    crop: Literal["auto"] | Crop = "auto"
    """Part of the image that is read: the bottom 352 rows and middle 1216 columns (kitti), what
    lies in the field of view of the training images (view), all (none), or the network's own
    (auto)."""
    focal: Focal = "resize"
    """Handling of images of another focal length than the network's: resize them, scale the
    depth, or none."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    rotate: Rotation = 0
    """Degrees clockwise by which images become upright, of a camera that is mounted upside down or
    sideways; depth is that of the images as they are."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""

    @property
    def name(self) -> str:
        """The network's name among the sources."""
        name = self.checkpoint or "small"
        return name if name in PRESETS else Path(name).stem

    @property
    def source(self) -> str:
        """The network's name as a preset, or its absolute path."""
        name = self.checkpoint or "small"
        return name if name in PRESETS else str(user_path(name))


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


@functools.lru_cache(maxsize=1)
def load_network(options: NetworkOptions) -> "DepthPredictor":
    """Load a network; the one loaded last is kept."""
    from depthformer_core.inference.predictor import DepthPredictor

    return DepthPredictor.from_checkpoint(
        options.source,
        device=options.device,
        precision=options.precision,
        crop=options.crop,
        focal=options.focal,
        flip=options.flip,
        rotate=options.rotate,
    )


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
        "Device": f"{predictor.device}, {predictor.precision}",
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
