"""The judgement of the ROS graph around depth nodes."""

from collections.abc import Iterator, Sequence

from depthformer_core.bags.message_types import COMPRESSED, COMPRESSED_IMAGE, IMAGE, IMAGES
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_ros.doctor.cameras import (
    ImageTopic,
    cameras,
    listing,
    nobody_publishes,
    other_form,
)
from depthformer_ros.doctor.commands import start, start_on
from depthformer_ros.doctor.depth_node import DepthNodeJudge
from depthformer_ros.doctor.graph_facts import Graph, GraphTopic
from depthformer_ros.doctor.images import image_findings


def examine_graph(graph: Graph, *, wanted: Sequence[str] = ()) -> list[Finding]:
    """Judge a graph.

    Args:
        graph: The facts.
        wanted: Full names of the expected topics of cameras, with `/compressed` or without.
    """
    if not graph.nodes:
        return [_empty(graph)]
    findings = [_nodes(graph)]
    if not graph.depth_nodes:
        findings.append(_no_depth_node(graph))
    for node in graph.depth_nodes:
        findings += DepthNodeJudge(graph, node).findings()
    for topic in wanted:
        findings += _wanted(graph, topic)
    return findings


def _where(graph: Graph) -> str:
    return f"domain {graph.domain}, discovery {graph.discovery}, {graph.rmw}"


def _empty(graph: Graph) -> Finding:
    found = f"none in {_where(graph)}"
    if graph.elsewhere:
        seen = [f"{listing(names)} in domain {key}" for key, names in graph.elsewhere.items()]
        return problem(
            "nodes",
            f"{found}; but there are {' and '.join(seen)}",
            cause="this shell has another ROS_DOMAIN_ID than the robot",
            advice=f"export ROS_DOMAIN_ID={next(iter(graph.elsewhere))}",
        )
    advice = (
        "run `printenv | grep -e ROS -e RMW` where the robot's nodes are started, and set the same "
        "here. Between machines, let UDP ports 7400 and up through the firewall, and multicast; a "
        "container wants --net=host --ipc=host"
    )
    if graph.discovery != "SUBNET":
        advice = f"{_open_discovery(graph)}, if the robot is another machine; {advice}"
    return problem(
        "nodes",
        found,
        cause="nothing runs, or it runs in another ROS_DOMAIN_ID or where discovery does not reach",
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
            cause=f"several nodes have the same name: {', '.join(twice)}. Calls of services and "
            "changes of parameters reach any one of them",
            advice="end the unwanted ones, or start each with a name (-r __node:=NAME) or a "
            "namespace (-r __ns:=/NAMESPACE)",
        )
    return ok("nodes", found)


def _no_depth_node(graph: Graph) -> Finding:
    images = cameras(graph, "/image")
    if images:
        advice = f"start it: {start(graph, images[0])}"
    else:
        advice = (
            "start the camera's driver; `ros2 topic list -t` shows which topic it publishes. "
            f"Then: {start_on('TOPIC')}"
        )
    return problem(
        "depth node",
        "none",
        cause="it was not started, has ended, or runs where discovery does not reach",
        advice=advice,
    )


def _wanted(graph: Graph, name: str) -> Iterator[Finding]:
    """Judge an expected topic."""
    topic = next((topic for topic in graph.topics if topic.name == name), GraphTopic(name))
    publishers = [end for end in topic.publishers if end.type in IMAGES]
    subject = "camera"
    if not publishers:
        yield _not_there(graph, name)
        return
    kind = publishers[0].type
    names = {node.name for node in graph.depth_nodes}
    if names and not any(e.node in names and e.type == kind for e in topic.subscribers):
        yield problem(
            subject,
            f"no active depth node subscribes to {name}; there are: {listing(sorted(names))}",
            advice=f"end the node and restart it: {_start_kept(graph, (topic, kind))}",
        )
        return
    yield from image_findings(graph, subject, name, publishers)


def _start_kept(graph: Graph, camera: ImageTopic) -> str:
    """Return the command that restarts the only depth node, or starts another one."""
    name = graph.depth_nodes[0].name if len(graph.depth_nodes) == 1 else ""
    return start(graph, camera, node=name)


def _not_there(graph: Graph, name: str) -> Finding:
    """Judge that an expected topic has no images."""
    kind = COMPRESSED_IMAGE if name.endswith(COMPRESSED) else IMAGE
    images = cameras(graph, name)
    found = other_form(graph, name, kind)
    if found is not None:
        return problem(
            "camera",
            f"nobody publishes {name}, but {found[0].name} is published",
            cause="the camera's images come in another form",
            advice=f"let the node take it: {_start_kept(graph, found)}",
        )
    advice = "start the camera's driver"
    if images:
        advice += f", or take {images[0][0].name}: {_start_kept(graph, images[0])}"
    return problem(
        "camera",
        nobody_publishes(graph, name),
        cause="the camera's driver does not run, or its topic has another name",
        advice=advice,
    )
