"""Facts about the ROS graph around depth nodes, for `depthformer doctor`, gathered read-only."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

from depthformer_core.bags.message_types import CAMERA_INFO, IMAGES, calibration_beside
from depthformer_ros.doctor.camera_subscriber import CLASSES, CameraSubscriber
from depthformer_ros.doctor.graph_facts import (
    TYPES,
    Endpoint,
    Graph,
    GraphTopic,
    Mismatch,
    NodeFacts,
    Status,
    discovery_range,
)
from depthformer_ros.doctor.node_query import NodeQuery
from depthformer_ros.node.diagnostics import described_node
from depthformer_ros.node.qos import matching_qos

# Seconds. Participants that miss each other's first announcements discover each other by the next
# ones, every 3 s.
_DISCOVERY = 3.5
_RECEIVE = 2.5
_STEP = 0.1
# Length of the queues: the rate counts all messages.
_DEPTH = 10
_OTHER_DOMAINS = range(11)

_LEVELS = {
    DiagnosticStatus.OK: "OK",
    DiagnosticStatus.WARN: "WARN",
    DiagnosticStatus.ERROR: "ERROR",
    DiagnosticStatus.STALE: "STALE",
}


class Observer:
    """A node of our own that observes the others.

    Args:
        node: The node.
        executor: Handles its messages.
    """

    def __init__(self, node: Node, executor: Executor) -> None:
        self._node = node
        self._executor = executor
        self._statuses: dict[str, Status] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def observe(
        self, topics: Sequence[str], *, discovery: float = _DISCOVERY, receive: float = _RECEIVE
    ) -> Graph:
        """Return the facts about the graph.

        Args:
            topics: Topics of images to subscribe to, besides those of depth nodes.
            discovery: Time to discover the graph, seconds.
            receive: Time to receive messages of the found topics, seconds.
        """
        self._statuses.clear()
        queries: dict[str, NodeQuery] = {}
        subscribers: dict[str, CameraSubscriber] = {}
        start = time.monotonic()
        end = start + discovery
        while time.monotonic() < end:
            names = self.depth_nodes()
            new = [name for name in names if name not in queries]
            queries |= {name: NodeQuery(self._node, name) for name in new}
            cameras = self._cameras(names, topics)
            started = [self._subscribe(subscribers, topic, kind) for topic, kind in cameras.items()]
            if new or any(started):
                now = time.monotonic()
                end = max(end, min(now, start + discovery) + receive)
            for query in queries.values():
                query.poll()
            self._spin(_STEP)
        graph = Graph(
            rmw=rclpy.utilities.get_rmw_implementation_identifier(),
            domain=self._node.context.get_domain_id(),
            discovery=discovery_range(os.environ),
            seconds=receive,
            nodes=tuple(self.nodes()),
            depth_nodes=tuple(
                NodeFacts(name, query.state, self._statuses.get(name), query.rectify)
                for name, query in queries.items()
            ),
            topics=tuple(self._topics()),
            streams=tuple(subscriber.stream() for subscriber in subscribers.values()),
            elsewhere={} if self.nodes() else nodes_elsewhere(self._node.context.get_domain_id()),
        )
        for query in queries.values():
            query.close()
        for subscriber in subscribers.values():
            subscriber.close()
        return graph

    def _subscribe(self, subscribers: dict[str, CameraSubscriber], topic: str, kind: str) -> bool:
        """Subscribe to a topic with the QoS of its publishers; again if that has changed.

        Returns:
            Whether it subscribed.
        """
        infos = self._others(self._node.get_publishers_info_by_topic(topic))
        # Without publishers the QoS that fits them is unknown.
        publishers = [info for info in infos if info.topic_type == kind]
        known = subscribers.get(topic)
        if not publishers or (known and known.qos == matching_qos(publishers, depth=_DEPTH)):
            return False
        if known:
            known.close()
        subscribers[topic] = CameraSubscriber(
            self._node, topic, kind, matching_qos(publishers, depth=_DEPTH)
        )
        return True

    def nodes(self) -> list[str]:
        """Return the full names of the other nodes, without hidden ones."""
        own = self._node.get_fully_qualified_name()
        names = [
            _full_name(namespace, name)
            for name, namespace in self._node.get_node_names_and_namespaces()
        ]
        return sorted(name for name in names if name != own and "/_" not in name)

    def depth_nodes(self) -> list[str]:
        """Return the full names of depth nodes, renamed ones too: found by their services."""
        return [name for name in dict.fromkeys(self.nodes()) if self._is_depth_node(name)]

    def _is_depth_node(self, full_name: str) -> bool:
        namespace, _, name = full_name.rpartition("/")
        # A node may have gone since its name was read.
        with suppress(rclpy.node.NodeNameNonExistentError):
            services = dict(self._node.get_service_names_and_types_by_node(name, namespace or "/"))
            switch = services.get(f"{full_name}/set_enabled", [])
            return "std_srvs/srv/SetBool" in switch and f"{full_name}/get_state" in services
        return False

    def _topics(self) -> Iterator[GraphTopic]:
        for name, types in self._node.get_topic_names_and_types():
            if not set(types) & set(TYPES):
                continue
            publishers = self._others(self._node.get_publishers_info_by_topic(name))
            subscribers = self._others(self._node.get_subscriptions_info_by_topic(name))
            yield GraphTopic(
                name,
                tuple(_endpoint(info) for info in publishers),
                tuple(_endpoint(info) for info in subscribers),
                tuple(_mismatches(publishers, subscribers)),
            )

    def _others(self, infos: Sequence[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
        own = self._node.get_fully_qualified_name()
        return [info for info in infos if _endpoint(info).node != own]

    def _cameras(self, depth_nodes: Sequence[str], wanted: Sequence[str]) -> Mapping[str, str]:
        """Return the topics to subscribe to, with their types: images and their calibrations."""
        chosen: dict[str, str] = {}
        for topic in self._topics():
            for end in topic.subscribers:
                if end.node in depth_nodes and end.type in CLASSES:
                    chosen[topic.name] = end.type
            for end in topic.publishers:
                if topic.name in wanted and end.type in IMAGES:
                    chosen.setdefault(topic.name, end.type)
        for name, kind in list(chosen.items()):
            if kind in IMAGES:
                chosen.setdefault(calibration_beside(name), CAMERA_INFO)
        return chosen

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if node := described_node(status.name):
                values = {item.key: item.value for item in status.values}
                level = _LEVELS.get(status.level, "ERROR")
                self._statuses[node] = Status(level, status.message, values)

    def _spin(self, seconds: float) -> None:
        """Handle messages for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)


def nodes_elsewhere(domain: int) -> dict[int, tuple[str, ...]]:
    """Return the full names of the nodes in other domains, by domain.

    Args:
        domain: The domain to omit.
    """
    with ExitStack() as stack:
        observers = {
            other: stack.enter_context(observer(domain=other))
            for other in _OTHER_DOMAINS
            if other != domain
        }
        time.sleep(_DISCOVERY)
        seen = {other: tuple(found.nodes()) for other, found in observers.items()}
    return {other: names for other, names in seen.items() if names}


@contextmanager
def observer(*, domain: int | None = None) -> Iterator[Observer]:
    """Observe a domain with a node of our own, within the context.

    Args:
        domain: The domain; that of the environment by default.
    """
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    try:
        # The underscore hides it from others.
        node = rclpy.create_node(
            f"_depthformer_doctor_{os.getpid()}",
            context=context,
            enable_rosout=False,
            start_parameter_services=False,
        )
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        yield Observer(node, executor)
        executor.shutdown()
        node.destroy_node()
    finally:
        context.try_shutdown()


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    return Endpoint(
        _full_name(info.node_namespace, info.node_name),
        info.topic_type,
        reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def _full_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def _mismatches(
    publishers: Sequence[TopicEndpointInfo], subscribers: Sequence[TopicEndpointInfo]
) -> Iterator[Mismatch]:
    """Yield the publishers that none of a node's subscriptions can receive."""
    for publisher in publishers:
        reasons: dict[str, list[str]] = {}
        for subscriber in subscribers:
            if publisher.topic_type == subscriber.topic_type:
                reason = _misfit(publisher.qos_profile, subscriber.qos_profile)
                reasons.setdefault(_endpoint(subscriber).node, []).append(reason)
        for node, found in reasons.items():
            if all(found):
                yield Mismatch(_endpoint(publisher).node, node, found[0])


def _misfit(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Return which QoS policies do not fit; empty if all do."""
    fit, reason = qos_check_compatible(offered, wanted)
    if fit != QoSCompatibility.ERROR:
        return ""
    parts = [part.removeprefix("ERROR:").strip() for part in reason.split(";")]
    return "; ".join(filter(None, parts)).lower()


def main(args: Sequence[str] | None = None) -> None:
    """Write the facts about the graph to a file."""
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("topics", nargs="*", help="topics of images to subscribe to")
    options = parser.parse_args(args)
    with observer() as own:
        graph = own.observe(options.topics)
    options.output.write_text(graph.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
