"""Looks at the ROS graph around depth nodes, for `depthformer doctor`; changes nothing in it."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from depthformer_core.bags.message_types import CAMERA_INFO, IMAGES, calibration_beside
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
from depthformer_ros.doctor.node_question import NodeQuestion
from depthformer_ros.load.camera_listener import CLASSES, CameraListener
from depthformer_ros.node.diagnostics import described_node
from depthformer_ros.node.qos import matching_qos

# Seconds. Participants that miss each other's first announcements meet with the next ones, of
# every 3 s.
_DISCOVERY = 3.5
_LISTEN = 2.5
_STEP = 0.1
# Messages kept until they are read: of all that comes, the rate is measured.
_DEPTH = 10
_OTHER_DOMAINS = range(11)

_LEVELS = {
    DiagnosticStatus.OK: "OK",
    DiagnosticStatus.WARN: "WARN",
    DiagnosticStatus.ERROR: "ERROR",
    DiagnosticStatus.STALE: "STALE",
}


class Observer:
    """A node of our own, and what it sees of the others.

    Args:
        node: The `rclpy.node.Node`.
        executor: What handles its messages.
    """

    def __init__(self, node: Any, executor: Any) -> None:
        self._node = node
        self._executor = executor
        self._statuses: dict[str, Status] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def observe(
        self, topics: Sequence[str], *, discovery: float = _DISCOVERY, listen: float = _LISTEN
    ) -> Graph:
        """Look at the graph.

        Args:
            topics: Topics of images to listen to, besides those of depth nodes.
            discovery: Time to get to know the graph, seconds.
            listen: Time to listen to what was found in it, seconds.
        """
        self._statuses.clear()
        questions: dict[str, NodeQuestion] = {}
        listeners: dict[str, CameraListener] = {}
        start = time.monotonic()
        end = start + discovery
        while time.monotonic() < end:
            names = self.depth_nodes()
            new = [name for name in names if name not in questions]
            questions |= {name: NodeQuestion(self._node, name) for name in new}
            cameras = self._cameras(names, topics)
            started = [self._listen(listeners, topic, kind) for topic, kind in cameras.items()]
            if new or any(started):
                now = time.monotonic()
                end = max(end, min(now, start + discovery) + listen)
            for question in questions.values():
                question.pursue()
            self._spin(_STEP)
        graph = Graph(
            rmw=rclpy.utilities.get_rmw_implementation_identifier(),
            domain=self._node.context.get_domain_id(),
            discovery=discovery_range(os.environ),
            seconds=listen,
            nodes=tuple(self.nodes()),
            depth_nodes=tuple(
                NodeFacts(name, question.state, self._statuses.get(name), question.rectify)
                for name, question in questions.items()
            ),
            topics=tuple(self._topics()),
            streams=tuple(listener.stream() for listener in listeners.values()),
            elsewhere={} if self.nodes() else look_elsewhere(self._node.context.get_domain_id()),
        )
        for question in questions.values():
            question.close()
        for listener in listeners.values():
            listener.close()
        return graph

    def _listen(self, listeners: dict[str, CameraListener], topic: str, kind: str) -> bool:
        """Listen to a topic as its publishers want it; anew where more of them are known now.

        Returns:
            Whether that was begun.
        """
        infos = self._others(self._node.get_publishers_info_by_topic(topic))
        # Before publishers are known, nobody can tell what fits them.
        publishers = [info for info in infos if info.topic_type == kind]
        known = listeners.get(topic)
        if not publishers or (known and known.qos == matching_qos(publishers, depth=_DEPTH)):
            return False
        if known:
            known.close()
        listeners[topic] = CameraListener(
            self._node, topic, kind, matching_qos(publishers, depth=_DEPTH)
        )
        return True

    def nodes(self) -> list[str]:
        """Full names of the other nodes, without those that hide."""
        own = self._node.get_fully_qualified_name()
        names = [
            _full_name(namespace, name)
            for name, namespace in self._node.get_node_names_and_namespaces()
        ]
        return sorted(name for name in names if name != own and "/_" not in name)

    def depth_nodes(self) -> list[str]:
        """Full names of depth nodes, whatever they were renamed to: by their services."""
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

    def _others(self, infos: Sequence[Any]) -> list[Any]:
        own = self._node.get_fully_qualified_name()
        return [info for info in infos if _endpoint(info).node != own]

    def _cameras(self, depth_nodes: Sequence[str], wanted: Sequence[str]) -> Mapping[str, str]:
        """Topics to listen to, and their types: images, and the calibrations beside them."""
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


def look_elsewhere(domain: int) -> dict[int, tuple[str, ...]]:
    """Full names of the nodes in other domains, of those that have any.

    Args:
        domain: The domain that is left out.
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
    """Enter a domain with a node of our own, and leave it again.

    Args:
        domain: The domain; that of the environment without.
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


def _endpoint(info: Any) -> Endpoint:
    return Endpoint(
        _full_name(info.node_namespace, info.node_name),
        info.topic_type,
        reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def _full_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def _mismatches(publishers: Sequence[Any], subscribers: Sequence[Any]) -> Iterator[Mismatch]:
    """Find which publishers none of a node's subscriptions can receive."""
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
    """Which qualities of service do not fit, empty where all do."""
    fit, reason = qos_check_compatible(offered, wanted)
    if fit != QoSCompatibility.ERROR:
        return ""
    parts = [part.removeprefix("ERROR:").strip() for part in reason.split(";")]
    return "; ".join(filter(None, parts)).lower()


def main(args: Sequence[str] | None = None) -> None:
    """Write what is seen of the graph to a file."""
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("topics", nargs="*", help="topics of images to listen to")
    options = parser.parse_args(args)
    with observer() as eyes:
        graph = eyes.observe(options.topics)
    options.output.write_text(graph.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
