"""Plan of a pass over a bag: topics, calibration, ground truth and transforms, checked first."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from depthformer_core.bags import BagError, BagMessage, BagReader
from depthformer_core.bags.calibration_messages import calibration_from_info, named_rectified
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.message_types import COMPRESSED_IMAGE, TRANSFORMS
from depthformer_core.bags.topics import Topics, Truth, find_topics
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, plane_of_frame
from depthformer_core.geometry.transforms import FrameTree, TransformError, frame_name
from depthformer_core.replay.alignment import ImagePlane, misalignment
from depthformer_core.replay.prediction_topics import (
    PlannedPrediction,
    PredictionTopic,
    plan_predictions,
)

Rectify = Literal["auto", "always", "never"]

_MOST_SCANS = 20
_LONGEST_TOLERANCE = 3600.0  # seconds
_MOST_PROBLEMS = 5
STATIC = "tf_static"
"""Name of the topics of static transforms."""
_GROUND = "base_footprint"  # REP 120
MOVING = "tf"
"""Name of the topics of the others."""


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """Options of the frames of a bag.

    Attributes:
        image: Name of the topic of images, see `find_topics`.
        camera_info: The same for their calibration.
        depth: The same for depth images.
        cloud: The same for point clouds.
        truth: Kind of ground truth, see `find_topics`.
        tolerance: Largest difference between the stamps of an image and its truth, seconds.
        rectify: Whether images are rectified; `auto` does unless the topic's name marks them as
            rectified, see `named_rectified`.
        keep_hidden: Whether to keep points of scans that lie behind what the camera sees.
        accumulate: Number of scans to add before the one that matches, and after it; up to 20.
        fixed_frame: Frame on `/tf` in which the robot moves and the world stands still.
        ground_frame: Frame whose plane z = 0 is the ground; `base_footprint` by default, where
            `/tf_static` has it.
        predictions: Topics of recorded predictions; none of them is truth.

    Raises:
        ReplayError: An option is out of range.
    """

    image: str | None = None
    camera_info: str | None = None
    depth: str | None = None
    cloud: str | None = None
    truth: Truth = "auto"
    tolerance: float = 0.05
    rectify: Rectify = "auto"
    keep_hidden: bool = False
    accumulate: int = 0
    fixed_frame: str = "odom"
    ground_frame: str | None = None
    predictions: tuple[PredictionTopic, ...] = ()

    def __post_init__(self) -> None:
        """Reject options that are out of range."""
        if not 0 <= self.tolerance <= _LONGEST_TOLERANCE:
            raise ReplayError(
                f"tolerance must be 0 to {_LONGEST_TOLERANCE:g} s, got {self.tolerance} s"
            )
        if self.rectify not in get_args(Rectify):
            raise ReplayError(
                f"rectify must be one of {', '.join(get_args(Rectify))}, got {self.rectify!r}"
            )
        if not 0 <= self.accumulate <= _MOST_SCANS:
            raise ReplayError(f"accumulate must be 0 to {_MOST_SCANS} scans, got {self.accumulate}")


@dataclass(frozen=True, eq=False)
class FramePlan:
    """Everything that a pass over a bag needs to know in advance.

    Attributes:
        options: The options.
        topics: The topics that are read.
        count: Number of images, unusable ones included.
        compressed: Whether the images are `CompressedImage`.
        rectifies: Whether images are rectified.
        first_info: First calibration; none without a topic of it.
        tree: The static transforms.
        moving: Topics of the other transforms.
        predictions: The topics of recorded predictions.
        ground: The ground in the images' optical frame, where `/tf_static` tells.
        notes: Sentences on missing truth, topics and static transforms.
    """

    options: FrameOptions
    topics: Topics
    count: int
    compressed: bool
    rectifies: bool
    first_info: BagMessage | None
    tree: FrameTree
    moving: frozenset[str]
    predictions: tuple[PlannedPrediction, ...]
    ground: Plane | None
    notes: tuple[str, ...]


def plan_frames(path: Path, options: FrameOptions) -> FramePlan:
    """Choose the topics of a bag, and check that they fit together.

    Args:
        path: The bag, see `BagReader`.
        options: The options.

    Raises:
        BagError: The path holds no bag, or a damaged one.
        ReplayError: The bag lacks a requested topic, see `find_topics`; scans are to be added up
            and there are none, or no transforms on `/tf`.
        TransformError: `/tf_static` does not connect the frames of LiDAR and camera.
    """
    with BagReader(path) as reader:
        tree, problems = _read_static(reader)
        predictions = plan_predictions(reader, options.predictions)
        topics = find_topics(
            reader,
            image=options.image,
            camera_info=options.camera_info,
            depth=options.depth,
            cloud=options.cloud,
            truth=options.truth,
            predictions=[planned.topic for planned in predictions],
            unaligned=functools.partial(_unaligned, reader, tree),
        )
        images = reader.topics[topics.image]
        first_info = _first(reader, topics.camera_info)
        moving = transform_topics(reader, MOVING)
        missing = topics.no_truth
        if topics.cloud is not None:
            missing = _missing_for_scans(reader, topics, tree, moving=options.accumulate > 0)
        for planned in predictions:
            _check_place(reader, topics.image, planned, tree)
        ground, no_ground = _find_ground(reader, topics.image, tree, options.ground_frame)
    topics = _checked_truth(topics, options, missing)
    if options.accumulate and not moving:
        known = ", ".join(sorted(tree.frames)) or "none"
        raise ReplayError(
            f"accumulate needs the motion of the robot in {options.fixed_frame!r}: the bag has no "
            f"/{MOVING}; frames of its /{STATIC}: {known}"
        )
    notes = [f"There is no truth: {missing}."] if missing else []
    notes += topics.notes
    if no_ground:
        notes.append(no_ground)
    if problems:
        notes.append(f"Skipped on /{STATIC}: {'; '.join(problems)}.")
    return FramePlan(
        options=options,
        topics=topics,
        count=images.count,
        compressed=images.type == COMPRESSED_IMAGE,
        rectifies=not topics.shows_depth
        and (
            options.rectify == "always"
            or (options.rectify == "auto" and not named_rectified(topics.image))
        ),
        first_info=first_info,
        tree=tree,
        moving=frozenset(moving),
        predictions=predictions,
        ground=ground,
        notes=tuple(notes),
    )


def _checked_truth(topics: Topics, options: FrameOptions, missing: str) -> Topics:
    """Return the topics without unusable scans; raise ReplayError if these are required."""
    if options.accumulate and topics.cloud is None:
        depths = f"truth is the depth images on {topics.depth}: use --truth lidar"
        raise ReplayError(f"accumulate adds up scans of a LiDAR: {missing or depths}")
    if topics.cloud is None or not missing:
        return topics
    if options.truth == "lidar" or options.cloud is not None or options.accumulate:
        raise ReplayError(f"{topics.cloud} is no truth: {missing}")
    return dataclasses.replace(topics, cloud=None, no_truth=missing)


def _check_place(
    reader: BagReader, image: str, planned: PlannedPrediction, tree: FrameTree
) -> None:
    """Refuse predictions whose frame has no transform to that of the images."""
    try:
        own, of_image = _first_frame(reader, planned.topic), _first_frame(reader, image)
    except ReplayError:
        return
    own, of_image = frame_name(own), frame_name(of_image)
    if own and of_image and own != of_image:
        try:
            tree.matrix(of_image, own)
        except TransformError as error:
            raise TransformError(f"{planned.topic} cannot be placed: {error}") from error


def _find_ground(
    reader: BagReader, image: str, tree: FrameTree, frame: str | None
) -> tuple[Plane | None, str]:
    """Return the ground of a frame, and a note where the usual one is there and no ground.

    There is none where no frame is named and the usual one is missing.
    """
    name = frame or _GROUND
    try:
        return plane_of_frame(tree.matrix(name, _first_frame(reader, image))), ""
    except (TransformError, ReplayError):
        if frame is not None:
            raise
        return None, ""
    except DepthFormerError as error:
        if frame is not None:
            raise ReplayError(f"frame {name!r} is no ground: {error}") from error
        return None, f"The ground is fitted to the truth, since {name!r} is none: {error}."


def _first(reader: BagReader, topic: str | None) -> BagMessage | None:
    """Return the first message of a topic."""
    return None if topic is None else next(reader.messages([topic]), None)


def _read_static(reader: BagReader) -> tuple[FrameTree, list[str]]:
    """Read the static transforms of a bag; return the problems of invalid ones too."""
    tree, problems = FrameTree(), []
    for item in reader.messages(transform_topics(reader, STATIC)):
        try:
            problems += tree.add(item.message())
        except BagError as error:
            problems.append(str(error))
    return tree, list(dict.fromkeys(problems))[:_MOST_PROBLEMS]


def _unaligned(
    reader: BagReader, tree: FrameTree, image: str, info: str | None, depth: str, beside: str | None
) -> str:
    """Return why depth images do not lie on the pixels of images, see `misalignment`."""
    return misalignment(_view(reader, image, info), _view(reader, depth, beside), tree)


def _view(reader: BagReader, topic: str, info: str | None) -> ImagePlane:
    """Return the image plane of a topic, as far as its first messages define it."""
    try:
        frame = _first_frame(reader, topic)
    except ReplayError:
        frame = ""
    return ImagePlane(frame, _first_camera(reader, info))


def _first_camera(reader: BagReader, topic: str | None) -> Camera | None:
    """Return the rectified camera of the first calibration on a topic; none if unreadable."""
    first = _first(reader, topic)
    try:
        info = None if first is None else first.message()
        return None if info is None else calibration_from_info(info, rectified=True).camera
    except DepthFormerError:
        return None


def _first_frame(reader: BagReader, topic: str) -> str:
    """Return the frame of the first message of a topic that is not damaged."""
    for item in reader.messages([topic]):
        try:
            return str(item.message().header.frame_id)
        except BagError:
            continue
    raise ReplayError(f"every message on {topic} is damaged")


def transform_topics(reader: BagReader, name: str) -> list[str]:
    """List the topics of transforms of a name, `STATIC` or `MOVING`, in any namespace."""
    return [
        topic.name
        for topic in reader.topics.values()
        if topic.type in TRANSFORMS and topic.count and topic.name.rpartition("/")[2] == name
    ]


def _missing_for_scans(reader: BagReader, topics: Topics, tree: FrameTree, *, moving: bool) -> str:
    """Return what scans lack to be truth; an empty text if they lack nothing.

    With moving transforms, the static ones need not connect LiDAR and camera on their own.
    """
    assert topics.cloud is not None
    if topics.camera_info is None:
        return f"the bag has no camera_info to project {topics.cloud} with"
    if moving:
        return ""
    try:
        tree.matrix(_first_frame(reader, topics.image), _first_frame(reader, topics.cloud))
    except TransformError:
        if tree.frames or tree.problems:
            raise
        return f"the bag has no /{STATIC}, which would place {topics.cloud} in the camera's frame"
    return ""
