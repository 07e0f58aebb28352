"""Cameras in the ROS graph: which there are, what comes from them, how a depth node gets it."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from depthformer_core.data.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, IMAGES
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.doctor.graph_facts import Endpoint, Graph, Stream, Topic

COMPRESSED = "/compressed"
"""How names of topics with compressed images end."""

ImageTopic = tuple[Topic, str]
"""A topic with images, and their type."""

# Topics and nodes that a finding lists.
_LISTED = 6
_SHORT_TYPES = {IMAGE: "Image", COMPRESSED_IMAGE: "CompressedImage"}


def cameras(graph: Graph, name: str, kind: str = "") -> list[ImageTopic]:
    """List topics with images of cameras, and their types: the likest to a name first.

    Args:
        graph: The graph.
        name: A topic's name.
        kind: Type that goes before others of equal likeness.
    """
    own = {node.name for node in graph.depth_nodes}
    found = []
    for topic in graph.topics:
        kinds = [end.type for end in topic.publishers if end.node not in own]
        found += [(topic, k) for k in dict.fromkeys(kinds) if k in IMAGES]

    def order(camera: ImageTopic) -> tuple[bool, float, bool]:
        topic, found_kind = camera
        base = topic.name.removesuffix(COMPRESSED)
        # What a depth camera measures is no picture.
        likeness = _likeness(base, name.removesuffix(COMPRESSED))
        return "depth" in base, -likeness, found_kind != (kind or IMAGE)

    return sorted(found, key=order)


def _likeness(name: str, other: str) -> float:
    """How alike two topics' names are, 0 to 1."""
    return SequenceMatcher(None, name, other).ratio()


def arguments(graph: Graph, camera: ImageTopic, *, taken: str = "") -> str:
    """Write the arguments that make a depth node take the images of a topic.

    Args:
        graph: The graph.
        camera: The topic, and the type of its images.
        taken: Type that the node takes now, if one runs.
    """
    topic, kind = camera
    words = f"-r image:={topic.name}"
    if kind == COMPRESSED_IMAGE:
        words = f"-p image_transport:=compressed -r image/compressed:={topic.name}"
    elif taken == COMPRESSED_IMAGE:
        words = f"-p image_transport:=raw {words}"
    info = calibration_beside(topic.name)
    return f"{words} -r camera_info:={info}" if published(graph, info, CAMERA_INFO) else words


def _launch_arguments(graph: Graph, camera: ImageTopic) -> str:
    """Write the same for kitti_camera.launch.py; empty where it has no argument for that."""
    topic, kind = camera
    compressed = kind == COMPRESSED_IMAGE
    if compressed and not topic.name.endswith(COMPRESSED):
        return ""
    words = f"image_topic:={topic.name.removesuffix(COMPRESSED) if compressed else topic.name}"
    if compressed:
        words += " image_transport:=compressed"
    info = calibration_beside(topic.name)
    return f"{words} camera_info_topic:={info}" if published(graph, info, CAMERA_INFO) else words


def restart(graph: Graph, camera: ImageTopic, *, taken: str = "") -> str:
    """Advise to start the node so that it takes the images of a topic."""
    advice = f"start the node with: --ros-args {arguments(graph, camera, taken=taken)}"
    launch = _launch_arguments(graph, camera)
    return f"{advice}  (launch file: {launch})" if launch else advice


def calibration_beside(image: str) -> str:
    """Name the topic of the calibration that belongs to a topic of images."""
    return f"{image.removesuffix(COMPRESSED).rpartition('/')[0]}/camera_info"


def calibrations(graph: Graph, name: str) -> list[str]:
    """List topics with calibrations of cameras, the likest to a name first."""
    names = [topic.name for topic in graph.topics if published(graph, topic.name, CAMERA_INFO)]
    return sorted(names, key=lambda found: -_likeness(found, name))


def published(graph: Graph, name: str, kind: str) -> list[Endpoint]:
    """Find who publishes a topic with a type, but for depth nodes."""
    own = {node.name for node in graph.depth_nodes}
    return [
        end
        for topic in graph.topics
        if topic.name == name
        for end in topic.publishers
        if end.type == kind and end.node not in own
    ]


def stream_of(graph: Graph, name: str) -> Stream:
    """Find what came on a topic; nothing where nobody listened."""
    return next((stream for stream in graph.streams if stream.topic == name), Stream(name))


def shown_size(stream: Stream) -> str:
    """Write the size of the images, `640x480`; empty where it is not known."""
    return f"{stream.size[0]}x{stream.size[1]}" if stream.size else ""


def image_listing(graph: Graph, name: str) -> str:
    """List topics with images and their types in a row, the likest to a name first."""
    return listing([f"{topic.name} ({_SHORT_TYPES[kind]})" for topic, kind in cameras(graph, name)])


def listing(names: Sequence[str]) -> str:
    """List names in a row, the first few of many; `nothing` for none."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - _LISTED} more" if len(unique) > _LISTED else ""
    return (", ".join(unique[:_LISTED]) or "nothing") + more


def stream_finding(
    graph: Graph, subject: str, name: str, publishers: Sequence[Endpoint], *, taken: float = 0.0
) -> Finding:
    """Judge what came on a topic of images.

    Args:
        graph: The graph.
        subject: What was checked.
        name: The topic.
        publishers: Who publishes it.
        taken: Images a second that the depth node says it gets.
    """
    stream = stream_of(graph, name)
    nodes = listing([end.node for end in publishers])
    if not stream.count:
        found = f"{nodes} publishes {name}, but no image came in {graph.seconds:g} s"
        if taken:
            return warning(
                subject,
                f"{found}; the node gets {taken:.1f} a second",
                cause="the camera has just stopped, or its large messages do not all get through",
                advice="run this again",
            )
        return problem(
            subject,
            found,
            cause="the driver runs without a camera or waits for something; or what it sends does "
            "not get here, as from a container without --ipc=host or over a bad network",
            advice=f"compare `ros2 topic hz {name}` on the driver's machine; look into its log",
        )
    rate = f"{stream.rate:.1f} a second" if stream.rate else f"one in {graph.seconds:g} s"
    if stream.problem:
        return problem(
            subject,
            f"{name}: images come ({rate}), but cannot be used: {stream.problem}",
            advice="change the driver's encoding or format",
        )
    about = ", ".join(filter(None, (rate, shown_size(stream), stream.encoding)))
    return ok(subject, f"{name}: {about}, from {nodes}")
