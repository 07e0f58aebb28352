"""Graphs of ROS that tests of `depthformer doctor` judge."""

import dataclasses
from typing import Any

from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from depthformer_core.doctor import Level
from depthformer_ros.doctor.graph_facts import (
    Endpoint,
    Graph,
    GraphTopic,
    Mismatch,
    NodeFacts,
    Status,
    Stream,
)

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level

NAME = "/depthformer"
VALUES = {
    "mode": "active",
    "input rate (Hz)": "10.00",
    "output rate (Hz)": "9.80",
    "calibration": "640x480, fx 500.00",
}
RUNNING = NodeFacts(NAME, "active", Status("OK", "input running", VALUES))
ME = Endpoint(NAME, IMAGE)
DRIVER = "/camera/driver"


def topic(name: str, **ends: Any) -> GraphTopic:
    return GraphTopic(name, **ends)


def camera(name: str = "/camera/image_raw", kind: str = IMAGE, *, taken: bool = True) -> GraphTopic:
    ends = (Endpoint(NAME, kind),) if taken else ()
    return GraphTopic(name, (Endpoint(DRIVER, kind),), ends)


def info(name: str = "/camera/camera_info", *, taken: bool = True) -> GraphTopic:
    ends = (Endpoint(NAME, CAMERA_INFO),) if taken else ()
    return GraphTopic(name, (Endpoint(DRIVER, CAMERA_INFO),), ends)


def missing(name: str, kind: str) -> GraphTopic:
    """A topic that the node alone subscribes to."""
    return GraphTopic(name, (), (Endpoint(NAME, kind),))


def output(*subscribers: Endpoint, mismatches: tuple[Mismatch, ...] = ()) -> GraphTopic:
    return GraphTopic("/depth/image_rect", (Endpoint(NAME, IMAGE),), subscribers, mismatches)


JPEG = camera("/c/image/compressed", COMPRESSED_IMAGE, taken=False)
OUTPUT = output(Endpoint("/rviz", IMAGE))
IMAGES = Stream("/camera/image_raw", 20, 10.0, (640, 480), "rgb8", length=921700, frame_id="eye")
INFOS = Stream("/camera/camera_info", 20, 10.0, (640, 480), frame_id="eye")
GRAPH = Graph(
    rmw="rmw_fastrtps_cpp",
    domain=0,
    discovery="SUBNET",
    seconds=2.5,
    nodes=(DRIVER, NAME, "/rviz"),
    depth_nodes=(RUNNING,),
    topics=(camera(), info(), OUTPUT),
    streams=(IMAGES, INFOS),
)


def with_status(level: str, message: str, **values: str) -> dict[str, Any]:
    status = Status(level, message, {**VALUES, **values})
    return {"depth_nodes": (NodeFacts(NAME, "active", status),)}


def in_state(state: str, status: Status | None = None) -> dict[str, Any]:
    return {"depth_nodes": (NodeFacts(NAME, state, status),)}


def facts(*topics: GraphTopic, streams: tuple[Stream, ...] = ()) -> dict[str, Any]:
    return {"topics": topics, "streams": streams}


def reliable(
    topic: GraphTopic, *, publishers: bool = True, subscribers: bool = False
) -> GraphTopic:
    """The topic, with reliable delivery offered, and requested."""
    return dataclasses.replace(
        topic,
        publishers=tuple(dataclasses.replace(e, reliable=publishers) for e in topic.publishers),
        subscribers=tuple(dataclasses.replace(e, reliable=subscribers) for e in topic.subscribers),
    )


def latched(topic: GraphTopic, *, subscribers: bool = False) -> GraphTopic:
    """The topic, with the last message kept for later subscribers, and requested."""
    return dataclasses.replace(
        topic,
        publishers=tuple(dataclasses.replace(end, latched=True) for end in topic.publishers),
        subscribers=tuple(
            dataclasses.replace(end, latched=subscribers) for end in topic.subscribers
        ),
    )


def at_rates(images: float, infos: float = 30.0, **facts: Any) -> tuple[Stream, ...]:
    """Streams at these rates, messages a second."""
    return (
        dataclasses.replace(IMAGES, rate=images, count=int(2.5 * images), **facts),
        dataclasses.replace(INFOS, rate=infos, count=int(2.5 * infos)),
    )


ONCE = dataclasses.replace(INFOS, count=1, rate=0.0)
UNKNOWN = with_status("WARN", "no camera_info yet", calibration="no camera_info yet: no cloud")
LOST = f"5.2 images a second came, but 30.0 camera_info a second on {INFOS.topic}, both from"
