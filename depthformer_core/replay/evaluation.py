"""Accuracy and latency of depth on the images of a bag."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol as Interface

from depthformer_core.bags.topics import ReplayError
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.evaluate import Evaluation, Predict, evaluate
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.replay.bag_frames import BagFrames


@dataclass(frozen=True)
class Replay:
    """A bag, evaluated.

    Attributes:
        evaluation: Errors of the depth.
        latency: Times of the predictions, where a node made them.
        node: State that the node reported, by name; empty without a node.
        notes: Sentences for readers of the numbers.
    """

    evaluation: Evaluation
    latency: Latency | None
    node: dict[str, str]
    notes: list[str]


def replay_offline(
    predict: Predict, bag: BagFrames, *, protocol: Protocol, keep: int = 0, progress: bool = False
) -> Replay:
    """Evaluate every frame of a bag.

    Args:
        predict: As for `evaluate`.
        bag: The frames.
        protocol: The evaluation protocol.
        keep: Number of worst and of best images to keep.
        progress: Whether to show a bar on the terminal.

    Raises:
        BagError: The bag can no longer be opened.
        ReplayError: No image of it is usable.
    """
    evaluation = evaluate_frames(
        predict, _BagStream(bag), bag, protocol, keep=keep, progress=progress
    )
    return Replay(evaluation, None, {}, bag.notes)


class FrameStream(Interface):
    """Frames of a bag as `evaluate` takes them.

    Attributes:
        frames_read: Number of frames read so far.
    """

    frames_read: int

    def __len__(self) -> int:
        """Return the largest possible number."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read them in order."""
        ...


def evaluate_frames(
    predict: Predict,
    frames: FrameStream,
    bag: BagFrames,
    protocol: Protocol,
    *,
    keep: int,
    progress: bool,
) -> Evaluation:
    """Evaluate frames of a bag, all of them or those that a node predicted.

    Args:
        predict: As for `evaluate`.
        frames: The frames.
        bag: The bag that they are of.
        protocol: The evaluation protocol.
        keep: Number of worst and of best images to keep.
        progress: Whether to show a bar on the terminal.

    Raises:
        ReplayError: No image of the bag is usable.
    """
    try:
        return evaluate(
            predict, frames, protocol=protocol, need_truth=False, keep=keep, progress=progress
        )
    except DepthFormerError as error:
        if bag.rejected and not frames.frames_read:
            reasons = "; ".join(f"{count} times {why}" for why, count in bag.rejected.items())
            raise ReplayError(
                f"no image on {bag.topics.image} of {bag.path} is usable: {reasons}"
            ) from error
        raise


class _BagStream:
    """All frames of a bag."""

    def __init__(self, bag: BagFrames) -> None:
        self.frames_read = 0
        self._bag = bag

    def __len__(self) -> int:
        return len(self._bag)

    def __iter__(self) -> Iterator[Frame]:
        for item in self._bag:
            self.frames_read += 1
            yield item.frame
