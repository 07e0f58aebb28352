"""The topics of a bag that are played, and their QoS."""

import importlib
import re
from collections.abc import Iterable, Mapping

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from depthformer_core.bags import Topic
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.message_types import IMAGES, POINT_CLOUD
from depthformer_core.bags.node_topics import is_output
from depthformer_core.bags.topics import find_image_topic

CLOCK = "/clock"

_MESSAGE_TYPE = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")
# Reports of nodes: recorded ones would pass for those of live nodes.
_OF_NODES = ("/diagnostics", "/rosout", "/parameter_events")
_STATIC = "tf_static"
_DEPTH = 10
_MOST_LATCHED = 1000


def frames_topic(topics: Mapping[str, Topic], wanted: str, *, bag: object, prefix: str) -> str:
    """Find the topic of the frames, see `find_image_topic`.

    Args:
        topics: Those of the bag.
        wanted: The requested name.
        bag: The bag's path, for messages.
        prefix: Prefix of the node's topics, from its namespace.

    Raises:
        ReplayError: There is none, or the depth node publishes on it.
    """
    images = [topic.name for topic in topics.values() if topic.type in IMAGES]
    found = find_image_topic(wanted, images)
    if found not in images:
        raise ReplayError(
            f"bag {bag} has no images on {wanted}; it has them on {', '.join(images) or 'no topic'}"
        )
    if is_output(found, prefix):
        raise ReplayError(
            f"the depth node publishes on {found} itself: start it in a namespace, and pass that "
            "as --namespace"
        )
    return found


def is_live(topic: str, prefix: str) -> bool:
    """Return whether the player or a live node publishes a topic."""
    transitions = f"{prefix}/depthformer/transition_event"
    return topic in (CLOCK, *_OF_NODES, transitions) or is_output(topic, prefix)


def is_latched(topic: Topic) -> bool:
    """Return whether late subscribers get the recorded messages of a topic.

    They get static transforms, and single messages such as a calibration or a robot's description.
    """
    once = topic.count == 1 and topic.type not in (*IMAGES, POINT_CLOUD)
    return once or topic.name.rpartition("/")[2] == _STATIC


def output_qos(topic: Topic) -> QoSProfile:
    """Return the QoS of a played topic; it fits any subscriber."""
    latched = is_latched(topic)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=min(max(_DEPTH, topic.count), _MOST_LATCHED) if latched else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def message_classes(topics: Iterable[Topic]) -> dict[str, type | None]:
    """Return the message class of each topic, by its name; None if it is not installed."""
    return {topic.name: _message_class(topic.type) for topic in topics}


def _message_class(name: str) -> type | None:
    # A bag may call a type anything.
    if not _MESSAGE_TYPE.fullmatch(name):
        return None
    package, _, kind = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind, None)
    except ModuleNotFoundError:
        return None
