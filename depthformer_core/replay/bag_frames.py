"""The frames of any bag, each with the truth measured at the same time."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from depthformer_core.bags import BagError, BagMessage, BagReader
from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.depth_messages import depth_truth
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import cloud_points, header_stamp
from depthformer_core.bags.topics import ReplayError
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Calibration, Camera
from depthformer_core.replay.frame_plan import FrameOptions, FramePlan, plan_frames
from depthformer_core.replay.matching import StampMatcher
from depthformer_core.replay.motion import Motion
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.replay.tally import Tally
from depthformer_core.types import FloatArray, FloatingArray

_SECOND = 1_000_000_000
# How much later than an image the truth of the same time may be recorded.
_PATIENCE = 1 * _SECOND
_IMAGES_WAITING = 16
_TRUTHS_KEPT = 32
# The same for each scan after it: time for slow scanners, room for fast cameras and scanners.
_SCAN_PERIOD = _SECOND // 5
_IMAGES_A_SCAN = 4
_TRUTHS_A_SCAN = 4
_MOST_POINTS = 2**23


@dataclass(frozen=True, eq=False)
class BagFrame:
    """One image of a bag.

    Attributes:
        index: Number of messages on the topic of images before it.
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

    Truth is a depth image of the size and the pixels of the (rectified) image, or a projected scan
    of a LiDAR. The LiDAR's pose is read from `/tf_static`, in which the image's frame is taken for
    that of the rectified image. Scans before and after can be added up, each moved to the time of
    the image by the transforms on `/tf`; a scan beyond their times is skipped. So an
    image waits, for a bounded time, for its truth, for the scans after that, and for the
    transforms of all of them: see `StampMatcher`.

    Args:
        path: The bag, see `BagReader`.
        options: Topics, truth and preparation of the frames; the defaults without.

    Attributes:
        path: The bag.
        topics: The topics that are read.
        compressed: Whether the images are `CompressedImage`.

    Raises:
        BagError: As for `plan_frames`.
        ReplayError: As for `plan_frames`.
        TransformError: As for `plan_frames`.
    """

    def __init__(self, path: str | Path, options: FrameOptions | None = None) -> None:
        self.path = Path(path)
        self._plan = plan_frames(self.path, options or FrameOptions())
        self.topics = self._plan.topics
        self.compressed = self._plan.compressed
        self._latest = _Pass(self._plan)

    def __len__(self) -> int:
        """Return the number of images, unusable ones included."""
        return self._plan.count

    def __iter__(self) -> Iterator[BagFrame]:
        """Read the frames in the order of their recording; skip damaged ones."""
        self._latest = _Pass(self._plan)
        with BagReader(self.path) as reader:
            yield from self._latest.frames(reader)

    @property
    def rejected(self) -> dict[str, int]:
        """Number of unusable images of the latest pass, by reason."""
        return dict(self._latest.tally.rejected)

    @property
    def notes(self) -> list[str]:
        """Sentences on missing truth and unusable messages of the latest pass."""
        return [*self._plan.notes, *self._latest.notes()]


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

    def __init__(self, plan: FramePlan) -> None:
        self.tally = Tally()
        self._plan = plan
        self._truth_topic = plan.topics.depth or plan.topics.cloud
        patience = _PATIENCE + plan.options.accumulate * _SCAN_PERIOD
        self._motion: Motion | None = None
        if plan.options.accumulate:
            # Images may be recorded late, wait, and need scans before them.
            self._motion = Motion(
                plan.tree, fixed=plan.options.fixed_frame, keep=_PATIENCE + 2 * patience
            )
        self._matcher = StampMatcher[_Image, _Truth](
            tolerance=round(plan.options.tolerance * _SECOND),
            patience=patience,
            images=_IMAGES_WAITING + plan.options.accumulate * _IMAGES_A_SCAN,
            truths=_TRUTHS_KEPT + plan.options.accumulate * _TRUTHS_A_SCAN,
            neighbours=plan.options.accumulate,
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
        """Read a message; return the images that wait no longer, each with its truths."""
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
        except DepthFormerError as error:
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

    def _calibration_of(self, image: _Image, rgb: npt.NDArray[np.uint8]) -> Calibration | None:
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
                f"nothing on {self._truth_topic} within {self._plan.options.tolerance} s"
            )
            return None
        try:
            if self._plan.topics.depth is None:
                return self._project(image, truths, camera)
            depth = depth_truth(truths[0].message)
        except DepthFormerError as error:
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
        """Project the usable scans to depth; raise DepthFormerError without any."""
        if camera is None:
            raise ReplayError("a scan needs a camera to be projected")
        placed, problems = [], []
        for scan in scans:
            try:
                placed.append((scan.points, self._to_camera(image, scan)))
            except DepthFormerError as error:
                problems.append(error)
        if not placed:
            raise problems[0]
        for problem in problems:
            self.tally.left_out.add(str(problem))
        return scan_truth(placed, camera, keep_hidden=self._plan.options.keep_hidden)

    def _to_camera(self, image: _Image, scan: _Truth) -> FloatingArray:
        if self._motion is None:
            return self._plan.tree.matrix(image.frame_id, scan.frame_id)
        return self._motion.matrix(
            image.frame_id, scan.frame_id, target_stamp=image.stamp, source_stamp=scan.stamp
        )
