"""Judges the ROS graph around depth nodes."""

from collections.abc import Sequence

from depthformer_core.data.message_types import IMAGES
from depthformer_core.doctor.cameras import (
    arguments,
    cameras,
    image_listing,
    listing,
    restart,
    stream_finding,
)
from depthformer_core.doctor.depth_node import DepthNodeJudge
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.doctor.graph_facts import Graph, Topic

_NODE = "ros2 run depthformer_ros depth_node"


def examine_graph(graph: Graph, *, wanted: Sequence[str] = ()) -> list[Finding]:
    """Judge a graph.

    Args:
        graph: What was seen of it.
        wanted: Full names of topics of cameras that the robot is expected to look through.
    """
    if not graph.nodes:
        return [_empty(graph)]
    findings = [_nodes(graph)]
    if not graph.depth_nodes:
        findings.append(_no_depth_node(graph))
    for node in graph.depth_nodes:
        findings += DepthNodeJudge(graph, node).findings()
    findings += [_wanted(graph, topic) for topic in wanted]
    return findings


def _where(graph: Graph) -> str:
    return f"domain {graph.domain}, discovery {graph.discovery}, {graph.rmw}"


def _empty(graph: Graph) -> Finding:
    if graph.elsewhere:
        seen = [f"{listing(names)} in domain {key}" for key, names in graph.elsewhere.items()]
        return problem(
            "nodes",
            f"none in {_where(graph)}; but there are {' and '.join(seen)}",
            cause="this shell has another ROS_DOMAIN_ID than the robot",
            advice=f"export ROS_DOMAIN_ID={next(iter(graph.elsewhere))}",
        )
    advice = (
        "on the robot, see `printenv | grep -e ROS -e RMW` where its nodes are started: the same "
        "must be set here. Between machines, let UDP ports 7400 and up through the firewall, and "
        "multicast; a container wants --net=host --ipc=host"
    )
    if graph.discovery != "SUBNET":
        advice = f"{_open_discovery(graph)}, if the robot is another machine; {advice}"
    return problem(
        "nodes",
        f"none in {_where(graph)}",
        cause="nothing runs, or in another ROS_DOMAIN_ID, or where discovery does not get to",
        advice=advice,
    )


def _open_discovery(graph: Graph) -> str:
    return (
        f"discovery is {graph.discovery}: unset ROS_LOCALHOST_ONLY; "
        "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET"
    )


def _nodes(graph: Graph) -> Finding:
    found = f"{len(graph.nodes)} in {_where(graph)}: {listing(graph.nodes)}"
    twice = sorted({name for name in graph.nodes if graph.nodes.count(name) > 1})
    if twice:
        return warning(
            "nodes",
            found,
            cause=f"{', '.join(twice)} there are several times: services and parameters reach any "
            "one of them",
            advice="end those that are left over, or give each a name (-r __node:=NAME) or a "
            "namespace (-r __ns:=/NAMESPACE)",
        )
    return ok("nodes", found)


def _no_depth_node(graph: Graph) -> Finding:
    images = cameras(graph, "/image")
    topic = images[0] if images else None
    start = f"{_NODE} --ros-args {arguments(graph, topic)}" if topic else _NODE
    return problem(
        "depth node",
        "none",
        cause="it was not started, has ended, or runs where discovery does not get to",
        advice=f"start it: {start}",
    )


def _wanted(graph: Graph, name: str) -> Finding:
    """Judge a topic that somebody asked for."""
    topic = next((topic for topic in graph.topics if topic.name == name), Topic(name))
    publishers = [end for end in topic.publishers if end.type in IMAGES]
    subject = "camera"
    if not publishers:
        return problem(
            subject,
            f"nobody publishes images on {name}; they are on {image_listing(graph, name)}",
            cause="the camera's driver does not run, or its topic has another name",
            advice="start the driver, or take one of those",
        )
    kind = publishers[0].type
    names = {node.name for node in graph.depth_nodes}
    if names and not any(e.node in names and e.type == kind for e in topic.subscribers):
        return problem(
            subject,
            f"no active depth node of {listing(sorted(names))} subscribes to {name}",
            advice=restart(graph, (topic, kind)),
        )
    return stream_finding(graph, subject, name, publishers)
