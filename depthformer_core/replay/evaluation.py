"""Accuracy and latency of depth on the images of a bag, of one source or of several."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol as Interface

from tqdm import tqdm

from depthformer_core.bags.errors import ReplayError
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.evaluate import Evaluation, Predict
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.obstacles import ObstacleOptions
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.ranking import PairDifference, pair_differences
from depthformer_core.evaluation.scale_alignment import Alignment
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.bag_frames import BagFrame, BagFrames
from depthformer_core.replay.drive_recording import DriveRecording
from depthformer_core.replay.observer import Observer
from depthformer_core.replay.prediction_topics import PlannedPrediction
from depthformer_core.replay.sources import DepthSource, SourceEvaluation, SourceTallies
from depthformer_core.types import FloatingArray

_SECOND = 1_000_000_000
# Recordings begin after a measurement, and within the hour.
_LONGEST_AGE = 3600.0
_ROUNDING = 1e-6  # seconds


@dataclass(frozen=True)
class Replay:
    """A bag, evaluated.

    Attributes:
        sources: The evaluation of each source, in their order.
        pairs: Each two of them on the pixels that all have; empty for one source.
        node: State that the node reported, by name; empty without a node.
        notes: Sentences for readers of the numbers.
        contrasts: Images in which several sources differ most: the comparison of each source by
            its name.
        cameras: Camera of each image by its name, where it is known.
    """

    sources: list[SourceEvaluation]
    pairs: list[PairDifference] = field(default_factory=list)
    node: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    contrasts: list[dict[str, Comparison]] = field(default_factory=list)
    cameras: dict[str, Camera] = field(default_factory=dict)

    @property
    def evaluation(self) -> Evaluation:
        """Errors of the first source."""
        return self.sources[0].evaluation

    @property
    def latency(self) -> Latency | None:
        """Times of the first source's predictions, where they are known."""
        return self.sources[0].latency


def replay_offline(
    predict: Predict | None,
    bag: BagFrames,
    *,
    protocol: Protocol,
    keep: int = 0,
    progress: bool = False,
    name: str = "network",
    obstacles: ObstacleOptions | None = None,
    record: Path | None = None,
) -> Replay:
    """Evaluate every frame of a bag.

    Args:
        predict: As for `evaluate`; None to evaluate the bag's recorded predictions alone.
        bag: The frames, perhaps with recorded predictions.
        protocol: The evaluation protocol.
        keep: Number of worst and of best images to keep of each source.
        progress: Whether to show a bar on the terminal.
        name: Name of the network among the sources.
        obstacles: What counts as an obstacle; the defaults without.
        record: File for a recording of the evaluation, see `RecordingWriter`; none by default.

    Raises:
        BagError: The bag can no longer be opened.
        ReplayError: No image of it is usable, or there is nothing to evaluate.
    """
    sources = []
    if predict is not None:
        network = predict
        sources.append(
            DepthSource(name, "network", lambda item: network(item.frame.rgb, item.frame.camera))
        )
    return evaluate_frames(
        sources,
        _BagStream(bag),
        bag,
        protocol,
        keep=keep,
        progress=progress,
        obstacles=obstacles,
        record=record,
    )


class FrameStream(Interface):
    """Frames of a bag, all of them or those that a node predicted.

    Attributes:
        frames_read: Number of frames read so far.
    """

    frames_read: int

    def __len__(self) -> int:
        """Return the largest possible number."""
        ...

    def __iter__(self) -> Iterator[BagFrame]:
        """Read them in order."""
        ...


def evaluate_frames(
    sources: Sequence[DepthSource],
    frames: FrameStream,
    bag: BagFrames,
    protocol: Protocol,
    *,
    keep: int,
    progress: bool,
    obstacles: ObstacleOptions | None = None,
    record: Path | None = None,
) -> Replay:
    """Evaluate sources, and the bag's recorded predictions after them, on frames of a bag.

    Args:
        sources: The sources.
        frames: The frames.
        bag: The bag that they are of.
        protocol: The evaluation protocol.
        keep: Number of worst and of best images to keep of each source.
        progress: Whether to show a bar on the terminal.
        obstacles: What counts as an obstacle; the defaults without.
        record: File for a recording of the evaluation, see `RecordingWriter`; none by default.

    Raises:
        ReplayError: No image of the bag is usable, or there is nothing to evaluate.
    """
    sources = [*sources, *map(recorded, bag.predictions)]
    names = [source.name for source in sources]
    if bag.topics.shows_depth and any(source.kind != "topic" for source in sources):
        raise ReplayError(f"{bag.topics.image} of {bag.path} is depth, no image for a network")
    if not sources:
        raise ReplayError("there is no network and no recorded prediction to evaluate")
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ReplayError(f"two sources are named {doubled}; NAME=/TOPIC gives names")
    tallies = SourceTallies(sources, protocol=protocol, keep=keep)
    observer = Observer(
        sources,
        protocol=protocol,
        obstacles=obstacles or ObstacleOptions(),
        ground=bag.ground,
    )
    times = {planned.name: _Times() for planned in bag.predictions}
    bar = tqdm(iter(frames), total=len(frames), unit="image", disable=not progress)
    with contextlib.ExitStack() as stack:
        recording = None
        if record is not None:
            recording = stack.enter_context(
                DriveRecording(record, names, bag=bag.path, farthest=protocol.limit)
            )
        for index, item in enumerate(bar):
            results = tallies.add(index, item)
            observer.add(item, results)
            if recording is not None:
                recording.add(item, results)
            for name, times_of in times.items():
                times_of.add(item, item.ages.get(name))
    if bag.rejected and not frames.frames_read:
        reasons = "; ".join(f"{count} times {why}" for why, count in bag.rejected.items())
        raise ReplayError(f"no image on {bag.topics.image} of {bag.path} is usable: {reasons}")
    evaluated = [observer.complete(source) for source in tallies.result()]
    notes = list(bag.notes)
    for place, source in enumerate(evaluated):
        if source.name in times:
            latency, note = times[source.name].result(source.name)
            # To read a prediction takes no time of its own.
            evaluation = dataclasses.replace(source.evaluation, seconds=math.nan)
            evaluated[place] = dataclasses.replace(source, evaluation=evaluation, latency=latency)
            notes += [note] if note else []
    if observer.estimated:
        notes.append(
            f"/tf does not know the motion of the camera in {bag.options.fixed_frame!r}: that "
            f"between {observer.estimated} pairs of images was estimated from them."
        )
    if observer.without_ground:
        notes.append(
            f"No ground was found in {observer.without_ground} images: obstacles are of the others."
        )
    pairs = pair_differences({source.name: source.paired for source in evaluated})
    return Replay(evaluated, pairs, {}, notes, tallies.contrasts, observer.cameras)


def recorded(planned: PlannedPrediction) -> DepthSource:
    """Return the source that a recorded topic is."""

    def predict(item: BagFrame) -> FloatingArray | None:
        return item.predictions.get(planned.name)

    alignment: Alignment = "least-squares" if planned.inverse else "none"
    return DepthSource(planned.name, "topic", predict, alignment)


class _Times:
    """Times of a topic's predictions."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._recorded: list[int] = []
        self._ages: list[float | None] = []

    def add(self, item: BagFrame, age: float | None) -> None:
        """Add an image, and the age of its prediction when that was recorded, if it has one."""
        self._stamps.append(item.stamp)
        self._recorded.append(item.recorded)
        self._ages.append(age)

    def result(self, name: str) -> tuple[Latency | None, str]:
        """Return the latency, from stamp to recording, and a note where that makes no sense."""
        ages = [age for age in self._ages if age is not None]
        if not ages:
            return None, ""
        note = ""
        seconds = list(self._ages)
        if min(ages) < 0 or max(ages) > _LONGEST_AGE:
            # Of another clock, or converted later.
            images = [
                (recorded - stamp) / _SECOND
                for stamp, recorded in zip(self._stamps, self._recorded, strict=True)
            ]
            seconds = [
                None if age is None else max(0.0, age - image)
                for age, image in zip(self._ages, images, strict=True)
            ]
            note = (
                f"{name} has stamps of another clock than the recording's (by {min(ages):.3f} to "
                f"{max(ages):.3f} s): its latency counts from the arrival of the image."
            )
        if not any(seconds):
            return None, f"{name} was recorded at its stamps: there is no latency to see."
        start = min(self._stamps)
        sent = [(stamp - start) / _SECOND for stamp in self._stamps]
        late = sum(
            time is not None and time > following - begin + _ROUNDING > _ROUNDING
            for begin, time, following in zip(sent, seconds, sent[1:], strict=False)
        )
        meaning = "From the stamp of a prediction to its recording."
        return Latency(sent, seconds, late, meaning), note


class _BagStream:
    """All frames of a bag."""

    def __init__(self, bag: BagFrames) -> None:
        self.frames_read = 0
        self._bag = bag

    def __len__(self) -> int:
        return len(self._bag)

    def __iter__(self) -> Iterator[BagFrame]:
        for item in self._bag:
            self.frames_read += 1
            yield item
