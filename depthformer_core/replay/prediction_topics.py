"""Recorded predictions: topics of depth images, clouds or disparity that a bag's truth judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthformer_core.bags import BagError, BagMessage, BagReader, Topic
from depthformer_core.bags.calibration_messages import calibration_from_info
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.depth_messages import (
    DEPTH_ENCODINGS,
    compressed_to_depth,
    depth_encoding,
    image_to_depth,
)
from depthformer_core.bags.disparity_messages import disparity_to_depth
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.image_messages import Layout, read_samples
from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    DISPARITY,
    IMAGE,
    POINT_CLOUD,
    TRANSPORTS,
    base_topic,
    calibration_beside,
)
from depthformer_core.bags.messages import cloud_points
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.resampling import points_to_depth, resample_depth, resize_depth
from depthformer_core.geometry.transforms import frame_name
from depthformer_core.types import FloatArray, FloatingArray

_KINDS = (IMAGE, COMPRESSED_IMAGE, POINT_CLOUD, DISPARITY)
# Relative depth is published in images of any of these.
_RELATIVE_LAYOUTS = {
    "32FC1": Layout(1, "f4"),
    "16UC1": Layout(1, "u2"),
    "mono16": Layout(1, "u2"),
    "mono8": Layout(1),
    "8UC1": Layout(1),
}
_MOST_POINTS = 2**23

Place = Callable[[str], FloatingArray]
"""Returns the matrix (4, 4) from a frame to that of the image; TransformError without one."""


@dataclass(frozen=True)
class PredictionTopic:
    """A topic whose depth is judged.

    Attributes:
        name: Name of the source in reports.
        topic: Name of the topic.
        inverse: Whether its values are relative inverse depth: larger is nearer, and scale and
            shift mean nothing.
    """

    name: str
    topic: str
    inverse: bool = False


@dataclass(frozen=True)
class PlannedPrediction:
    """A prediction topic that the bag has.

    Attributes:
        name: As of `PredictionTopic`.
        topic: Name of the topic in the bag.
        type: Type of its messages.
        inverse: As of `PredictionTopic`.
        camera_info: Topic of its calibration; none where the bag has none.
        first_info: First message there.
    """

    name: str
    topic: str
    type: str
    inverse: bool
    camera_info: str | None
    first_info: BagMessage | None


def parse_prediction(text: str, *, inverse: bool = False) -> PredictionTopic:
    """Read `/topic`, or `name=/topic` for a source with a name of its own.

    Raises:
        ReplayError: A part is empty.
    """
    name, separator, topic = text.rpartition("=")
    if not topic or (separator and not name):
        raise ReplayError(f"a prediction topic is /TOPIC or NAME=/TOPIC, got {text!r}")
    return PredictionTopic(name or topic, topic, inverse)


def plan_predictions(
    reader: BagReader, wanted: Sequence[PredictionTopic]
) -> tuple[PlannedPrediction, ...]:
    """Find prediction topics, and their calibrations, in a bag.

    Args:
        reader: The open bag.
        wanted: The topics; a missing leading slash or suffix of a transport is found.

    Raises:
        ReplayError: A topic is missing or holds no depth, or two sources have one name.
        BagError: The bag is damaged.
    """
    names = [prediction.name for prediction in wanted]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ReplayError(f"two sources are named {doubled}; NAME=/TOPIC gives names")
    return tuple(_plan(reader, prediction) for prediction in wanted)


def _plan(reader: BagReader, wanted: PredictionTopic) -> PlannedPrediction:
    topic = _find(reader, wanted)
    info = _find_camera_info(reader, topic.name)
    first_info = None if info is None else next(reader.messages([info]), None)
    return PlannedPrediction(wanted.name, topic.name, topic.type, wanted.inverse, info, first_info)


def _find(reader: BagReader, wanted: PredictionTopic) -> Topic:
    name = "/" + wanted.topic.strip("/")
    meant = (wanted.topic, name, *(f"{name}/{transport}" for transport in TRANSPORTS))
    topics = reader.topics
    found = next((topics[topic] for topic in meant if topic in topics), None)
    if found is None or not found.count:
        depths = [
            topic.name for topic in topics.values() if topic.count and _holds_depth(reader, topic)
        ]
        raise ReplayError(
            f"--prediction-topic {wanted.topic} is not in bag {reader.path}, or empty; "
            f"its topics of depth: {', '.join(depths) or 'none'}"
        )
    if found.type not in _KINDS or not (wanted.inverse or _holds_depth(reader, found)):
        raise ReplayError(
            f"--prediction-topic {found.name} of {found.type} holds no depth: that is in images "
            f"of {' or '.join(DEPTH_ENCODINGS)}, their compressedDepth, PointCloud2 and "
            "DisparityImage"
        )
    if wanted.inverse and found.type != IMAGE:
        raise ReplayError(
            f"--inverse-depth-topic {found.name} is {found.type}: relative inverse depth is read "
            f"from {IMAGE}"
        )
    return found


def _holds_depth(reader: BagReader, topic: Topic) -> bool:
    """Return whether a topic's first readable message holds depth."""
    if topic.type in (POINT_CLOUD, DISPARITY):
        return True
    if topic.type not in (IMAGE, COMPRESSED_IMAGE):
        return False
    for item in reader.messages([topic.name]):
        try:
            message = item.message()
        except BagError:
            continue
        if topic.type == IMAGE:
            return message.encoding in DEPTH_ENCODINGS
        return depth_encoding(message) is not None
    return False


def _find_camera_info(reader: BagReader, topic: str) -> str | None:
    """Find the calibration beside images; of disparity, that of the left camera too."""
    folder = base_topic(topic).rpartition("/")[0]
    meant = (
        calibration_beside(topic),
        f"{folder}/left/camera_info",
        f"{folder.rpartition('/')[0]}/left/camera_info",
    )
    topics = reader.topics
    return next(
        (
            name
            for name in meant
            if name in topics and topics[name].type == CAMERA_INFO and topics[name].count
        ),
        None,
    )


class PredictionReader:
    """Turns the messages of a prediction topic into depth on the pixels of images.

    Args:
        planned: The topic.
    """

    def __init__(self, planned: PlannedPrediction) -> None:
        self._planned = planned
        self._camera: Camera | None = None
        self._problem = ""
        if planned.first_info is not None:
            self.calibrate(planned.first_info)

    def calibrate(self, item: BagMessage) -> None:
        """Take the newest calibration of the topic."""
        try:
            self._camera = calibration_from_info(item.message(), rectified=True).camera
            self._problem = ""
        except DepthFormerError as error:
            self._camera, self._problem = None, f"{item.topic} is unusable: {error}"

    def depth(
        self,
        message: Any,
        *,
        size: tuple[int, int],
        camera: Camera | None,
        frame: str,
        place: Place,
    ) -> FloatArray:
        """Read the depth of a message on the pixels of an image.

        Args:
            message: The message.
            size: Height and width of the image.
            camera: Camera of the image, where it is known.
            frame: Frame of the image.
            place: Returns where a frame is.

        Returns:
            (H, W), metres along the image's optical axis; NaN where there is none, infinite where
            it is beyond the source's range (REP 117). Of relative inverse depth, its inverse.

        Raises:
            DepthFormerError: The message is damaged, its calibration or transform is missing, or
                it does not show the image's view.
        """
        own = frame_name(str(message.header.frame_id))
        at_image = not own or not frame or own == frame_name(frame)
        to_image = np.eye(4) if at_image else place(own)
        if self._planned.type == POINT_CLOUD:
            if camera is None:
                raise ReplayError("a cloud needs the images' camera_info to be projected")
            if message.height * message.width > _MOST_POINTS:
                raise ReplayError(
                    f"a cloud of {message.height * message.width} points is more than "
                    f"{_MOST_POINTS}"
                )
            return points_to_depth(cloud_points(message), camera, to_image)
        depth = self._image_depth(message)
        return self._on_pixels(depth, size=size, camera=camera, to_image=to_image)

    def _image_depth(self, message: Any) -> FloatArray:
        if self._planned.inverse:
            return _relative_depth(message)
        if self._planned.type == DISPARITY:
            return disparity_to_depth(message)
        read = image_to_depth if self._planned.type == IMAGE else compressed_to_depth
        depth = read(message)
        # Zero is none, and minus infinity too near to be measured (REP 117, 118).
        return np.where(depth > 0, depth, np.float32(np.nan))

    def _on_pixels(
        self,
        depth: FloatArray,
        *,
        size: tuple[int, int],
        camera: Camera | None,
        to_image: FloatingArray,
    ) -> FloatArray:
        own = self._camera
        if own is not None and camera is not None:
            return resample_depth(depth, own, camera, to_image)
        if camera is not None and self._problem:
            raise ReplayError(self._problem)
        if not np.allclose(to_image, np.eye(4)):
            missing = self._problem or f"no camera_info beside {self._planned.topic}"
            if camera is None:
                missing = "no camera_info of the images"
            raise ReplayError(f"depth of another frame needs both cameras: there is {missing}")
        height, width = size
        return resize_depth(depth, height=height, width=width)


def _relative_depth(message: Any) -> FloatArray:
    layout = _RELATIVE_LAYOUTS.get(message.encoding)
    if layout is None:
        raise ConversionError(
            "encoding",
            f"of inverse depth must be {', '.join(_RELATIVE_LAYOUTS)}, got {message.encoding!r}",
        )
    inverse = np.asarray(read_samples(message, layout), np.float32)
    with np.errstate(divide="ignore"):
        depth = np.float32(1) / inverse
    # What is at zero or below is as far as can be.
    depth = np.where(inverse > 0, depth, np.float32(np.inf))
    return np.where(np.isfinite(inverse), depth, np.float32(np.nan))
