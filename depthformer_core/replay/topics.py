"""Which topics of a bag hold the images, their calibration and the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from depthformer_core.data.bag import BagError, BagReader, Topic

Truth = Literal["auto", "depth", "lidar", "none"]

DEPTH_ENCODINGS = ("32FC1", "16UC1")
"""Encodings of depth images (REP 118): metres, and millimetres."""

_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_CLOUD = "sensor_msgs/msg/PointCloud2"
_COMPRESSED_SUFFIX = "/compressed"
_OPTION_OF = {
    "images": "--image-topic",
    "camera_info": "--camera-info-topic",
    "depth images": "--depth-topic",
    "point clouds": "--cloud-topic",
}


class ReplayError(ValueError):
    """A bag that cannot be replayed as asked; the message says what there is instead."""


@dataclass(frozen=True)
class Topics:
    """The topics of a bag that are used.

    Attributes:
        image: The colour images, raw or compressed.
        camera_info: Their calibration, where there is one.
        depth: Depth images to compare with; none where clouds are used or nothing is.
        cloud: Point clouds of a LiDAR to compare with; none where depth images are used or
            nothing is.
    """

    image: str
    camera_info: str | None
    depth: str | None
    cloud: str | None


def find_topics(
    reader: BagReader,
    *,
    image: str | None = None,
    camera_info: str | None = None,
    depth: str | None = None,
    cloud: str | None = None,
    truth: Truth = "auto",
) -> Topics:
    """Find the topics by the types of their messages.

    Depth images are told from others by the encoding of their first message. A topic and its
    `/compressed` sibling hold the same images: the raw ones are taken. The calibration is that
    beside the images, `camera_info` in the same namespace; else the only one that is not beside
    other images.

    Args:
        reader: The open bag.
        image: Name of the topic of images, where the bag has several.
        camera_info: The same for the calibration.
        depth: The same for depth images.
        cloud: The same for point clouds.
        truth: What to compare with. `auto` takes depth images where there are any, else point
            clouds, else nothing; a topic named takes precedence.

    Raises:
        ReplayError: There are no images, there is a choice that nobody has made, a named topic is
            missing or of another type, or the truth asked for is missing or contradicts a name.
        BagError: The bag is damaged.
    """
    if truth not in get_args(Truth):
        raise ReplayError(f"truth must be one of {', '.join(get_args(Truth))}, got {truth!r}")
    if depth is not None and truth not in ("auto", "depth"):
        raise ReplayError(f"--depth-topic {depth} contradicts --truth {truth}")
    if cloud is not None and truth not in ("auto", "lidar"):
        raise ReplayError(f"--cloud-topic {cloud} contradicts --truth {truth}")
    if depth is not None and cloud is not None:
        raise ReplayError(
            f"one truth at a time: either --depth-topic {depth} or --cloud-topic {cloud}"
        )
    found = _sort(reader)
    images = _without_siblings(found.images)
    chosen = _choose(image, "images", images, named=found.images, reader=reader)
    if chosen is None:
        raise ReplayError(f"bag {reader.path} has no images; it has {_listing(reader.topics)}")
    info = _find_camera_info(camera_info, chosen, found, reader=reader)
    return Topics(chosen, info, *_find_truth(depth, cloud, truth, found, reader=reader))


@dataclass(frozen=True)
class _Found:
    """Topics with messages by what they are good for."""

    images: dict[str, Topic]
    infos: dict[str, Topic]
    depths: dict[str, Topic]
    clouds: dict[str, Topic]


def _sort(reader: BagReader) -> _Found:
    found = _Found({}, {}, {}, {})
    for name, topic in reader.topics.items():
        if not topic.count:
            continue
        if topic.type in (_IMAGE, _COMPRESSED):
            encoding = _encoding(reader, topic)
            if encoding not in DEPTH_ENCODINGS:
                found.images[name] = topic
            elif topic.type == _IMAGE:
                found.depths[name] = topic
        elif topic.type == _CAMERA_INFO:
            found.infos[name] = topic
        elif topic.type == _CLOUD:
            found.clouds[name] = topic
    return found


def _encoding(reader: BagReader, topic: Topic) -> str:
    """Encoding of the pixels in a topic's first message, empty where it is damaged."""
    first = next(reader.messages([topic.name]), None)
    try:
        message = None if first is None else first.message()
    except BagError:
        return ""
    if message is None:
        return ""
    # Compressed images name what was compressed first: `16UC1; compressedDepth png`.
    name = message.encoding if topic.type == _IMAGE else message.format.partition(";")[0]
    return str(name).strip()


def _without_siblings(images: Mapping[str, Topic]) -> dict[str, Topic]:
    """Images without those that are compressed copies of others."""
    return {
        name: topic
        for name, topic in images.items()
        if not (name.endswith(_COMPRESSED_SUFFIX) and _plain(name) in images)
    }


def _plain(name: str) -> str:
    """Name of a topic of images without what image transport adds to it."""
    return name.removesuffix(_COMPRESSED_SUFFIX)


def _choose(
    wanted: str | None,
    what: str,
    candidates: Mapping[str, Topic],
    *,
    reader: BagReader,
    named: Mapping[str, Topic] | None = None,
) -> str | None:
    """The topic asked for among `named`, or else the only candidate, or none without any."""
    if wanted is not None:
        allowed = candidates if named is None else named
        if wanted in allowed:
            return wanted
        option, topics = _OPTION_OF[what], reader.topics
        if wanted in topics:
            raise ReplayError(
                f"{option}: {_listing({wanted: topics[wanted]})} is none of the bag's {what}: "
                f"{_listing(allowed)}"
            )
        raise ReplayError(
            f"{option} {wanted} is not in the bag; its {what}: {_listing(allowed or topics)}"
        )
    if len(candidates) > 1:
        raise ReplayError(
            f"the bag has several topics of {what}, give {_OPTION_OF[what]}: {_listing(candidates)}"
        )
    return next(iter(candidates), None)


def _find_camera_info(
    wanted: str | None, image: str, found: _Found, *, reader: BagReader
) -> str | None:
    beside = _beside(image)
    if wanted is None and beside in found.infos:
        return beside
    # The calibration beside other images is of another camera.
    others = {_beside(name) for name in (*found.images, *found.depths)}
    free = {name: topic for name, topic in found.infos.items() if name not in others}
    return _choose(wanted, "camera_info", free, named=found.infos, reader=reader)


def _beside(image: str) -> str:
    return f"{_plain(image).rpartition('/')[0]}/camera_info"


def _find_truth(
    depth: str | None, cloud: str | None, truth: Truth, found: _Found, *, reader: BagReader
) -> tuple[str | None, str | None]:
    """Topics of depth images and of clouds, at most one of them."""
    if truth == "depth" or (truth == "auto" and cloud is None):
        name = _choose(depth, "depth images", found.depths, reader=reader)
        if name is not None:
            return name, None
    if truth in ("auto", "lidar"):
        name = _choose(cloud, "point clouds", found.clouds, reader=reader)
        if name is not None:
            return None, name
    if truth in ("depth", "lidar"):
        what = "depth images" if truth == "depth" else "point clouds"
        raise ReplayError(
            f"bag {reader.path} has no {what}, which --truth {truth} asks for; "
            f"it has {_listing(reader.topics)}"
        )
    return None, None


def _listing(topics: Mapping[str, Topic]) -> str:
    items = (
        f"{name} ({topic.count} {topic.type.replace('sensor_msgs/msg/', '')})"
        for name, topic in topics.items()
    )
    return ", ".join(items) or "none"
