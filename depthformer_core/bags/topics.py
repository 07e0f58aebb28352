"""Selection of a bag's topics: images, calibration and ground truth."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from typing import Literal, get_args

from depthformer_core.bags import BagError, BagReader, Topic
from depthformer_core.bags.depth_messages import DEPTH_ENCODINGS, depth_encoding
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    IMAGES,
    POINT_CLOUD,
    UNREAD_CLOUDS,
    UNREAD_DEPTHS,
    UNREAD_IMAGES,
    base_topic,
    calibration_beside,
)
from depthformer_core.bags.node_topics import DEPTH, find_node_topics, is_node_cloud

Truth = Literal["auto", "depth", "lidar", "none"]

_ALIGN = "record depth that the driver has aligned to the images"
_OWN_PIXELS = ", or judge recorded depth on its own pixels, by naming it as --image-topic too"
_OPTION_OF = {
    "images": "--image-topic",
    "camera_info": "--camera-info-topic",
    "depth images": "--depth-topic",
    "point clouds": "--cloud-topic",
}


@dataclass(frozen=True)
class Topics:
    """The topics of a bag that are used.

    Attributes:
        image: The colour images, raw or compressed.
        camera_info: Their calibration, where there is one.
        depth: Depth images to compare with; none where clouds are used or nothing is.
        cloud: Point clouds of a LiDAR to compare with; none where depth images are used or
            nothing is.
        no_truth: Reason for missing truth; empty if there is truth.
        notes: Sentences on names that mislead.
        shows_depth: Whether the images are depth images, as there are no others.
    """

    image: str
    camera_info: str | None
    depth: str | None
    cloud: str | None
    no_truth: str = ""
    notes: tuple[str, ...] = ()
    shows_depth: bool = False

    @property
    def truth(self) -> str:
        """Description of the ground truth for logs and reports."""
        if self.depth is not None:
            return f"{self.depth} (depth images)"
        if self.cloud is not None:
            return f"{self.cloud} (LiDAR)"
        return f"none, since {self.no_truth}"


def find_image_topic(wanted: str, present: Collection[str]) -> str:
    """Find the topic of images that a name means.

    Args:
        wanted: Name of the topic, perhaps without its leading slash, with one `/compressed` too
            many, or without the one of the only transport that was recorded.
        present: Topics of images that there are.

    Returns:
        One that is present, or the name wanted where none is meant.
    """
    name = "/" + wanted.strip("/")
    while name.endswith(2 * COMPRESSED):
        name = name.removesuffix(COMPRESSED)
    meant = (wanted, name, name + COMPRESSED)
    return next((topic for topic in meant if topic in present), wanted)


def find_topics(
    reader: BagReader,
    *,
    image: str | None = None,
    camera_info: str | None = None,
    depth: str | None = None,
    cloud: str | None = None,
    truth: Truth = "auto",
    predictions: Collection[str] = (),
    unaligned: Callable[[str, str | None, str, str | None], str] | None = None,
) -> Topics:
    """Find the topics by the types of their messages.

    Depth images are recognized by the encoding of their first message. A topic and its
    `/compressed` or `/compressedDepth` sibling hold the same images: the raw ones are taken. The
    calibration is that beside the images, `camera_info` in the same namespace; else the only one
    that is not beside other images. What a depth node seems to have published is used only on
    request: a prediction is no truth.

    Args:
        reader: The open bag.
        image: Name of the topic of images, required if the bag has several, see `find_image_topic`.
            With predictions, a topic of depth images is shown in the place of images.
        camera_info: The same for the calibration.
        depth: The same for depth images.
        cloud: The same for point clouds.
        truth: Kind of ground truth. `auto` takes depth images where there are any, else point
            clouds, else nothing; a topic named takes precedence.
        predictions: Topics of recorded predictions, which are no truth. In a bag without images,
            the first of them that holds depth images takes their place.
        unaligned: Returns why depth images do not lie on the pixels of the images, or an empty
            text. Its arguments are the topics of the images, their calibration, the depth
            images and the calibration beside these. Such depth is no truth.

    Raises:
        ReplayError: There are no images, a choice is ambiguous, a named topic is missing or of
            another type, or the requested truth is missing or contradicts a name.
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
    for name in (depth, cloud):
        if name in predictions:
            raise ReplayError(f"{name} is named as prediction and as truth")
    with_predictions = _sort(reader)
    everything = with_predictions.without(predictions)
    node_topics = find_node_topics(reader.topics) - set(predictions)
    images = _without_siblings(everything.without(node_topics).images)
    meant = None if image is None else find_image_topic(image, everything.images)
    # Recorded depth can be judged without any image.
    chosen = _find_depth(image, with_predictions.depths) if predictions else None
    shows_depth = chosen is not None
    if not shows_depth:
        chosen = _choose(meant, "images", images, named=everything.images, reader=reader)
    if chosen is None:
        depths = (name for name in predictions if name in with_predictions.depths)
        chosen = next(depths, None)
        shows_depth = chosen is not None
    if chosen is None:
        hints = [*_unread(reader, UNREAD_IMAGES), *reader.notes]
        if everything.images:
            hints.insert(0, "Those that a depth node publishes are selected by --image-topic")
        raise ReplayError(
            ". ".join(
                (f"bag {reader.path} has no images; it has {_listing(reader.topics)}", *hints)
            )
        )
    node_topics |= {name for name in everything.clouds if is_node_cloud(reader, name, chosen)}
    info = _find_camera_info(camera_info, chosen, everything, reader=reader)
    elsewhere: dict[str, str] = {}
    if unaligned is not None:
        for name in everything.depths:
            beside = calibration_beside(name)
            reason = unaligned(chosen, info, name, beside if beside in everything.infos else None)
            if reason:
                elsewhere[name] = f"{name} is not aligned to {chosen}: {reason}"
    topics = _find_truth(
        Topics(chosen, info, None, None, shows_depth=shows_depth),
        everything,
        depth=depth,
        cloud=cloud,
        truth=truth,
        elsewhere=elsewhere,
        node_topics=node_topics,
        reader=reader,
        advice=_ALIGN + _OWN_PIXELS if predictions else _ALIGN,
    )
    return dataclasses.replace(topics, notes=tuple(_notes(topics, image, node_topics)))


def _find_depth(wanted: str | None, depths: Collection[str]) -> str | None:
    """Return the topic of depth images that is named for images, if one is."""
    names = () if wanted is None else (wanted, f"/{wanted}")
    return next((name for name in names if name in depths), None)


def _notes(topics: Topics, image: str | None, node_topics: Collection[str]) -> list[str]:
    """Return sentences on names that mislead."""
    notes = []
    if topics.shows_depth:
        why = "The bag has no images: pictures" if image is None else "Pictures"
        notes.append(f"{why} show the depth on {topics.image}.")
    elif image not in (None, topics.image):
        notes.append(f"The bag has no {image}: its images are read from {topics.image}.")
    alone = [name for name in sorted(node_topics) if name not in (topics.depth, topics.cloud)]
    for name in (topics.depth, topics.cloud):
        if name in node_topics:
            notes.append(
                f"{name} is named like a depth node's: if one made it, this compares "
                "predictions with predictions, not with the truth."
            )
    if alone:
        notes.append(
            f"Ignored, as a depth node publishes them: {', '.join(alone)}. What a sensor "
            "measured is selected by --depth-topic or --cloud-topic."
        )
    return notes


@dataclass(frozen=True)
class _Found:
    """Topics with messages, by use."""

    images: dict[str, Topic]
    infos: dict[str, Topic]
    depths: dict[str, Topic]
    clouds: dict[str, Topic]

    def without(self, names: Collection[str]) -> "_Found":
        """Return the topics other than `names`."""
        return _Found(*(_others(topics, names) for topics in vars(self).values()))


def _others(topics: Mapping[str, Topic], names: Collection[str]) -> dict[str, Topic]:
    return {name: topic for name, topic in topics.items() if name not in names}


def _sort(reader: BagReader) -> _Found:
    found = _Found({}, {}, {}, {})
    for name, topic in reader.topics.items():
        if not topic.count:
            continue
        if topic.type in IMAGES:
            (found.depths if _is_depth(reader, topic) else found.images)[name] = topic
        elif topic.type == CAMERA_INFO:
            found.infos[name] = topic
        elif topic.type == POINT_CLOUD:
            found.clouds[name] = topic
    return found


def _is_depth(reader: BagReader, topic: Topic) -> bool:
    """Return whether a topic's first message is a valid depth image."""
    first = next(reader.messages([topic.name]), None)
    try:
        message = None if first is None else first.message()
    except BagError:
        return False
    if message is None:
        return False
    if topic.type == IMAGE:
        return message.encoding in DEPTH_ENCODINGS
    return depth_encoding(message) is not None


def _without_siblings(images: Mapping[str, Topic]) -> dict[str, Topic]:
    """Drop the compressed copies of images; prefer lossless ones where no raw topic exists."""
    best: dict[str, str] = {}
    for name in sorted(images, key=lambda name: (not name.endswith("Depth"), name)):
        best.setdefault(base_topic(name), name)
    best |= {name: name for name in images if base_topic(name) == name}
    return {name: topic for name, topic in images.items() if name in best.values()}


def _choose(
    wanted: str | None,
    what: str,
    candidates: Mapping[str, Topic],
    *,
    reader: BagReader,
    named: Mapping[str, Topic] | None = None,
) -> str | None:
    """Return the requested topic among `named`, else the only candidate; none if there is none."""
    if wanted is not None:
        allowed = candidates if named is None else named
        if wanted in allowed:
            return wanted
        option, topics = _OPTION_OF[what], reader.topics
        if wanted in topics:
            raise ReplayError(
                f"{option}: {_listing({wanted: topics[wanted]})} is none of the {what} of bag "
                f"{reader.path}: {_listing(allowed)}"
            )
        raise ReplayError(
            f"{option} {wanted} is not in bag {reader.path}; its {what}: "
            f"{_listing(allowed or topics)}"
        )
    if len(candidates) > 1:
        raise ReplayError(
            f"bag {reader.path} has several topics of {what}, choose with {_OPTION_OF[what]}: "
            f"{_listing(candidates)}"
        )
    return next(iter(candidates), None)


def _find_camera_info(
    wanted: str | None, image: str, found: _Found, *, reader: BagReader
) -> str | None:
    beside = calibration_beside(image)
    if wanted is None and beside in found.infos:
        return beside
    # The calibration beside other images is of another camera.
    others = {calibration_beside(name) for name in (*found.images, *found.depths)}
    free = {name: topic for name, topic in found.infos.items() if name not in others}
    return _choose(wanted, "camera_info", free, named=found.infos, reader=reader)


def _find_truth(
    topics: Topics,
    found: _Found,
    *,
    depth: str | None,
    cloud: str | None,
    truth: Truth,
    elsewhere: Mapping[str, str],
    node_topics: Set[str],
    reader: BagReader,
    advice: str,
) -> Topics:
    """Add the topic of depth images or of clouds, at most one of them, or why there is none."""
    if truth == "none":
        return dataclasses.replace(topics, no_truth="none is requested")
    measured = found.without(node_topics)
    if truth == "depth" or (truth == "auto" and cloud is None):
        depths = _without_siblings(measured.depths)
        if truth == "depth" and not depths:
            depths = _without_siblings(
                {name: topic for name, topic in found.depths.items() if _is_named_depth(name)}
            )
        aligned = _others(depths, elsewhere)
        wanted = depth
        if wanted is None and depths and not aligned and truth == "depth":
            wanted = next(iter(depths))
        name = _choose(wanted, "depth images", aligned, named=found.depths, reader=reader)
        if name is not None and name in elsewhere:
            raise ReplayError(f"{elsewhere[name]}: {advice}")
        if name is not None:
            return dataclasses.replace(topics, depth=name)
    if truth in ("auto", "lidar"):
        clouds = measured.clouds or (found.clouds if truth == "lidar" else {})
        name = _choose(cloud, "point clouds", clouds, named=found.clouds, reader=reader)
        if name is not None:
            return dataclasses.replace(topics, cloud=name)
    unread = (*_unread(reader, UNREAD_DEPTHS), *_unread(reader, UNREAD_CLOUDS))
    if truth in ("depth", "lidar"):
        what = "depth images" if truth == "depth" else "point clouds"
        raise ReplayError(
            ". ".join(
                (
                    f"bag {reader.path} has no {what}, which --truth {truth} requires; "
                    f"it has {_listing(reader.topics)}",
                    *unread,
                )
            )
        )
    reasons = [
        f"{reason}: {advice}" for name, reason in elsewhere.items() if name not in node_topics
    ]
    but = " but a depth node's" if node_topics & (found.depths.keys() | found.clouds.keys()) else ""
    reasons = reasons or [f"the bag has no depth images or clouds{but}"]
    return dataclasses.replace(topics, no_truth=". ".join((*reasons, *unread)))


def _is_named_depth(name: str) -> bool:
    return base_topic(name).endswith(f"/{DEPTH}")


def _unread(reader: BagReader, kinds: Mapping[str, str]) -> list[str]:
    """Return hints on topics of unsupported types."""
    return [
        f"{topic.name} ({topic.type}) is not read, it is {kinds[topic.type]}"
        for topic in reader.topics.values()
        if topic.type in kinds and topic.count
    ]


def _listing(topics: Mapping[str, Topic]) -> str:
    items = (
        f"{name} ({topic.count} {topic.type.replace('sensor_msgs/msg/', '')})"
        for name, topic in topics.items()
    )
    return ", ".join(items) or "none"
