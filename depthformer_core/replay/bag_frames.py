"""The frames of any bag, each with the truth measured at the same time."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from depthformer_core.bags import BagError, BagMessage, BagReader
from depthformer_core.bags.camera_messages import (
    ConversionError,
    Rgb,
    calibration_from_info,
    compressed_to_rgb,
    image_to_rgb,
    named_rectified,
)
from depthformer_core.bags.message_types import COMPRESSED_IMAGE, TRANSFORMS
from depthformer_core.bags.messages import cloud_points, header_stamp
from depthformer_core.bags.topics import ReplayError, Topics, Truth, find_topics
from depthformer_core.data.dataset import Frame
from depthformer_core.geometry.camera import Calibration, Camera, FloatArray
from depthformer_core.geometry.transforms import FrameTree, Matrix, TransformError
from depthformer_core.replay.alignment import ImagePlane, why_unaligned
from depthformer_core.replay.depth_truth import depth_truth
from depthformer_core.replay.matching import StampMatcher
from depthformer_core.replay.motion import Motion
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.replay.tally import Tally

Rectify = Literal["auto", "always", "never"]

_SECOND = 1_000_000_000
# How much later than an image the truth of the same time may be recorded.
_PATIENCE = 1 * _SECOND
_IMAGES_WAITING = 16
_TRUTHS_KEPT = 32
# The same for each scan after it: time for slow scanners, room for fast cameras and scanners.
_SCAN_PERIOD = _SECOND // 5
_IMAGES_A_SCAN = 4
_TRUTHS_A_SCAN = 4
_MOST_SCANS = 20
_MOST_POINTS = 2**23
_MOST_PROBLEMS = 5
_STATIC = "tf_static"
_MOVING = "tf"


@dataclass(frozen=True, eq=False)
class BagFrame:
    """One image of a bag.

    Attributes:
        index: How many messages were on the topic of images before it.
        stamp: When it was taken, nanoseconds since the epoch.
        frame: The image, rectified if it had to be, its camera, and its truth where there is any.
            Its `file` is the stamp in seconds.
    """

    index: int
    stamp: int
    frame: Frame


class BagFrames:
    """Reads the images of a bag one after the other, each with its truth.

    Each `for` is a pass of its own over the bag, in memory that does not grow with it. A message
    that cannot be used is counted, and the pass goes on.

    Truth is a depth image of the size and the pixels of the (rectified) image, or a scan of a
    LiDAR, projected. Where the LiDAR sits is read from `/tf_static`, in which the image's frame
    is taken for that of the rectified image. Scans before and after can be added up, each moved to
    the time of the image by the transforms on `/tf`; a scan whose time they do not reach is left
    out. So an image waits, for a bounded time, for its truth, for the scans after that, and for
    the transforms of all of them: see `StampMatcher`.

    Args:
        path: The bag, see `BagReader`.
        image: Name of the topic of images, see `find_topics`.
        camera_info: The same for their calibration.
        depth: The same for depth images.
        cloud: The same for point clouds.
        truth: What to compare with, see `find_topics`.
        tolerance: Largest difference between the stamps of an image and its truth, seconds.
        rectify: Whether images are rectified; `auto` does unless the topic's name says that
            they are, see `named_rectified`.
        keep_hidden: Whether to keep points of scans that lie behind what the camera sees.
        accumulate: How many scans to add before the one that matches, and how many after it; up
            to 20.
        fixed_frame: Frame on `/tf` in which the robot moves and the world stands still.

    Attributes:
        path: The bag.
        topics: The topics that are read.
        compressed: Whether the images are `CompressedImage`.

    Raises:
        BagError: The path holds no bag, or a damaged one.
        ReplayError: The bag lacks what is asked for, see `find_topics`, or an option is out of
            range; scans are to be added up and there are none, or no transforms on `/tf`.
        TransformError: `/tf_static` does not connect the frames of LiDAR and camera.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image: str | None = None,
        camera_info: str | None = None,
        depth: str | None = None,
        cloud: str | None = None,
        truth: Truth = "auto",
        tolerance: float = 0.05,
        rectify: Rectify = "auto",
        keep_hidden: bool = False,
        accumulate: int = 0,
        fixed_frame: str = "odom",
    ) -> None:
        if not 0 <= tolerance < math.inf:
            raise ReplayError(f"tolerance must not be negative, got {tolerance} s")
        if rectify not in get_args(Rectify):
            raise ReplayError(
                f"rectify must be one of {', '.join(get_args(Rectify))}, got {rectify!r}"
            )
        if not 0 <= accumulate <= _MOST_SCANS:
            raise ReplayError(f"accumulate must be 0 to {_MOST_SCANS} scans, got {accumulate}")
        self.path = Path(path)
        with BagReader(self.path) as reader:
            tree, self._static_problems = _read_static(reader)
            self.topics = find_topics(
                reader,
                image=image,
                camera_info=camera_info,
                depth=depth,
                cloud=cloud,
                truth=truth,
                unaligned=functools.partial(_unaligned, reader, tree),
            )
            images = reader.topics[self.topics.image]
            self._count = images.count
            self.compressed = images.type == COMPRESSED_IMAGE
            first_info = _first(reader, self.topics.camera_info)
            missing = self.topics.no_truth
            if self.topics.cloud is not None:
                missing = _place_scans(reader, self.topics, tree, moving=accumulate > 0)
            moving = _transform_topics(reader, _MOVING) if accumulate else []
        if accumulate and self.topics.cloud is None:
            depths = f"truth is the depth images on {self.topics.depth}: give --truth lidar"
            found = missing or depths
            raise ReplayError(f"accumulate adds up scans of a LiDAR: {found}")
        if self.topics.cloud is not None and missing:
            if truth == "lidar" or cloud is not None or accumulate:
                raise ReplayError(f"{self.topics.cloud} is no truth: {missing}")
            self.topics = dataclasses.replace(self.topics, cloud=None, no_truth=missing)
        self._missing_truth = missing
        rectifies = rectify == "always" or (
            rectify == "auto" and not named_rectified(self.topics.image)
        )
        if accumulate and not moving:
            known = ", ".join(sorted(tree.frames)) or "none"
            raise ReplayError(
                f"accumulate needs to know how the robot moved in {fixed_frame!r}: the bag has no "
                f"/{_MOVING}; frames of its /{_STATIC}: {known}"
            )
        self._plan = _Plan(
            topics=self.topics,
            compressed=self.compressed,
            first_info=first_info,
            tree=tree,
            tolerance=tolerance,
            rectifies=rectifies,
            keep_hidden=keep_hidden,
            accumulate=accumulate,
            fixed_frame=fixed_frame,
            moving=frozenset(moving),
        )
        self._latest = _Pass(self._plan)

    def __len__(self) -> int:
        """Count the images, those that are unusable too."""
        return self._count

    def __iter__(self) -> Iterator[BagFrame]:
        """Read the frames in the order of their recording; what is damaged is left out."""
        self._latest = _Pass(self._plan)
        with BagReader(self.path) as reader:
            yield from self._latest.frames(reader)

    @property
    def rejected(self) -> dict[str, int]:
        """Number of unusable images of the latest pass, by reason."""
        return dict(self._latest.tally.rejected)

    @property
    def notes(self) -> list[str]:
        """Sentences on what the latest pass met: missing truth, unusable messages."""
        missing = self._missing_truth
        notes = [f"There is no truth: {missing}."] * bool(missing)
        notes += self.topics.notes
        if self._static_problems:
            notes.append(f"Left out of /{_STATIC}: {'; '.join(self._static_problems)}.")
        return notes + self._latest.notes()


@dataclass(frozen=True)
class _Plan:
    topics: Topics
    compressed: bool
    first_info: BagMessage | None
    tree: FrameTree
    tolerance: float
    rectifies: bool
    keep_hidden: bool
    accumulate: int
    fixed_frame: str
    moving: frozenset[str]  # topics


@dataclass(frozen=True, eq=False)
class _Image:
    message: Any
    index: int
    stamp: int
    calibration: Calibration | None
    problem: str  # why there is no calibration

    @property
    def frame_id(self) -> str:
        return str(self.message.header.frame_id)


@dataclass(frozen=True, eq=False)
class _Truth:
    message: Any
    stamp: int

    @property
    def frame_id(self) -> str:
        return str(self.message.header.frame_id)

    @functools.cached_property
    def points(self) -> FloatArray:
        """Points (N, 3) of a scan, read once for all images that it is added to."""
        count = self.message.height * self.message.width
        if count > _MOST_POINTS:
            raise ReplayError(f"a cloud of {count} points is more than {_MOST_POINTS}")
        return cloud_points(self.message).reshape(-1, 3)


class _Pass:
    """One reading of a bag."""

    def __init__(self, plan: _Plan) -> None:
        self.tally = Tally()
        self._plan = plan
        self._truth_topic = plan.topics.depth or plan.topics.cloud
        patience = _PATIENCE + plan.accumulate * _SCAN_PERIOD
        self._motion: Motion | None = None
        if plan.accumulate:
            # Images may be recorded late, wait, and ask for scans before them.
            self._motion = Motion(plan.tree, fixed=plan.fixed_frame, keep=_PATIENCE + 2 * patience)
        self._matcher = StampMatcher[_Image, _Truth](
            tolerance=round(plan.tolerance * _SECOND),
            patience=patience,
            images=_IMAGES_WAITING + plan.accumulate * _IMAGES_A_SCAN,
            truths=_TRUTHS_KEPT + plan.accumulate * _TRUTHS_A_SCAN,
            neighbours=plan.accumulate,
            ready=self._motion_is_known,
        )
        self._images = 0
        self._damage: list[str] = []
        self._calibration: Calibration | None = None
        self._problem = "the bag has no camera_info"
        if plan.first_info is not None:
            self._calibrate(plan.first_info)

    def frames(self, reader: BagReader) -> Iterator[BagFrame]:
        topics = self._plan.topics
        wanted = (topics.image, topics.camera_info, self._truth_topic, *self._plan.moving)
        for item in reader.messages({topic for topic in wanted if topic is not None}):
            yield from self._frames(self._take(item))
        yield from self._frames(self._matcher.rest())
        self._damage = reader.notes

    def notes(self) -> list[str]:
        sentences = [*self._damage, *self.tally.notes()]
        if self._matcher.nearest_miss is not None:
            sentences.append(
                f"The nearest miss was {self._matcher.nearest_miss / _SECOND:.3f} s between an "
                f"image and a message on {self._truth_topic}."
            )
        if self._matcher.hurried:
            sentences.append(
                f"{self._matcher.hurried} images were too many to wait for what came on "
                f"{self._truth_topic}."
            )
        if self._matcher.missed:
            sentences.append(
                f"{self._matcher.missed} images came when messages on {self._truth_topic} of "
                "their time had been dropped, as there were too many."
            )
        return sentences

    def _take(self, item: BagMessage) -> Iterator[tuple[_Image, list[_Truth]]]:
        """Take a message; give the images that wait no longer, each with its truths."""
        if item.topic == self._plan.topics.camera_info:
            self._calibrate(item)
            return iter(())
        if item.topic in self._plan.moving:
            self._move(item)
            return self._matcher.release(item.stamp)
        is_image = item.topic == self._plan.topics.image
        index = self._images
        self._images += is_image
        try:
            message = item.message()
        except BagError:
            if is_image:
                self.tally.rejected.add(f"not a valid {item.type}")
            else:
                self.tally.damaged_truth += 1
            return iter(())
        stamp = header_stamp(message)
        if not stamp:
            self.tally.unstamped += 1
            stamp = item.stamp
        if not is_image:
            truth = _Truth(message, stamp)
            return self._matcher.add_truth(truth, stamp=stamp, recorded=item.stamp)
        image = _Image(message, index, stamp, self._calibration, self._problem)
        if self._truth_topic is None:
            return iter([(image, [])])
        return self._matcher.add_image(image, stamp=stamp, recorded=item.stamp)

    def _move(self, item: BagMessage) -> None:
        assert self._motion is not None
        try:
            problems = self._motion.add(item.message(), recorded=item.stamp)
        except BagError:
            problems = ["the message is damaged"]
        for problem in problems:
            self.tally.bad_transforms.add(problem)

    def _motion_is_known(self, image: _Image, scans: Sequence[_Truth]) -> bool:
        """Return whether all transforms have come that place an image and its scans."""
        if self._motion is None or not scans:
            return True
        needed = [(image.frame_id, image.stamp), *((scan.frame_id, scan.stamp) for scan in scans)]
        return not any(self._motion.may_come(frame, stamp) for frame, stamp in needed)

    def _calibrate(self, item: BagMessage) -> None:
        rectified = not self._plan.rectifies
        try:
            info = item.message()
            self._calibration = calibration_from_info(info, rectified=rectified)
            self._problem = ""
        except BagError:
            self._calibration, self._problem = None, f"{item.topic} is damaged"
        except ValueError as error:
            self._calibration, self._problem = None, f"{item.topic} is unusable: {error}"

    def _frames(self, pairs: Iterator[tuple[_Image, list[_Truth]]]) -> Iterator[BagFrame]:
        for image, truths in pairs:
            frame = self._frame(image, truths)
            if frame is not None:
                yield BagFrame(image.index, image.stamp, frame)

    def _frame(self, image: _Image, truths: Sequence[_Truth]) -> Frame | None:
        """Return the frame of an image, or none if the image is unusable."""
        read = compressed_to_rgb if self._plan.compressed else image_to_rgb
        try:
            rgb = read(image.message)
        except ConversionError as error:
            self.tally.rejected.add(str(error))
            return None
        self.tally.images += 1
        calibration = self._calibration_of(image, rgb)
        if calibration is not None and calibration.is_rectified:
            rgb = calibration.blacken_unseen(rgb)
        elif calibration is not None:
            rgb = calibration.rectify(rgb)
            self.tally.most_black = max(self.tally.most_black, calibration.unseen_share)
        camera = None if calibration is None else calibration.camera
        depth = self._depth(image, truths, rgb.shape[:2], camera)
        seconds, nanoseconds = divmod(image.stamp, _SECOND)
        # The picture may be a part of the bag's bytes, which are read-only.
        rgb = np.require(rgb, requirements="W")
        return Frame(f"{seconds}.{nanoseconds:09}", rgb, depth, camera)

    def _calibration_of(self, image: _Image, rgb: Rgb) -> Calibration | None:
        calibration, problem = image.calibration, image.problem
        if calibration is not None:
            height, width = rgb.shape[:2]
            camera = calibration.camera
            if (camera.width, camera.height) == (width, height):
                return calibration
            problem = (
                f"{self._plan.topics.camera_info} is for {camera.width}x{camera.height}, "
                f"the images are {width}x{height}"
            )
        self.tally.no_camera.add(problem)
        return None

    def _depth(
        self,
        image: _Image,
        truths: Sequence[_Truth],
        size: tuple[int, ...],
        camera: Camera | None,
    ) -> FloatArray | None:
        """Return the truth of an image (H, W), or none where there is none."""
        if self._truth_topic is None:
            return None
        if not truths:
            self.tally.no_truth.add(
                f"nothing on {self._truth_topic} within {self._plan.tolerance} s"
            )
            return None
        try:
            if self._plan.topics.depth is None:
                return self._project(image, truths, camera)
            depth = depth_truth(truths[0].message)
        except ValueError as error:
            self.tally.no_truth.add(str(error))
            return None
        if depth.shape != size:
            self.tally.no_truth.add(
                f"the depth image is {depth.shape[1]}x{depth.shape[0]}, "
                f"the image {size[1]}x{size[0]}"
            )
            return None
        return depth

    def _project(self, image: _Image, scans: Sequence[_Truth], camera: Camera | None) -> FloatArray:
        """Project the usable scans to depth; raise ValueError without any."""
        if camera is None:
            raise ReplayError("a scan needs a camera to be projected")
        placed, problems = [], []
        for scan in scans:
            try:
                placed.append((scan.points, self._to_camera(image, scan)))
            except ValueError as error:
                problems.append(error)
        if not placed:
            raise problems[0]
        for problem in problems:
            self.tally.left_out.add(str(problem))
        return scan_truth(placed, camera, keep_hidden=self._plan.keep_hidden)

    def _to_camera(self, image: _Image, scan: _Truth) -> Matrix:
        if self._motion is None:
            return self._plan.tree.matrix(image.frame_id, scan.frame_id)
        return self._motion.matrix(
            image.frame_id, scan.frame_id, target_stamp=image.stamp, source_stamp=scan.stamp
        )


def _first(reader: BagReader, topic: str | None) -> BagMessage | None:
    """Return the first message of a topic."""
    return None if topic is None else next(reader.messages([topic]), None)


def _read_static(reader: BagReader) -> tuple[FrameTree, list[str]]:
    """Read the static transforms of a bag; return the problems of invalid ones too."""
    tree, problems = FrameTree(), []
    for item in reader.messages(_transform_topics(reader, _STATIC)):
        try:
            problems += tree.add(item.message())
        except BagError as error:
            problems.append(str(error))
    return tree, list(dict.fromkeys(problems))[:_MOST_PROBLEMS]


def _unaligned(
    reader: BagReader, tree: FrameTree, image: str, info: str | None, depth: str, beside: str | None
) -> str:
    """Return why depth images do not lie on the pixels of images, see `why_unaligned`."""
    return why_unaligned(_view(reader, image, info), _view(reader, depth, beside), tree)


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
    except ValueError:
        return None


def _first_frame(reader: BagReader, topic: str) -> str:
    """Return the frame of the first message of a topic that is not damaged."""
    for item in reader.messages([topic]):
        try:
            return str(item.message().header.frame_id)
        except BagError:
            continue
    raise ReplayError(f"every message on {topic} is damaged")


def _transform_topics(reader: BagReader, name: str) -> list[str]:
    """List the topics of transforms of a name, in any namespace."""
    return [
        topic.name
        for topic in reader.topics.values()
        if topic.type in TRANSFORMS and topic.count and topic.name.rpartition("/")[2] == name
    ]


def _place_scans(reader: BagReader, topics: Topics, tree: FrameTree, *, moving: bool) -> str:
    """Say what scans lack to be truth, if anything.

    Where other transforms are to come, those need not connect LiDAR and camera on their own.
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
        return f"the bag has no /{_STATIC}, which would place {topics.cloud} in the camera's frame"
    return ""
