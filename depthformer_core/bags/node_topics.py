"""Topics that a depth node publishes, and their recognition in a bag."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGES,
    POINT_CLOUD,
    base_topic,
)

if TYPE_CHECKING:
    from depthformer_core.bags.reader import BagReader, Topic

DEPTH = "depth/image_rect"
CLOUD = "points"
UNCERTAINTY = "depth/uncertainty"
COLOR = "depth/color"
DEPTH_CAMERA_INFO = "depth/camera_info"
DEPTH_RGB = "depth/image_rect_color"
DEPTH_TRANSPORT = "compressedDepth"
COLOR_TRANSPORT = "compressed"

OUTPUTS = {
    DEPTH: IMAGE,
    DEPTH_CAMERA_INFO: CAMERA_INFO,
    CLOUD: POINT_CLOUD,
    COLOR: IMAGE,
    UNCERTAINTY: IMAGE,
    DEPTH_RGB: IMAGE,
    f"{DEPTH}/{DEPTH_TRANSPORT}": COMPRESSED_IMAGE,
    f"{COLOR}/{COLOR_TRANSPORT}": COMPRESSED_IMAGE,
}
"""Types of the data topics by their names, relative to the node's namespace."""

# No camera's driver calls images so; several call theirs depth/image_rect_raw or
# depth_registered/image_rect, and clouds of a simulated one are on points.
_DISTINCTIVE = (DEPTH, COLOR, UNCERTAINTY)
_CLOUD_FIELDS = ["x", "y", "z", "rgb"]
_CLOUD_STEP = 16


def node_prefix(namespace: str) -> str:
    """Return the prefix of topics in a namespace: `/robot` for `robot/`, empty for `/`."""
    name = namespace.strip("/")
    return f"/{name}" if name else ""


def is_output(topic: str, prefix: str) -> bool:
    """Return whether a depth node publishes a topic, or its images in another transport.

    Args:
        topic: Name of the topic.
        prefix: As of `node_prefix`.
    """
    base = base_topic(topic)
    return base.startswith(f"{prefix}/") and base.removeprefix(f"{prefix}/") in OUTPUTS


def find_node_topics(topics: "Mapping[str, Topic]") -> set[str]:
    """Find the topics of a bag that a depth node seems to have published.

    They are recognized by the names of its images; a camera's own depth has others.

    Args:
        topics: The topics by name.
    """
    prefixes = set()
    for topic in topics.values():
        base = base_topic(topic.name)
        for output in _DISTINCTIVE:
            if topic.type in IMAGES and base.endswith(f"/{output}"):
                prefixes.add(base.removesuffix(f"/{output}"))
    return {name for name in topics for prefix in prefixes if is_output(name, prefix)}


def is_node_cloud(reader: "BagReader", cloud: str, image: str) -> bool:
    """Return whether a depth node made a cloud that lies beside none of the node's other topics.

    It has the node's name for it, and a point for each pixel, in the frame of the images
    and laid out as the node does.

    Args:
        reader: The open bag.
        cloud: Topic of the cloud.
        image: Topic of the images.
    """
    if cloud.rpartition("/")[2] != CLOUD:
        return False
    points, pixels = _first(reader, cloud), _first(reader, image)
    if points is None or pixels is None:
        return False
    return bool(
        points.height > 1
        and points.point_step == _CLOUD_STEP
        and [field.name for field in points.fields] == _CLOUD_FIELDS
        and points.header.frame_id.lstrip("/") == pixels.header.frame_id.lstrip("/")
    )


def _first(reader: "BagReader", topic: str) -> Any | None:
    """Return the first message of a topic; none if it is damaged."""
    first = next(reader.messages([topic]), None)
    try:
        return None if first is None else first.message()
    except BagError:
        return None
