"""The judgement of a camera's images: that they arrive, all of them, and their frame."""

from collections.abc import Iterator, Sequence

from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    calibration_beside,
)
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_ros.doctor.cameras import (
    listing,
    other_form,
    published,
    shown_size,
    stream_of,
    verb,
)
from depthformer_ros.doctor.commands import start
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, NodeFacts, Stream

# A driver sends as many images as camera_info: fewer than this share of them is a loss.
_COMPLETE = 0.8
# Number of camera_info messages from which on their rate is meaningful.
_FEW = 5
_SEGMENT = 0.5  # MB of shared memory that a process writes through by Fast DDS's defaults
_PROFILE = (
    "export FASTRTPS_DEFAULT_PROFILES_FILE="
    "$(ros2 pkg prefix --share depthformer_ros)/config/large_messages.xml"
)


def image_findings(
    graph: Graph,
    subject: str,
    name: str,
    publishers: Sequence[Endpoint],
    *,
    node: NodeFacts | None = None,
    taken: float = 0.0,
) -> Iterator[Finding]:
    """Judge the messages of a topic of images.

    Args:
        graph: The graph.
        subject: Subject of the findings.
        name: The topic.
        publishers: Its publishers.
        node: The depth node that subscribes to it, if one is judged.
        taken: Images a second that this node reports.
    """
    stream = stream_of(graph, name)
    nodes = [end.node for end in publishers]
    if not stream.count:
        yield _nothing(graph, subject, name, publishers, taken=taken)
        return
    rate = f"{stream.rate:.1f} images a second"
    if not stream.rate:
        rate = f"one image in {graph.seconds:g} s"
    if stream.problem:
        yield problem(
            subject,
            f"{name}: {rate}, which cannot be used: {stream.problem}",
            advice="change the encoding or the format that the driver sends",
        )
        return
    lost = _loss(graph, subject, stream, publishers, node=node, taken=taken)
    about = ", ".join(filter(None, (rate, shown_size(stream), stream.encoding)))
    yield lost or ok(subject, f"{name}: {about}, from {listing(nodes)}")
    yield from _frame(subject, stream)


def _nothing(
    graph: Graph, subject: str, name: str, publishers: Sequence[Endpoint], *, taken: float
) -> Finding:
    """Judge that no image came, although the topic is published."""
    nodes = [end.node for end in publishers]
    found = f"{listing(nodes)} {verb(nodes, 'publishes')} {name}, but no image came"
    found += f" in {graph.seconds:g} s"
    if taken:
        return warning(
            subject,
            f"{found}; the node reports {taken:.1f} a second",
            cause="the camera has just stopped, or images are lost in transit to here",
            advice="run this again",
        )
    infos = _infos(graph, name, publishers)
    if infos.count >= _FEW:
        return problem(
            subject,
            f"{found}, while {infos.rate:.1f} camera_info a second came on {infos.topic}",
            cause="all images are lost in transit: they do not fit the transport, the network is "
            "bad, or a container runs without --ipc=host",
            advice=_more_room(graph, stream_of(graph, name), publishers),
        )
    return problem(
        subject,
        found,
        cause="the driver runs without a camera or waits for something; or what it sends does "
        "not get here, as from a container without --ipc=host or over a bad network",
        advice=f"compare `ros2 topic hz {name}` on the driver's machine; read its log",
    )


def _infos(graph: Graph, name: str, publishers: Sequence[Endpoint]) -> Stream:
    """Return the camera_info that the driver of a topic's images sends with each of them."""
    topic = calibration_beside(name)
    drivers = {end.node for end in publishers}
    if drivers.isdisjoint(end.node for end in published(graph, topic, CAMERA_INFO)):
        return Stream(topic)
    return stream_of(graph, topic)


def _loss(
    graph: Graph,
    subject: str,
    stream: Stream,
    publishers: Sequence[Endpoint],
    *,
    node: NodeFacts | None,
    taken: float,
) -> Finding | None:
    """Judge whether images get lost between the driver and here, or the node."""
    infos = _infos(graph, stream.topic, publishers)
    nodes = [end.node for end in publishers]
    rate = stream.rate or stream.count / graph.seconds
    if infos.count >= _FEW and rate < _COMPLETE * infos.rate:
        return warning(
            subject,
            f"{stream.topic}: {rate:.1f} images a second came, but {infos.rate:.1f} camera_info a "
            f"second on {infos.topic}, both from {listing(nodes)}: the other images are missing",
            cause=_why(graph, stream),
            advice=_more_room(graph, stream, publishers, node=node),
        )
    if node is None or not 0 < taken < _COMPLETE * rate or not _requests_less(graph, stream, node):
        return None
    return warning(
        subject,
        f"{stream.topic}: {rate:.1f} images a second came here, {taken:.1f} to the node",
        cause=f"{listing(nodes)} {verb(nodes, 'publishes')} reliable, the node subscribes best "
        "effort: lost messages are not sent again",
        advice="take qos_overrides of the image's subscription out of the node's parameters, and "
        "restart it",
    )


def _requests_less(graph: Graph, stream: Stream, node: NodeFacts) -> bool:
    """Return whether a node requests less than all publishers of a topic offer."""
    topic = next(topic for topic in graph.topics if topic.name == stream.topic)
    own = [end for end in topic.subscribers if end.node == node.name]
    return all(end.reliable for end in topic.publishers) and not any(end.reliable for end in own)


def _why(graph: Graph, stream: Stream) -> str:
    """Return why images get lost."""
    if "fastrtps" in graph.rmw and stream.length > _SEGMENT * 1e6:
        cause = (
            f"an image has {stream.length / 1e6:.1f} MB, and a driver with Fast DDS's defaults "
            f"writes through {_SEGMENT} MB of shared memory"
        )
    else:
        cause = "the network or this machine cannot keep up"
    return f"{cause}; or the driver sends fewer images than camera_info on purpose"


def _more_room(
    graph: Graph, stream: Stream, publishers: Sequence[Endpoint], *, node: NodeFacts | None = None
) -> str:
    """Return advice that lets more images through."""
    options = []
    camera = other_form(graph, stream.topic, IMAGE)
    if camera is not None and camera[1] == COMPRESSED_IMAGE:
        command = start(graph, camera, node=node.name if node else "")
        options.append(f"take the compressed images: {command}")
    if "fastrtps" not in graph.rmw:
        options.append("on both machines: sudo sysctl -w net.core.rmem_max=2147483647")
    elif not 0 < stream.length <= _SEGMENT * 1e6:
        options.append(
            f"start the driver after: {_PROFILE} (from Kilted on FASTDDS_DEFAULT_PROFILES_FILE)"
        )
    else:
        options.append(f"compare `ros2 topic hz {stream.topic}` here and on the driver's machine")
    if not all(end.reliable for end in publishers):
        options.append("let the driver publish reliable")
    return "; or ".join(options)


def _frame(subject: str, stream: Stream) -> Iterator[Finding]:
    """Judge the frame_id of the images, which depth and cloud have too."""
    if stream.frame_id == "":
        yield warning(
            subject,
            f"{stream.topic}: the frame_id is empty",
            cause="depth and cloud get it from the image, and tf2 transforms nothing without one: "
            "RViz shows no cloud, Nav2 uses none",
            advice="set the driver's frame_id, as to camera_optical_frame",
        )
    elif stream.frame_id and stream.frame_id.startswith("/"):
        yield warning(
            subject,
            f"{stream.topic}: the frame_id {stream.frame_id} has a slash in front",
            cause="tf2 refuses such names",
            advice=f"set the driver's frame_id to {stream.frame_id.lstrip('/')}",
        )
