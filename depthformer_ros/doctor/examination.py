"""All checks, in order."""

from collections.abc import Iterator, Sequence

from depthformer_core.doctor.finding import Finding
from depthformer_core.doctor.machine import examine_machine, gather_machine
from depthformer_core.doctor.network import examine_network, gather_network
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.ros import RosError, examine_ros, gather_graph, gather_ros, ros_failure


def examine(
    checkpoint: str, *, device: str, topics: Sequence[str]
) -> Iterator[tuple[str, list[Finding]]]:
    """Check everything, part by part, lazily.

    Args:
        checkpoint: As for `DepthPredictor.from_checkpoint`.
        device: As for `DepthPredictor.from_checkpoint`.
        topics: Expected topics of cameras.

    Yields:
        The name of a part, and what was found there.
    """
    yield "Machine", examine_machine(gather_machine(checkpoint))
    yield "Network", examine_network(gather_network(checkpoint, device=device))
    ros = gather_ros()
    yield "ROS 2", examine_ros(ros)
    if not ros.usable:
        return
    topics = [f"/{topic.lstrip('/')}" for topic in topics]
    try:
        graph = gather_graph(topics)
    except RosError as error:
        yield "Graph", [ros_failure(str(error))]
        return
    yield "Graph", examine_graph(graph, wanted=topics)
