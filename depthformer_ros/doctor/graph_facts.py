"""Facts about the ROS graph around depth nodes, and their JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthformer_core.bags.message_types import CAMERA_INFO, IMAGES, POINT_CLOUD

TYPES = (*IMAGES, CAMERA_INFO, POINT_CLOUD)
"""Types of the inspected topics."""


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscriber.

    Attributes:
        node: Full name of its node.
        type: Type of its messages.
        reliable: Whether it offers reliable delivery, or requests it.
        latched: Whether it keeps its last messages for later subscribers (transient local), or
            requests those.
    """

    node: str
    type: str
    reliable: bool = False
    latched: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A publisher and a subscriber of one type with QoS that does not fit.

    Attributes:
        publisher: Full name of the publisher's node.
        subscriber: Full name of the subscriber's node.
        reason: Which qualities of service do not fit.
    """

    publisher: str
    subscriber: str
    reason: str


@dataclass(frozen=True)
class GraphTopic:
    """A topic of one of `TYPES`.

    Attributes:
        name: Its full name.
        publishers: Its publishers, of any type.
        subscribers: Its subscribers, of any type.
        mismatches: Pairs of one type with QoS that does not fit.
    """

    name: str
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()


@dataclass(frozen=True)
class Stream:
    """Messages received on a topic.

    Attributes:
        topic: Name of the topic.
        count: Number of messages.
        rate: Messages a second; 0 for fewer than two messages.
        size: Width and height of the newest image, or of the images of the newest calibration;
            none where it cannot be read.
        encoding: Encoding of the newest image, or its format.
        problem: Why the newest message cannot be used, else empty.
        length: Bytes of the newest message.
        frame_id: frame_id of the newest message; None if that cannot be read.
        distorted: Whether the newest calibration has distortion.
    """

    topic: str
    count: int = 0
    rate: float = 0.0
    size: tuple[int, int] | None = None
    encoding: str = ""
    problem: str = ""
    length: int = 0
    frame_id: str | None = None
    distorted: bool = False


@dataclass(frozen=True)
class Status:
    """Newest status of a node on /diagnostics.

    Attributes:
        level: OK, WARN or ERROR; STALE is for aggregators.
        message: Its text.
        values: Its keys and values.
    """

    level: str
    message: str
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class NodeFacts:
    """A depth node.

    Attributes:
        name: Its full name.
        state: Label of its lifecycle state, empty without a response.
        status: Its newest status, if one came.
        rectify: Its parameter input.rectify, empty without a response.
    """

    name: str
    state: str
    status: Status | None = None
    rectify: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The graph as seen by one new node, which is not part of it.

    Attributes:
        rmw: The middleware.
        domain: The domain.
        discovery: Range of the discovery, see `discovery_range`.
        seconds: Time of receiving, seconds.
        nodes: Full names of all nodes; a name twice if two nodes have it.
        depth_nodes: Those of depth nodes.
        topics: Topics of `TYPES`.
        streams: Messages received on the topics of cameras.
        elsewhere: Full names of nodes in other domains, by domain; empty if this one has nodes.
    """

    rmw: str
    domain: int
    discovery: str
    seconds: float
    nodes: tuple[str, ...] = ()
    depth_nodes: tuple[NodeFacts, ...] = ()
    topics: tuple[GraphTopic, ...] = ()
    streams: tuple[Stream, ...] = ()
    elsewhere: Mapping[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Return the graph as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Graph":
        """Read the JSON of `to_json`."""
        values = json.loads(text)
        return cls(
            **{
                **values,
                "nodes": tuple(values["nodes"]),
                "depth_nodes": tuple(map(_depth_node, values["depth_nodes"])),
                "topics": tuple(map(_topic, values["topics"])),
                "streams": tuple(map(_stream, values["streams"])),
                "elsewhere": {int(key): tuple(names) for key, names in values["elsewhere"].items()},
            }
        )


def discovery_range(environment: Mapping[str, str]) -> str:
    """Return the range of the discovery: SUBNET, LOCALHOST or OFF, as ROS reads its variables."""
    if environment.get("ROS_LOCALHOST_ONLY") == "1":
        return "LOCALHOST"
    return environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET"


def _depth_node(values: Mapping[str, Any]) -> NodeFacts:
    status = values["status"]
    return NodeFacts(**{**values, "status": Status(**status) if status else None})


def _topic(values: Mapping[str, Any]) -> GraphTopic:
    def endpoints(key: str) -> tuple[Endpoint, ...]:
        return tuple(Endpoint(**endpoint) for endpoint in values[key])

    mismatches = tuple(Mismatch(**mismatch) for mismatch in values["mismatches"])
    return GraphTopic(values["name"], endpoints("publishers"), endpoints("subscribers"), mismatches)


def _stream(values: Mapping[str, Any]) -> Stream:
    size = values["size"]
    return Stream(**{**values, "size": None if size is None else (size[0], size[1])})
