"""The judgement of one depth node in the ROS graph: inputs, state and outputs."""

from collections.abc import Iterator

from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    IMAGES,
    POINT_CLOUD,
)
from depthformer_core.bags.node_topics import DEPTH
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_ros.doctor.calibration import CalibrationJudge
from depthformer_ros.doctor.cameras import (
    ImageTopic,
    cameras,
    listing,
    nobody_publishes,
    other_form,
)
from depthformer_ros.doctor.commands import start, start_on
from depthformer_ros.doctor.graph_facts import Graph, GraphTopic, NodeFacts
from depthformer_ros.doctor.images import image_findings


class DepthNodeJudge:
    """Judges one depth node.

    Args:
        graph: The graph.
        node: The node.
    """

    def __init__(self, graph: Graph, node: NodeFacts) -> None:
        self._graph = graph
        self._node = node
        self._values = node.status.values if node.status else {}

    def findings(self) -> Iterator[Finding]:
        """Judge it, part by part."""
        yield self._state()
        if self._node.state != "active":
            return
        images = self._subscribed(*IMAGES)
        yield self._status()
        yield from self._images(images)
        infos = self._subscribed(CAMERA_INFO)
        if images is not None and infos is not None:
            yield CalibrationJudge(self._graph, self._node, infos[0], images).finding()
        yield from self._outputs()

    def _subject(self, part: str) -> str:
        return f"{self._node.name} {part}"

    def _subscribed(self, *types: str) -> ImageTopic | None:
        """Return the topic of one of these types that the node subscribes to, and its type."""
        for topic in self._graph.topics:
            for end in topic.subscribers:
                if end.node == self._node.name and end.type in types:
                    return topic, end.type
        return None

    def _state(self) -> Finding:
        name, state = self._node.name, self._node.state
        subject = self._subject("state")
        failure = ""
        if self._node.status and self._node.status.level == "ERROR":
            failure = self._node.status.message
        if not state:
            return problem(
                subject,
                "the node does not respond",
                cause="it loads its network, which takes a minute for a large one; or it hangs",
                advice="wait until its log has `waiting for images`; if it never does, end it, "
                "restart it and read its log",
            )
        if state == "active":
            return ok(subject, state)
        if state == "unconfigured" and failure:
            return problem(
                subject,
                failure,
                advice=f"if it is the checkpoint: ros2 param set {name} checkpoint FILE; then: "
                f"ros2 lifecycle set {name} configure; ros2 lifecycle set {name} activate",
            )
        if state == "finalized":
            return problem(
                subject,
                "finalized: it takes no more images",
                cause="it was shut down (lifecycle transition `shutdown`)",
                advice="end its process and restart it",
            )
        activate = f"ros2 lifecycle set {name} activate"
        steps = {
            "unconfigured": f"ros2 lifecycle set {name} configure; {activate}",
            "inactive": activate,
        }
        if state not in steps:
            return problem(
                subject,
                f"{state}: it takes images once it is active",
                cause="it is in a transition between two states",
                advice="wait, and run this again",
            )
        return problem(
            subject,
            f"{state}: it takes images once it is active",
            cause="it was started with autostart:=false and was not activated, or it was "
            "deactivated",
            advice=steps[state],
        )

    def _status(self) -> Finding:
        node, status = self._node, self._node.status
        subject = self._subject("diagnostics")
        if status is None:
            return warning(
                subject,
                f"no message on /diagnostics in {self._graph.seconds:g} s",
                cause="its diagnostics.period is longer, or it hangs",
                advice=f"ros2 param get {node.name} diagnostics.period; read its log",
            )
        if self._values.get("mode") == "paused":
            return problem(
                subject,
                "paused",
                cause="~/set_enabled was called with false",
                advice=f"ros2 service call {node.name}/set_enabled std_srvs/srv/SetBool "
                '"{data: true}"',
            )
        received, predicted = self._rate("input"), self._rate("output")
        found = f"{status.message}; {received:.1f} images a second, {predicted:.1f} predicted"
        if status.level == "ERROR":
            return problem(subject, found, advice=_what_helps(status.message))
        if received and not predicted and self._has_subscribers():
            return warning(
                subject,
                found,
                cause="no image was predicted in the last 5 s: the network takes that long here, "
                "depth.rate, points.rate or color.rate allow no more, or the first subscriber has "
                "just come",
                advice="run this again; if it stays so, take a GPU or a smaller checkpoint",
            )
        if status.level == "OK":
            return ok(subject, found)
        return warning(subject, found)

    def _rate(self, direction: str) -> float:
        return float(self._values.get(f"{direction} rate (Hz)", 0))

    def _images(self, subscribed: ImageTopic | None) -> Iterator[Finding]:
        subject = self._subject("images")
        if subscribed is None:
            yield problem(
                subject,
                "the node is active, but subscribes to no images yet",
                cause="it has just been activated, or discovery is slow",
                advice="run this again",
            )
            return
        topic, kind = subscribed
        publishers = [end for end in topic.publishers if end.type == kind]
        if not publishers:
            yield self._no_images(subject, topic, kind)
            return
        for mismatch in topic.mismatches:
            if mismatch.subscriber == self._node.name:
                yield problem(
                    subject,
                    f"{mismatch.publisher} publishes {topic.name}, but the node cannot receive "
                    f"it: {mismatch.reason}",
                    advice="take qos_overrides of the images out of the parameters of both, or "
                    "let them fit",
                )
        if len(publishers) > 1:
            yield warning(
                subject,
                f"{listing([end.node for end in publishers])} publish {topic.name} together",
                cause="images of several sources mix, as of a camera and of a bag",
                advice="end all but one",
            )
        yield from image_findings(
            self._graph,
            subject,
            topic.name,
            publishers,
            node=self._node,
            taken=self._rate("input"),
        )

    def _no_images(self, subject: str, topic: GraphTopic, kind: str) -> Finding:
        """Judge that nobody publishes images of the type that the node subscribes to."""
        if topic.publishers:
            other = topic.publishers[0]
            found = f"{other.node} publishes {topic.name} as {other.type}, the node takes {kind}"
            if other.type in IMAGES:
                return problem(
                    subject,
                    found,
                    cause="the node's image_transport is not that of the topic",
                    advice=self._restart((topic, other.type), kind),
                )
            return problem(
                subject,
                found,
                cause="the topic is no camera's",
                advice=self._advise(topic.name, kind),
            )
        form = other_form(self._graph, topic.name, kind)
        if form is not None:
            cause = "the camera's images come in another form than the node takes"
            if topic.name.endswith(COMPRESSED * 2):
                cause = "/compressed was added to a name that has it already"
            return problem(
                subject,
                f"nobody publishes {topic.name}, but {form[0].name} is published",
                cause=cause,
                advice=self._restart(form, kind),
            )
        return problem(
            subject,
            nobody_publishes(self._graph, topic.name),
            cause="the camera's driver does not run, or its topic has another name",
            advice=self._advise(topic.name, kind),
        )

    def _advise(self, name: str, kind: str) -> str:
        found = cameras(self._graph, name, kind)
        if found:
            return self._restart(found[0], kind)
        return (
            "start the camera's driver; `ros2 topic list -t` shows which topic it publishes. "
            f"If that is not {name}: {start_on('TOPIC')}"
        )

    def _restart(self, camera: ImageTopic, kind: str) -> str:
        command = start(self._graph, camera, node=self._node.name, taken=kind)
        return f"end the node and restart it: {command}"

    def _published(self) -> Iterator[ImageTopic]:
        """Yield the topics that the node publishes, and their types."""
        for topic in self._graph.topics:
            for end in topic.publishers:
                if end.node == self._node.name:
                    yield topic, end.type

    def _subscribers(self, topic: GraphTopic, kind: str) -> list[str]:
        unreached = {m.subscriber for m in topic.mismatches if m.publisher == self._node.name}
        ends = topic.subscribers
        return [end.node for end in ends if end.type == kind and end.node not in unreached]

    def _has_subscribers(self) -> bool:
        return any(self._subscribers(topic, kind) for topic, kind in self._published())

    def _outputs(self) -> Iterator[Finding]:
        subject = self._subject("outputs")
        subscribed = []
        lost = False
        for topic, kind in self._published():
            for mismatch in topic.mismatches:
                if mismatch.publisher == self._node.name:
                    lost = True
                    yield problem(
                        subject,
                        f"{mismatch.subscriber} subscribes to {topic.name}, but cannot receive it: "
                        f"{mismatch.reason}",
                        advice="let it subscribe volatile, reliable or best effort",
                    )
            for end in topic.subscribers:
                if end.type != kind:
                    lost = True
                    yield problem(
                        subject,
                        f"{end.node} subscribes to {topic.name} as {end.type}, the node publishes "
                        f"{kind}",
                        advice="correct the type or the topic of that subscription",
                    )
            if subscribers := self._subscribers(topic, kind):
                subscribed.append(f"{topic.name} by {listing(subscribers)}")
        if subscribed:
            yield ok(subject, f"subscribed to: {', '.join(subscribed)}")
        elif not lost:
            names = [t.name for t, kind in self._published() if kind in (IMAGE, POINT_CLOUD)]
            names.sort(key=lambda name: not name.endswith(f"/{DEPTH}"))
            yield warning(
                subject,
                f"nobody subscribes to {listing(names) or 'its outputs'}",
                cause="the node computes nothing that nobody subscribes to",
                advice=f"ros2 topic hz {names[0] if names else DEPTH}, or show it in "
                "RViz; compare the name with the one that your program subscribes to",
            )


def _what_helps(message: str) -> str:
    if "input.mask" in message:
        return "give input.mask a PNG file of the size of the camera's images"
    if "rejected" in message:
        return "correct what the camera's driver sends: its encoding, size or step"
    if "stale" in message:
        return "see whether the camera's driver still runs, and its log"
    if "memory" in message:
        return "end what else uses the GPU, or take a smaller checkpoint, or flip:=false"
    if "not finite" in message:
        return "take another checkpoint, or precision:=float32"
    return "read the node's log"
