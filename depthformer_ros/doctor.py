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
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthformer_core.data.camera_messages import (
    calibration_from_info,
    compressed_to_rgb,
    image_to_rgb,
)
from depthformer_core.data.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, IMAGES
from depthformer_core.doctor.graph_facts import (
    TYPES,
    DepthNode,
    Endpoint,
    Graph,
    Mismatch,
    Status,
    Stream,
    Topic,
    discovery_range,
)

# Seconds. Participants that miss each other's first announcements meet with the next ones, of
# every 3 s.
_DISCOVERY = 3.5
_LISTEN = 2.5
_STEP = 0.1
# For both ends of a service to know each other, once one knows the other; and for its answer.
_SETTLE = 0.5
_ANSWER = 1.0
_OTHER_DOMAINS = range(11)

_CLASSES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage, CAMERA_INFO: CameraInfo}
_LEVELS = {
    DiagnosticStatus.OK: "OK",
    DiagnosticStatus.WARN: "WARN",
    DiagnosticStatus.ERROR: "ERROR",
    DiagnosticStatus.STALE: "STALE",
}
# As the depth node subscribes, which fits any publisher.
_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


class Listener:
    """Counts the messages of a topic and keeps the newest.

    Args:
        node: The `rclpy.node.Node` that subscribes.
        topic: The topic.
        kind: Type of its messages: an image's or a calibration's.
    """

    def __init__(self, node: Any, topic: str, kind: str) -> None:
        self._topic = topic
        self._kind = kind
        self._times: list[float] = []
        self._newest = b""
        # Raw: reading every image would take more time than there may be.
        self._node = node
        self._subscription = node.create_subscription(
            _CLASSES[kind], topic, self._on_message, _QOS, raw=True
        )

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_message(self, data: bytes) -> None:
        self._times.append(time.monotonic())
        self._newest = data

    def stream(self) -> Stream:
        """Sum up what came, and try the newest message as the depth node does."""
        if not self._times:
            return Stream(self._topic)
        spent = self._times[-1] - self._times[0]
        size, encoding, problem = None, "", ""
        try:
            message = deserialize_message(self._newest, _CLASSES[self._kind])
            if self._kind == CAMERA_INFO:
                camera = calibration_from_info(message).camera
                size = camera.width, camera.height
            else:
                compressed = self._kind == COMPRESSED_IMAGE
                encoding = message.format if compressed else message.encoding
                rgb = (compressed_to_rgb if compressed else image_to_rgb)(message)
                size = rgb.shape[1], rgb.shape[0]
        except (ValueError, RuntimeError) as error:
            problem = str(error)
        return Stream(
            self._topic,
            count=len(self._times),
            rate=(len(self._times) - 1) / spent if spent > 0 else 0.0,
            size=size,
            encoding=encoding,
            problem=problem,
        )


class StateQuestion:
    """Asks a lifecycle node for its state, again where no answer comes.

    Args:
        node: The `rclpy.node.Node` that asks.
        name: Full name of the other.

    Attributes:
        state: Label of its state, empty before it answers.
    """

    def __init__(self, node: Any, name: str) -> None:
        self.state = ""
        self._node = node
        self._client = node.create_client(GetState, f"{name}/get_state")
        self._next: float | None = None

    def pursue(self) -> None:
        """Ask, if it is time to."""
        now = time.monotonic()
        if self._next is None and self._client.service_is_ready():
            self._next = now + _SETTLE
        elif self._next is not None and now > self._next and not self.state:
            self._next = now + _ANSWER
            self._client.call_async(GetState.Request()).add_done_callback(self._on_answer)

    def close(self) -> None:
        """Ask no more."""
        self._node.destroy_client(self._client)

    def _on_answer(self, future: Any) -> None:
        if future.result() is not None:
            self.state = future.result().current_state.label


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
        questions: dict[str, StateQuestion] = {}
        listeners: dict[str, Listener] = {}
        start = time.monotonic()
        end = start + discovery
        while time.monotonic() < end:
            known = len(questions) + len(listeners)
            names = self.depth_nodes()
            for name in names:
                if name not in questions:
                    questions[name] = StateQuestion(self._node, name)
            for topic, kind in self._cameras(names, topics).items():
                if topic not in listeners:
                    listeners[topic] = Listener(self._node, topic, kind)
            if len(questions) + len(listeners) > known:
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
                DepthNode(name, question.state, self._statuses.get(name))
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

    def _topics(self) -> Iterator[Topic]:
        for name, types in self._node.get_topic_names_and_types():
            if not set(types) & set(TYPES):
                continue
            publishers = self._others(self._node.get_publishers_info_by_topic(name))
            subscribers = self._others(self._node.get_subscriptions_info_by_topic(name))
            yield Topic(
                name,
                tuple(_endpoint(info) for info in publishers),
                tuple(_endpoint(info) for info in subscribers),
                tuple(_mismatches(publishers, subscribers)),
            )

    def _others(self, infos: Sequence[Any]) -> list[Any]:
        own = self._node.get_fully_qualified_name()
        return [info for info in infos if _endpoint(info).node != own]

    def _cameras(self, depth_nodes: Sequence[str], wanted: Sequence[str]) -> Mapping[str, str]:
        """Topics to listen to, and their types."""
        chosen: dict[str, str] = {}
        for topic in self._topics():
            for end in topic.subscribers:
                if end.node in depth_nodes and end.type in _CLASSES:
                    chosen[topic.name] = end.type
            for end in topic.publishers:
                if topic.name in wanted and end.type in IMAGES:
                    chosen.setdefault(topic.name, end.type)
        return chosen

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.rpartition(": ")
            if part == "depth":
                values = {item.key: item.value for item in status.values}
                level = _LEVELS.get(status.level, "ERROR")
                self._statuses[f"/{node}"] = Status(level, status.message, values)

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
    return Endpoint(_full_name(info.node_namespace, info.node_name), info.topic_type)


def _full_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def _mismatches(publishers: Sequence[Any], subscribers: Sequence[Any]) -> Iterator[Mismatch]:
    for publisher in publishers:
        for subscriber in subscribers:
            if publisher.topic_type != subscriber.topic_type:
                continue
            fit, reason = qos_check_compatible(publisher.qos_profile, subscriber.qos_profile)
            if fit == QoSCompatibility.ERROR:
                parts = [part.removeprefix("ERROR:").strip() for part in reason.split(";")]
                words = "; ".join(filter(None, parts))
                yield Mismatch(_endpoint(publisher).node, _endpoint(subscriber).node, words)


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
