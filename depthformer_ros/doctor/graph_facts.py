"""What there is to know of the ROS graph around depth nodes, and the same as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depthformer_core.bags.message_types import CAMERA_INFO, IMAGES, POINT_CLOUD

TYPES = (*IMAGES, CAMERA_INFO, POINT_CLOUD)
"""Types of the topics that are looked at."""


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscriber.

    Attributes:
        node: Full name of its node.
        type: Type of its messages.
        reliable: Whether it offers reliable delivery, or asks for it.
        latched: Whether it keeps its last messages for whoever subscribes later (transient
            local), or asks for those.
    """

    node: str
    type: str
    reliable: bool = False
    latched: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A publisher and a subscriber of one type that never meet.

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
        publishers: Who publishes it, of whatever type.
        subscribers: Who subscribes to it, of whatever type.
        mismatches: Who of them never meets, though of one type.
    """

    name: str
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()


@dataclass(frozen=True)
class Stream:
    """What came on a topic while one listened.

    Attributes:
        topic: Name of the topic.
        count: Messages that came.
        rate: Messages a second; 0 where fewer than two came.
        size: Width and height of the newest image, or of the images of the newest calibration;
            none where it cannot be read.
        encoding: Encoding of the newest image, or its format.
        problem: Why the newest message cannot be used, else empty.
        length: Bytes of the newest message.
        frame_id: Of the newest message; none where it cannot be read.
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
    """What a node last said on /diagnostics.

    Attributes:
        level: OK, WARN or ERROR; STALE is for aggregators.
        message: Why, in words.
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
        state: Label of its lifecycle state, empty if it does not answer.
        status: Its newest status, if one came.
        rectify: Its parameter input.rectify, empty if it does not answer.
    """

    name: str
    state: str
    status: Status | None = None
    rectify: str = ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The graph as seen from one new node in it, which is not part of it.

    Attributes:
        rmw: The middleware.
        domain: The domain.
        discovery: How far nodes are looked for, see `discovery_range`.
        seconds: Time that was listened, seconds.
        nodes: Full names of all nodes; twice the same one where two have it.
        depth_nodes: Those of depth nodes.
        topics: Topics of `TYPES`.
        streams: What came on the topics of cameras.
        elsewhere: Full names of nodes by domain, looked for where this one has none.
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
        """Write it down."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Graph":
        """Read what `to_json` wrote."""
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
    """How far nodes are looked for: SUBNET, LOCALHOST or OFF, as ROS reads its variables."""
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
