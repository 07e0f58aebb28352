"""How good, and how fast, depth is on the images of a bag."""

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthformer_core.camera import Camera
from depthformer_core.data.bag import BagMessage, BagReader
from depthformer_core.data.dataset import Frame
from depthformer_core.data.messages import header_stamp, image_array
from depthformer_core.evaluation.comparison import Depth, Rgb
from depthformer_core.evaluation.evaluate import Evaluation, Predict, evaluate
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.live import DEPTH_TOPIC, play_through_node
from depthformer_core.replay.topics import ReplayError


@dataclass(frozen=True)
class Replay:
    """A bag, evaluated.

    Attributes:
        evaluation: Errors of the depth.
        latency: Times of the answers, where a node gave them.
        node: What the node said of itself, by name; empty without one.
        notes: What a reader of the numbers should know, in sentences.
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
        protocol: What counts.
        keep: How many of the worst and best images to keep.
        progress: Whether to show a bar on the terminal.

    Raises:
        BagError: The bag is damaged.
        ReplayError: No image of it is usable.
    """
    evaluation = _evaluate(predict, _Plain(bag), bag, protocol, keep=keep, progress=progress)
    return Replay(evaluation, None, {}, bag.notes)


def replay_through_node(
    bag: BagFrames,
    *,
    protocol: Protocol,
    keep: int = 0,
    progress: bool = False,
    namespace: str = "",
    **options: Any,
) -> Replay:
    """Evaluate what a depth node answers to the images of a bag.

    Args:
        bag: The frames.
        protocol: What counts.
        keep: How many of the worst and best images to keep.
        progress: Whether to show a bar on the terminal.
        namespace: Namespace of the node.
        options: As for `play_through_node`.

    Raises:
        BagError: The bag is damaged.
        ReplayError: Node or player failed, or no image of the bag is usable.
    """
    with tempfile.TemporaryDirectory(prefix="depthformer-replay-") as folder:
        report = play_through_node(
            bag.path,
            output=Path(folder),
            image_topic=bag.topics.image,
            camera_info_topic=bag.topics.camera_info,
            namespace=namespace,
            **options,
        )
        prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
        with BagReader(Path(folder) / "answers") as answers:
            stream = _Answered(bag, answers, topic=prefix + DEPTH_TOPIC, protocol=protocol)
            evaluation = _evaluate(
                stream.answer, stream, bag, protocol, keep=keep, progress=progress
            )
    latency = _latency(report)
    # The time of an answer is not the time of reading it.
    evaluation = dataclasses.replace(evaluation, seconds=latency.percentile(50))
    notes = list(bag.notes)
    if latency.dropped:
        notes.append(
            f"{latency.dropped} of {len(latency.sent)} images were not answered and are left out."
        )
    node = {name: value for name, value in report["node"].items() if value is not None}
    return Replay(evaluation, latency, node, notes)


def _evaluate(
    predict: Predict,
    frames: "_Plain | _Answered",
    bag: BagFrames,
    protocol: Protocol,
    *,
    keep: int,
    progress: bool,
) -> Evaluation:
    try:
        return evaluate(
            predict, frames, protocol=protocol, need_truth=False, keep=keep, progress=progress
        )
    except ValueError as error:
        if bag.rejected and not frames.given:
            reasons = "; ".join(f"{count} times {why}" for why, count in bag.rejected.items())
            raise ReplayError(
                f"no image on {bag.topics.image} of {bag.path} is usable: {reasons}"
            ) from error
        raise


class _Plain:
    """The frames of a bag as `evaluate` takes them.

    Attributes:
        given: How many there were so far.
    """

    def __init__(self, bag: BagFrames) -> None:
        self.given = 0
        self._bag = bag

    def __len__(self) -> int:
        return len(self._bag)

    def __iter__(self) -> Iterator[Frame]:
        for item in self._bag:
            self.given += 1
            yield item.frame


class _Answered:
    """The frames of a bag that were answered, and the answers, which come in the same order.

    Attributes:
        given: How many there were so far.
    """

    def __init__(
        self, bag: BagFrames, answers: BagReader, *, topic: str, protocol: Protocol
    ) -> None:
        self.given = 0
        self._bag = bag
        self._answers = answers
        self._topic = topic
        self._far = np.float32(protocol.max_depth)
        self._depth: Depth = np.empty(0, np.float32)

    def __len__(self) -> int:
        return self._answers.topics[self._topic].count

    def __iter__(self) -> Iterator[Frame]:
        answers = self._answers.messages([self._topic])
        answer = _next(answers)
        for item in self._bag:
            if answer is None:
                return
            if item.stamp != answer[0]:
                continue
            # The node says +Inf for what is beyond its range.
            depth = answer[1]
            self._depth = np.where(np.isposinf(depth), self._far, depth)
            self.given += 1
            yield item.frame
            answer = _next(answers)

    def answer(self, _rgb: Rgb, _camera: Camera | None) -> Depth:
        """The answer to the frame given last."""
        return self._depth


def _next(answers: Iterator[BagMessage]) -> tuple[int, Depth] | None:
    """Stamp and depth of the next answer."""
    item = next(answers, None)
    if item is None:
        return None
    message = item.message()
    depth = image_array(message)
    if message.encoding == "16UC1":
        millimetres = depth.astype(np.float32)
        depth = np.where(depth > 0, millimetres / np.float32(1000), np.float32(np.nan))
    return header_stamp(message), depth


def _latency(report: dict[str, Any]) -> Latency:
    """Times of a player's report; late are answers that came after the next image was sent."""
    frames = report["frames"]
    sent = [frame["sent"] for frame in frames]
    seconds = [frame["latency"] for frame in frames]
    late = 0
    if report["mode"] == "realtime":
        late = sum(
            time is not None and start + time > following
            for start, time, following in zip(sent, seconds, sent[1:], strict=False)
        )
    return Latency(sent, seconds, late)
