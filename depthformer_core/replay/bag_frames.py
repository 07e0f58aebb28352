"""The frames of any bag, each with the truth measured at the same time."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from depthformer_core.camera import Calibration, Camera, FloatArray
from depthformer_core.data.bag import BagError, BagMessage, BagReader
from depthformer_core.data.camera_messages import (
    ConversionError,
    Rgb,
    calibration_from_info,
    compressed_to_rgb,
    image_to_rgb,
    named_rectified,
)
from depthformer_core.data.dataset import Frame
from depthformer_core.data.messages import cloud_points, header_stamp
from depthformer_core.replay.depth_truth import depth_truth
from depthformer_core.replay.matching import StampMatcher
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.replay.tally import Tally
from depthformer_core.replay.topics import ReplayError, Topics, Truth, find_topics
from depthformer_core.replay.transforms import FrameTree, TransformError

Rectify = Literal["auto", "always", "never"]

_SECOND = 1_000_000_000
# How much later than an image the truth of the same time may be recorded.
_PATIENCE = 1 * _SECOND
_IMAGES_WAITING = 16
_TRUTHS_KEPT = 32
_STATIC = "tf_static"
_TRANSFORMS = "tf2_msgs/msg/TFMessage"


@dataclass(frozen=True, eq=False)
class BagFrame:
    """One image of a bag.

    Attributes:
        stamp: When it was taken, nanoseconds since the epoch.
        frame: The image, rectified if it had to be, its camera, and its truth where there is any.
            Its `file` is the stamp in seconds.
    """

    stamp: int
    frame: Frame


class BagFrames:
    """Reads the images of a bag one after the other, each with its truth.

    Each `for` is a pass of its own over the bag, in memory that does not grow with it. A message
    that cannot be used is counted, and the pass goes on.

    Truth is a depth image of the size and the pixels of the (rectified) image, or a scan of a
    LiDAR, projected. Where the LiDAR sits is read from `/tf_static`, in which the image's frame
    is taken for that of the rectified image.

    Args:
        path: The bag, see `BagReader`.
        image: Name of the topic of images, see `find_topics`.
        camera_info: The same for their calibration.
        depth: The same for depth images.
        cloud: The same for point clouds.
        truth: What to compare with, see `find_topics`.
        tolerance: Largest difference between the stamps of an image and its truth, seconds.
        rectify: Whether images are rectified; `auto` does unless the topic's name contains rect.
        hidden: Whether to keep points of scans that lie behind what the camera sees.

    Attributes:
        path: The bag.
        topics: The topics that are read.

    Raises:
        BagError: The path holds no bag, or a damaged one.
        ReplayError: The bag lacks what is asked for, see `find_topics`, or an option is out of
            range.
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
        hidden: bool = False,
    ) -> None:
        if not 0 <= tolerance < math.inf:
            raise ReplayError(f"tolerance must not be negative, got {tolerance} s")
        if rectify not in get_args(Rectify):
            raise ReplayError(
                f"rectify must be one of {', '.join(get_args(Rectify))}, got {rectify!r}"
            )
        self.path = Path(path)
        with BagReader(self.path) as reader:
            self.topics = find_topics(
                reader,
                image=image,
                camera_info=camera_info,
                depth=depth,
                cloud=cloud,
                truth=truth,
            )
            self._count = reader.topics[self.topics.image].count
            first_info = _first(reader, self.topics.camera_info)
            tree = FrameTree()
            missing = ""
            if self.topics.cloud is not None:
                missing = _place_scans(reader, self.topics, tree)
            elif self.topics.depth is None:
                asked = truth != "none"
                missing = "the bag has no depth images or clouds" if asked else "none is asked for"
        if self.topics.cloud is not None and missing:
            if truth == "lidar" or cloud is not None:
                raise ReplayError(f"{self.topics.cloud} is no truth: {missing}")
            self.topics = dataclasses.replace(self.topics, cloud=None)
        self._missing_truth = missing
        rectifies = rectify == "always" or (
            rectify == "auto" and not named_rectified(self.topics.image)
        )
        self._plan = _Plan(self.topics, first_info, tree, tolerance, rectifies, hidden)
        self._latest = _Pass(self._plan)

    def __len__(self) -> int:
        """Count the images, those that are unusable too."""
        return self._count

    def __iter__(self) -> Iterator[BagFrame]:
        """Read the frames in the order of their recording.

        Raises:
            BagError: The bag turns out damaged; the frames before that have been given.
        """
        self._latest = _Pass(self._plan)
        with BagReader(self.path) as reader:
            yield from self._latest.frames(reader)

    @property
    def rejected(self) -> dict[str, int]:
        """How many images of the latest pass were unusable, by reason."""
        return dict(self._latest.tally.rejected)

    @property
    def notes(self) -> list[str]:
        """Sentences on what the latest pass met: missing truth, unusable messages."""
        missing = self._missing_truth
        return [f"There is no truth: {missing}."] * bool(missing) + self._latest.notes()


@dataclass(frozen=True)
class _Plan:
    topics: Topics
    first_info: BagMessage | None
    tree: FrameTree
    tolerance: float
    rectifies: bool
    hidden: bool


@dataclass(frozen=True)
class _Image:
    message: Any
    kind: str
    stamp: int
    calibration: Calibration | None
    problem: str  # why there is no calibration


class _Pass:
    """One reading of a bag."""

    def __init__(self, plan: _Plan) -> None:
        self.tally = Tally()
        self._plan = plan
        self._truth_topic = plan.topics.depth or plan.topics.cloud
        self._matcher = StampMatcher[_Image, Any](
            tolerance=round(plan.tolerance * _SECOND),
            patience=_PATIENCE,
            images=_IMAGES_WAITING,
            truths=_TRUTHS_KEPT,
        )
        self._calibration: Calibration | None = None
        self._problem = "the bag has no camera_info"
        if plan.first_info is not None:
            self._calibrate(plan.first_info)

    def frames(self, reader: BagReader) -> Iterator[BagFrame]:
        topics = self._plan.topics
        wanted = (topics.image, topics.camera_info, self._truth_topic)
        try:
            for item in reader.messages({topic for topic in wanted if topic is not None}):
                yield from self._frames(self._take(item))
        except BagError:
            # What was read before the damage counts.
            yield from self._frames(self._matcher.rest())
            raise
        yield from self._frames(self._matcher.rest())

    def notes(self) -> list[str]:
        sentences = self.tally.notes()
        if self._matcher.nearest_miss is not None:
            sentences.append(
                f"The nearest miss was {self._matcher.nearest_miss / _SECOND:.3f} s between an "
                f"image and a message on {self._truth_topic}."
            )
        if self._matcher.hurried or self._matcher.dropped:
            sentences.append(
                f"{self._matcher.hurried} images and {self._matcher.dropped} messages on "
                f"{self._truth_topic} were too many to wait for each other."
            )
        return sentences

    def _take(self, item: BagMessage) -> Iterator[tuple[_Image, Any]]:
        """Take a message; give the images that wait no longer, each with its truth."""
        if item.topic == self._plan.topics.camera_info:
            self._calibrate(item)
            return iter(())
        is_image = item.topic == self._plan.topics.image
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
            return self._matcher.add_truth(message, stamp=stamp, recorded=item.stamp)
        image = _Image(message, item.type, stamp, self._calibration, self._problem)
        if self._truth_topic is None:
            return iter([(image, None)])
        return self._matcher.add_image(image, stamp=stamp, recorded=item.stamp)

    def _calibrate(self, item: BagMessage) -> None:
        try:
            self._calibration, self._problem = calibration_from_info(item.message()), ""
        except BagError:
            self._calibration, self._problem = None, f"{item.topic} is damaged"
        except ValueError as error:
            self._calibration, self._problem = None, f"{item.topic} is unusable: {error}"

    def _frames(self, pairs: Iterator[tuple[_Image, Any]]) -> Iterator[BagFrame]:
        for image, truth in pairs:
            frame = self._frame(image, truth)
            if frame is not None:
                yield BagFrame(image.stamp, frame)

    def _frame(self, image: _Image, truth: Any) -> Frame | None:
        """Frame of an image, or none where the image is unusable."""
        read = compressed_to_rgb if image.kind.endswith("CompressedImage") else image_to_rgb
        try:
            rgb = read(image.message)
        except ConversionError as error:
            self.tally.rejected.add(str(error))
            return None
        self.tally.images += 1
        calibration = self._calibration_of(image, rgb)
        if calibration is not None and self._plan.rectifies and not calibration.is_rectified:
            rgb = calibration.rectify(rgb)
        camera = None if calibration is None else calibration.camera
        depth = self._depth(image, truth, rgb.shape[:2], camera)
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
        self, image: _Image, truth: Any, size: tuple[int, ...], camera: Camera | None
    ) -> FloatArray | None:
        """Truth of an image (H, W), or none where there is none."""
        if self._truth_topic is None:
            return None
        if truth is None:
            self.tally.no_truth.add(
                f"nothing on {self._truth_topic} within {self._plan.tolerance} s"
            )
            return None
        try:
            if self._plan.topics.depth is None:
                return self._project(image, truth, camera)
            depth = depth_truth(truth)
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

    def _project(self, image: _Image, cloud: Any, camera: Camera | None) -> FloatArray:
        if camera is None:
            raise ReplayError("a scan needs a camera to be projected")
        points = cloud_points(cloud).reshape(-1, 3)
        matrix = self._plan.tree.matrix(image.message.header.frame_id, cloud.header.frame_id)
        return scan_truth(points, matrix, camera, hidden=not self._plan.hidden)


def _first(reader: BagReader, topic: str | None) -> BagMessage | None:
    """First message of a topic."""
    return None if topic is None else next(reader.messages([topic]), None)


def _first_frame(reader: BagReader, topic: str) -> str:
    """Frame of the first message of a topic that is not damaged."""
    for item in reader.messages([topic]):
        try:
            return str(item.message().header.frame_id)
        except BagError:
            continue
    raise ReplayError(f"every message on {topic} is damaged")


def _place_scans(reader: BagReader, topics: Topics, tree: FrameTree) -> str:
    """Read `/tf_static`, under whatever namespace; say what scans lack to be truth, if anything."""
    assert topics.cloud is not None
    if topics.camera_info is None:
        return f"the bag has no camera_info to project {topics.cloud} with"
    static = [
        name
        for name, topic in reader.topics.items()
        if topic.type == _TRANSFORMS and topic.count and name.rpartition("/")[2] == _STATIC
    ]
    for item in reader.messages(static):
        tree.add(item.message())
    try:
        tree.matrix(_first_frame(reader, topics.image), _first_frame(reader, topics.cloud))
    except TransformError:
        if static:
            raise
        return f"the bag has no /{_STATIC}, which would place {topics.cloud} in the camera's frame"
    return ""
