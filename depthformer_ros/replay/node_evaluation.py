"""Accuracy and latency of a node's predictions for the images of a bag."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from depthformer_core.bags import BagReader
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import header_stamp
from depthformer_core.bags.node_topics import node_prefix
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.obstacles import ObstacleOptions
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.replay.bag_frames import BagFrame, BagFrames
from depthformer_core.replay.evaluation import Replay, evaluate_frames
from depthformer_core.replay.sources import DepthSource
from depthformer_core.types import FloatingArray
from depthformer_ros.replay.live import DEPTH_TOPIC, play_through_node
from depthformer_ros.replay.predictions import FrameReport, ReplayReport


def replay_through_node(
    bag: BagFrames,
    *,
    protocol: Protocol,
    keep: int = 0,
    progress: bool = False,
    namespace: str = "",
    obstacles: ObstacleOptions | None = None,
    record: Path | None = None,
    **options: Any,
) -> Replay:
    """Evaluate the predictions of a depth node for the images of a bag.

    Args:
        bag: The frames.
        protocol: What counts.
        keep: How many of the worst and best images to keep.
        progress: Whether to show a bar on the terminal.
        namespace: Namespace of the node.
        obstacles: What counts as an obstacle; the defaults without.
        record: File for a recording of the evaluation; none by default.
        options: As for `play_through_node`.

    Raises:
        BagError: The bag is damaged.
        ReplayError: Node or player failed, no image of the bag is usable, or images of equal
            stamps do not all have a prediction, so that it is unknown which ones do.
    """
    with tempfile.TemporaryDirectory(prefix="depthformer-replay-") as folder:
        report = play_through_node(
            bag.path,
            output=Path(folder),
            image_topic=bag.topics.image,
            compressed=bag.compressed,
            camera_info_topic=bag.topics.camera_info,
            namespace=namespace,
            **options,
        )
        with BagReader(Path(folder) / "answers") as predictions:
            stream = _PredictedFrames(
                bag,
                predictions,
                report["frames"],
                topic=node_prefix(namespace) + DEPTH_TOPIC,
            )
            source = DepthSource("node", "node", stream.prediction)
            result = evaluate_frames(
                [source],
                stream,
                bag,
                protocol,
                keep=keep,
                progress=progress,
                obstacles=obstacles,
                record=record,
            )
    latency = _latency(report)
    # The latency is the node's, not that of reading its predictions.
    first = result.sources[0]
    evaluation = dataclasses.replace(first.evaluation, seconds=latency.percentile(50))
    first = dataclasses.replace(first, evaluation=evaluation, latency=latency)
    notes = list(result.notes)
    if latency.dropped:
        notes.append(
            f"{latency.dropped} of {len(latency.sent)} images have no prediction and are left out."
        )
    node = {
        name: value
        for name, value in report["node"].items()
        if value is not None and name != "trained"
    }
    return dataclasses.replace(result, sources=[first, *result.sources[1:]], node=node, notes=notes)


class _PredictedFrames:
    """The frames of a bag that have a prediction, with the predictions, in the same order.

    Args:
        bag: The frames.
        predictions: The predictions of the node.
        sent: The player's report of every image of the bag: its `stamp`, as in the header, and
            the `latency` of its prediction or None.
        topic: Topic of the predictions.

    Attributes:
        frames_read: Number of frames so far.
    """

    def __init__(
        self,
        bag: BagFrames,
        predictions: BagReader,
        sent: list[FrameReport],
        *,
        topic: str,
    ) -> None:
        stamps = {image["stamp"] for image in sent}
        dropped = sum(image["latency"] is None for image in sent)
        if dropped and len(stamps) < len(sent):
            raise ReplayError(
                f"{len(sent)} images have but {len(stamps)} stamps, and {dropped} have no "
                "prediction: the stamps do not show which; lockstep waits for each prediction"
            )
        self.frames_read = 0
        self._bag = bag
        self._predictions = predictions
        self._sent = sent
        self._topic = topic
        self._depth: FloatingArray = np.empty(0, np.float32)

    def __len__(self) -> int:
        return self._predictions.topics[self._topic].count

    def __iter__(self) -> Iterator[BagFrame]:
        frames = iter(self._bag)
        item = next(frames, None)
        for index, depth in self._by_index():
            # Images that are unusable here may have a prediction, and others none.
            while item is not None and item.index < index:
                item = next(frames, None)
            if item is not None and item.index == index:
                self._depth = depth
                self.frames_read += 1
                yield item

    def _by_index(self) -> Iterator[tuple[int, FloatingArray]]:
        """Yield predictions, each with the number of its image in the bag."""
        predictions = self._predictions.messages([self._topic])
        for index, image in enumerate(self._sent):
            if image["latency"] is None:
                continue
            for item in predictions:
                message = item.message()
                # A node predicts the images of other senders, too.
                if header_stamp(message) == image["stamp"]:
                    yield index, image_to_depth(message)
                    break

    def prediction(self, _item: BagFrame) -> FloatingArray:
        """Return the prediction of the newest frame."""
        return self._depth


def _latency(report: ReplayReport) -> Latency:
    """Return the latency of a report; late predictions come after the next image was sent."""
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
