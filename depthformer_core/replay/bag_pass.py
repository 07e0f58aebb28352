"""One reading of a bag: images joined by truth, predictions and pose of their time."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from depthformer_core.bags import BagError, BagMessage, BagReader
from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.depth_messages import depth_truth
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import cloud_points, header_stamp
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Calibration, Camera
from depthformer_core.geometry.transforms import TransformError
from depthformer_core.replay.frame_plan import FramePlan
from depthformer_core.replay.matching import StampMatcher
from depthformer_core.replay.motion import Motion
from depthformer_core.replay.prediction_matching import Joined, PoseStage, PredictionStage
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.replay.tally import Tally
from depthformer_core.types import FloatArray, FloatingArray, Rgb
from depthformer_core.visualize import colorize, depth_range

_SECOND = 1_000_000_000
# How much later than an image the truth of the same time may be recorded.
_PATIENCE = 1 * _SECOND
# Longer than images wait for slow predictions.
_TRANSFORMS_KEPT = 8 * _SECOND
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
        frame_id: Frame of the image.
        recorded: When it was recorded, nanoseconds.
        predictions: Recorded predictions on the pixels of the image by the source's name, (H, W),
            metres, NaN where there is none; absent without one of the image's time.
        ages: Time from the stamp of each of these to its recording, seconds.
        pose: Matrix (4, 4) that takes points of the image's optical frame to the fixed frame;
            none where `/tf` does not know it.
    """

    index: int
    stamp: int
    frame: Frame
    frame_id: str = ""
    recorded: int = 0
    predictions: Mapping[str, FloatArray] = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)
    pose: FloatingArray | None = None


@dataclass(frozen=True, eq=False)
class _Image:
    message: Any
    index: int
    stamp: int
    recorded: int
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


def _picture(message: Any) -> Rgb:
    """Return a picture of a depth image."""
    depth = depth_truth(message)
    if not (np.isfinite(depth) & (depth > 0)).any():
        return np.zeros((*depth.shape, 3), np.uint8)
    near, far = depth_range(depth)
    return colorize(depth, near=near, far=far)


def _joined(pair: tuple[_Image, list[_Truth]]) -> Joined[_Image]:
    return Joined(*pair)


class BagPass:
    """One reading of a bag.

    Args:
        plan: Its plan.

    Attributes:
        tally: Counts of what was read.
    """

    def __init__(self, plan: FramePlan) -> None:
        self.tally = Tally()
        self._plan = plan
        self._truth_topic = plan.topics.depth or plan.topics.cloud
        patience = _PATIENCE + plan.options.accumulate * _SCAN_PERIOD
        self._motion: Motion | None = None
        if plan.moving:
            # Images may be recorded late, wait, and need scans before them.
            self._motion = Motion(
                plan.tree, fixed=plan.options.fixed_frame, keep=_TRANSFORMS_KEPT + 2 * patience
            )
        tolerance = round(plan.options.tolerance * _SECOND)
        self._matcher = StampMatcher[_Image, _Truth](
            tolerance=tolerance,
            patience=patience,
            images=_IMAGES_WAITING + plan.options.accumulate * _IMAGES_A_SCAN,
            truths=_TRUTHS_KEPT + plan.options.accumulate * _TRUTHS_A_SCAN,
            neighbours=plan.options.accumulate,
            ready=self._motion_is_known,
        )
        self._predictions = [
            PredictionStage[_Image](planned, tolerance=tolerance) for planned in plan.predictions
        ]
        self._stages: list[PredictionStage[_Image] | PoseStage[_Image]] = [*self._predictions]
        if self._motion is not None:
            self._stages.append(PoseStage(self._pose_may_come))
        self._images = 0
        self._damage: list[str] = []
        self._calibration: Calibration | None = None
        self._problem = "the bag has no camera_info"
        if plan.first_info is not None:
            self._calibrate(plan.first_info)

    def frames(self, reader: BagReader) -> Iterator[BagFrame]:
        """Read the frames of an open bag in the order of their recording."""
        topics = self._plan.topics
        wanted = {topics.image, topics.camera_info, self._truth_topic, *self._plan.moving}
        for planned in self._plan.predictions:
            wanted |= {planned.topic, planned.camera_info}
        for item in reader.messages({topic for topic in wanted if topic is not None}):
            ready: Iterable[Joined[_Image]] = map(_joined, self._take(item))
            for stage in self._stages:
                ready = stage.advance(ready, item)
            yield from self._frames(ready)
        ready = map(_joined, self._matcher.rest())
        for stage in self._stages:
            ready = stage.rest(ready)
        yield from self._frames(ready)
        self._damage = reader.notes

    def notes(self) -> list[str]:
        """Return sentences on what could not be used."""
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
        for stage in self._predictions:
            if stage.damaged:
                sentences.append(f"{stage.damaged} predictions of {stage.name} were damaged.")
            if stage.hurried:
                sentences.append(
                    f"{stage.hurried} images were too many to wait for predictions of "
                    f"{stage.name}, which may have come later."
                )
            sentences += [
                f"{count} of {self.tally.images} images have no prediction of {stage.name}: "
                f"{reason}."
                for reason, count in stage.without.items()
            ]
        return sentences

    def _take(self, item: BagMessage) -> Iterator[tuple[_Image, list[_Truth]]]:
        """Read a message; return the images that wait no longer, each with its truths."""
        if item.topic == self._plan.topics.camera_info:
            self._calibrate(item)
            return iter(())
        if item.topic in self._plan.moving:
            self._move(item)
            return self._matcher.release(item.stamp)
        if item.topic not in (self._plan.topics.image, self._truth_topic):
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
        found: Iterator[tuple[_Image, list[_Truth]]] = iter(())
        if item.topic == self._truth_topic:
            truth = _Truth(message, stamp)
            found = self._matcher.add_truth(truth, stamp=stamp, recorded=item.stamp)
        if not is_image:
            return found
        image = _Image(message, index, stamp, item.stamp, self._calibration, self._problem)
        if self._truth_topic is None:
            return iter([(image, [])])
        return itertools.chain(
            found, self._matcher.add_image(image, stamp=stamp, recorded=item.stamp)
        )

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
        if self._motion is None or not scans or not self._plan.options.accumulate:
            return True
        needed = [(image.frame_id, image.stamp), *((scan.frame_id, scan.stamp) for scan in scans)]
        return not any(self._motion.may_come(frame, stamp) for frame, stamp in needed)

    def _pose_may_come(self, image: _Image) -> bool:
        assert self._motion is not None
        return self._motion.may_come(image.frame_id, image.stamp)

    def _pose(self, image: _Image) -> FloatingArray | None:
        if self._motion is None:
            return None
        try:
            return self._motion.pose(image.frame_id, image.stamp)
        except TransformError:
            return None

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

    def _frames(self, ready: Iterable[Joined[_Image]]) -> Iterator[BagFrame]:
        for joined in ready:
            image = joined.image
            frame = self._frame(image, joined.truths)
            if frame is not None:
                yield BagFrame(
                    image.index,
                    image.stamp,
                    frame,
                    image.frame_id,
                    image.recorded,
                    self._read_predictions(joined, frame),
                    {
                        name: (found.recorded - found.stamp) / _SECOND
                        for name, found in joined.predictions.items()
                    },
                    self._pose(image),
                )

    def _read_predictions(self, joined: Joined[_Image], frame: Frame) -> dict[str, FloatArray]:
        """Return the recorded predictions of an image on its pixels."""
        predictions = {}
        height, width = frame.rgb.shape[:2]
        for stage in self._predictions:
            found = joined.predictions.get(stage.name)
            if found is None:
                stage.without.add(f"none within {self._plan.options.tolerance} s")
                continue
            try:
                predictions[stage.name] = stage.reader.depth(
                    found.message,
                    size=(height, width),
                    camera=frame.camera,
                    frame=joined.image.frame_id,
                    place=functools.partial(self._plan.tree.matrix, joined.image.frame_id),
                )
            except DepthFormerError as error:
                stage.without.add(str(error))
        return predictions

    def _frame(self, image: _Image, truths: Sequence[_Truth]) -> Frame | None:
        """Return the frame of an image, or none if the image is unusable."""
        read = compressed_to_rgb if self._plan.compressed else image_to_rgb
        if self._plan.topics.shows_depth:
            read = _picture
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
        if self._motion is None or not self._plan.options.accumulate:
            return self._plan.tree.matrix(image.frame_id, scan.frame_id)
        return self._motion.matrix(
            image.frame_id, scan.frame_id, target_stamp=image.stamp, source_stamp=scan.stamp
        )
