"""Cameras in the ROS graph: their topics and messages."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED,
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGES,
)
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, GraphTopic, Stream

ImageTopic = tuple[GraphTopic, str]
"""A topic with images, and their type."""

# Topics and nodes that a finding lists.
_LISTED = 6
_SHORT_TYPES = {IMAGE: "Image", COMPRESSED_IMAGE: "CompressedImage"}


def cameras(graph: Graph, name: str, kind: str = "") -> list[ImageTopic]:
    """List topics with images of cameras, and their types: the most similar to a name first.

    Args:
        graph: The graph.
        name: A topic's name.
        kind: Type that is preferred among equal names.
    """
    own = {node.name for node in graph.depth_nodes}
    found = []
    for topic in graph.topics:
        kinds = [end.type for end in topic.publishers if end.node not in own]
        found += [(topic, k) for k in dict.fromkeys(kinds) if k in IMAGES]

    def order(camera: ImageTopic) -> tuple[bool, float, bool]:
        topic, found_kind = camera
        base = topic.name.removesuffix(COMPRESSED)
        # The images of a depth camera are no pictures.
        similarity = _similarity(base, name.removesuffix(COMPRESSED))
        return "depth" in base, -similarity, found_kind != (kind or IMAGE)

    return sorted(found, key=order)


def _similarity(name: str, other: str) -> float:
    """Return the similarity of two topics' names, 0 to 1."""
    return SequenceMatcher(None, name, other).ratio()


def calibrations(graph: Graph, name: str) -> list[str]:
    """List topics with calibrations of cameras, the most similar to a name first."""
    names = [topic.name for topic in graph.topics if published(graph, topic.name, CAMERA_INFO)]
    return sorted(names, key=lambda found: -_similarity(found, name))


def published(graph: Graph, name: str, kind: str) -> list[Endpoint]:
    """Return the publishers of a topic with a type, except depth nodes."""
    own = {node.name for node in graph.depth_nodes}
    return [
        end
        for topic in graph.topics
        if topic.name == name
        for end in topic.publishers
        if end.type == kind and end.node not in own
    ]


def stream_of(graph: Graph, name: str) -> Stream:
    """Return the messages of a topic; none if it was not subscribed to."""
    return next((stream for stream in graph.streams if stream.topic == name), Stream(name))


def shown_size(stream: Stream) -> str:
    """Format the size of the images, `640x480`; empty if unknown."""
    return f"{stream.size[0]}x{stream.size[1]}" if stream.size else ""


def nobody_publishes(graph: Graph, name: str) -> str:
    """State that a topic has no images, and which topics have some, the most similar first."""
    found = [f"{topic.name} ({_SHORT_TYPES[kind]})" for topic, kind in cameras(graph, name)]
    if not found:
        return f"nobody publishes {name}, and no other topic has images of a camera"
    return f"nobody publishes {name}; there are images on {listing(found)}"


def other_form(graph: Graph, name: str, kind: str) -> ImageTopic | None:
    """Find the images of a camera in the other form, raw for compressed and the reverse.

    Args:
        graph: The graph.
        name: Topic on which there are none of the type `kind`.
        kind: The type.
    """
    compressed = kind == COMPRESSED_IMAGE
    sibling = name.removesuffix(COMPRESSED) if compressed else name + COMPRESSED
    return next((found for found in cameras(graph, name) if found[0].name == sibling), None)


def listing(names: Sequence[str]) -> str:
    """List names in a row, the first few of many."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _LISTED} more" if len(unique) > _LISTED else ""
    return ", ".join(unique[:_LISTED]) + more


def verb(names: Sequence[str], one: str) -> str:
    """Return the verb after a list of names, from its singular such as `publishes`."""
    return one if len(set(names)) == 1 else one.removesuffix("s")
