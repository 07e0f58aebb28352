"""Judges one depth node in the ROS graph: what comes in, what is done with it, what goes out."""

from collections.abc import Iterator

from depthformer_core.data.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    IMAGES,
    POINT_CLOUD,
)
from depthformer_core.doctor.cameras import (
    COMPRESSED,
    ImageTopic,
    calibration_beside,
    calibrations,
    cameras,
    image_listing,
    listing,
    published,
    restart,
    shown_size,
    stream_finding,
    stream_of,
)
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.doctor.graph_facts import DepthNode, Graph, Topic

_HARM = "there is no cloud, and metres hold only for the field of view of the training"
_CALIBRATE = "calibrate the camera (camera_calibration)"


class DepthNodeJudge:
    """Judges one depth node.

    Args:
        graph: The graph.
        node: The node.
    """

    def __init__(self, graph: Graph, node: DepthNode) -> None:
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
        yield from self._camera_info(self._subscribed(CAMERA_INFO), images)
        yield from self._outputs()

    def _subject(self, part: str) -> str:
        return f"{self._node.name} {part}"

    def _subscribed(self, *types: str) -> ImageTopic | None:
        """The topic of one of these types the node subscribes to, and its type."""
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
                "the node does not answer",
                cause="it loads its network, which takes a large one a minute; or it hangs",
                advice="wait until its log says `waiting for images`; if it does not, start it "
                "anew and look what it says",
            )
        if state == "active":
            return ok(subject, state)
        if state == "unconfigured" and failure:
            return problem(
                subject,
                failure,
                advice=f"ros2 param set {name} checkpoint FILE, if that is it; then "
                f"ros2 lifecycle set {name} configure, and activate",
            )
        steps = {
            "unconfigured": f"ros2 lifecycle set {name} configure, then activate",
            "inactive": f"ros2 lifecycle set {name} activate",
            "finalized": "end it and start it anew",
        }
        return problem(
            subject,
            f"{state}: no image is looked at before it is active",
            cause="it was started with autostart:=false and nobody went on, or somebody "
            "deactivated it",
            advice=steps.get(state, "wait; it is about to change"),
        )

    def _status(self) -> Finding:
        node, status = self._node, self._node.status
        subject = self._subject("diagnostics")
        if status is None:
            return warning(
                subject,
                f"nothing on /diagnostics in {self._graph.seconds:g} s",
                cause="its diagnostics.period is longer, or it hangs",
                advice=f"see ros2 param get {node.name} diagnostics.period, and its log",
            )
        if self._values.get("mode") == "paused":
            return problem(
                subject,
                "paused",
                cause="somebody called ~/set_enabled with false",
                advice=f"ros2 service call {node.name}/set_enabled std_srvs/srv/SetBool "
                '"{data: true}"',
            )
        received, answered = self._rate("input"), self._rate("output")
        found = f"{status.message}; {received:.1f} images a second, {answered:.1f} answered"
        if status.level == "ERROR":
            return problem(subject, found, advice=_what_helps(status.message))
        if received and not answered and self._heard():
            return warning(
                subject,
                found,
                cause="no image was answered in the last 5 s: the network takes that long here, "
                "depth.rate and the like allow no more, or the first subscriber has just come",
                advice="if it stays so, take a GPU or a smaller checkpoint",
            )
        if status.level == "OK":
            return ok(subject, found)
        return warning(subject, found)

    def _rate(self, way: str) -> float:
        return float(self._values.get(f"{way} rate (Hz)", 0))

    def _images(self, subscribed: ImageTopic | None) -> Iterator[Finding]:
        subject = self._subject("images")
        if subscribed is None:
            yield problem(
                subject,
                "no subscription is seen, though the node is active",
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
                    f"{mismatch.publisher} publishes {topic.name}, but the two never meet: "
                    f"{mismatch.reason}",
                    advice="change the quality of service of its publisher",
                )
        if len(publishers) > 1:
            yield warning(
                subject,
                f"{listing([end.node for end in publishers])} publish {topic.name} together",
                cause="images of several sources mix, as of a camera and of a bag",
                advice="end all but one",
            )
        yield stream_finding(
            self._graph, subject, topic.name, publishers, taken=self._rate("input")
        )

    def _no_images(self, subject: str, topic: Topic, kind: str) -> Finding:
        """Nobody publishes images of the type that the node subscribes to."""
        graph = self._graph
        if topic.publishers:
            other = topic.publishers[0]
            found = f"{other.node} publishes {topic.name} as {other.type}, the node takes {kind}"
            if other.type in IMAGES:
                return problem(
                    subject,
                    found,
                    cause="image_transport of the node is not that of the topic",
                    advice=restart(graph, (topic, other.type), taken=kind),
                )
            return problem(subject, found, advice=self._advise(topic.name, kind))
        raw = topic.name.removesuffix(COMPRESSED)
        sibling = raw if kind == COMPRESSED_IMAGE else topic.name + COMPRESSED
        for image, other_kind in cameras(graph, topic.name):
            if image.name == sibling:
                return problem(
                    subject,
                    f"nobody publishes {topic.name}, but {image.name} is published",
                    cause="the camera's images come in another form than the node takes",
                    advice=restart(graph, (image, other_kind), taken=kind),
                )
        return problem(
            subject,
            f"nobody publishes {topic.name}; images are on {image_listing(graph, topic.name)}",
            cause="the camera's driver does not run, or its topic has another name",
            advice=self._advise(topic.name, kind),
        )

    def _advise(self, name: str, kind: str) -> str:
        found = cameras(self._graph, name, kind)
        if not found:
            return "start the camera's driver; see `ros2 topic list -t`"
        return restart(self._graph, found[0], taken=kind)

    def _camera_info(
        self, subscribed: ImageTopic | None, images: ImageTopic | None
    ) -> Iterator[Finding]:
        if subscribed is None or images is None:
            return
        topic, subject = subscribed[0], self._subject("camera_info")
        sibling = calibration_beside(images[0].name)
        beside = sibling != topic.name and bool(published(self._graph, sibling, CAMERA_INFO))
        remap = f"start the node with: --ros-args -r camera_info:={sibling}"
        publishers = published(self._graph, topic.name, CAMERA_INFO)
        if not publishers:
            others = calibrations(self._graph, sibling)
            advice = f"{_CALIBRATE} and let its driver publish camera_info"
            if others:
                advice = f"start the node with: --ros-args -r camera_info:={others[0]}"
            yield warning(
                subject,
                f"nobody publishes {topic.name}; it is on {listing(others)}",
                cause=_HARM,
                advice=advice,
            )
            return
        stream = stream_of(self._graph, topic.name)
        shown = f"{topic.name} of {listing([end.node for end in publishers])}"
        known = self._values.get("calibration", "")[:1].isdecimal()
        pictures = stream_of(self._graph, images[0].name)
        if stream.problem:
            yield warning(
                subject,
                f"{shown} is unusable: {stream.problem}",
                cause=_HARM,
                advice=_CALIBRATE,
            )
        elif not stream.count and not known:
            yield warning(
                subject,
                f"nothing on {shown} in {self._graph.seconds:g} s",
                cause=f"it was published before the node subscribed, or never; {_HARM}",
                advice="let the driver publish it with every image",
            )
        elif stream.size and pictures.size and stream.size != pictures.size:
            yield warning(
                subject,
                f"{shown} is for {shown_size(stream)}, images are {shown_size(pictures)}",
                cause=_HARM,
                advice=remap if beside else "calibrate the camera at the size that it sends",
            )
        elif beside:
            yield warning(
                subject,
                f"{shown}, while {sibling} lies beside the images",
                cause="it may be that of another camera: clouds and metres would be wrong",
                advice=remap,
            )
        else:
            yield ok(
                subject, f"{shown}{f', for {shown_size(stream)}' if stream.size else ', known'}"
            )

    def _published(self) -> Iterator[ImageTopic]:
        """What the node publishes, and the types."""
        for topic in self._graph.topics:
            for end in topic.publishers:
                if end.node == self._node.name:
                    yield topic, end.type

    def _listeners(self, topic: Topic, kind: str) -> list[str]:
        deaf = {m.subscriber for m in topic.mismatches if m.publisher == self._node.name}
        ends = topic.subscribers
        return [end.node for end in ends if end.type == kind and end.node not in deaf]

    def _heard(self) -> bool:
        return any(self._listeners(topic, kind) for topic, kind in self._published())

    def _outputs(self) -> Iterator[Finding]:
        subject = self._subject("outputs")
        heard = []
        lost = False
        for topic, kind in self._published():
            for mismatch in topic.mismatches:
                if mismatch.publisher == self._node.name:
                    lost = True
                    yield problem(
                        subject,
                        f"{mismatch.subscriber} subscribes to {topic.name}, but the two never "
                        f"meet: {mismatch.reason}",
                        advice="let it subscribe reliable or best effort, and volatile",
                    )
            for end in topic.subscribers:
                if end.type != kind:
                    lost = True
                    yield problem(
                        subject,
                        f"{end.node} subscribes to {topic.name} as {end.type}, which it is not: it "
                        f"is {kind}",
                        advice="correct the subscriber's type or topic",
                    )
            if listeners := self._listeners(topic, kind):
                heard.append(f"{topic.name} by {listing(listeners)}")
        if heard:
            yield ok(subject, f"heard: {', '.join(heard)}")
        elif not lost:
            names = [t.name for t, kind in self._published() if kind in (IMAGE, POINT_CLOUD)]
            names.sort(key=lambda name: not name.endswith("depth/image_rect"))
            yield warning(
                subject,
                f"nobody listens to any of {listing(names)}",
                cause="nothing is computed that nobody subscribes to",
                advice=f"ros2 topic hz {names[0] if names else 'depth/image_rect'}, or show it in "
                "RViz; compare the name with the one that your program subscribes to",
            )


def _what_helps(message: str) -> str:
    if "rejected" in message:
        return "the camera sends images that are no images: see its driver's encoding and step"
    if "memory" in message:
        return "end what else uses the GPU, or take a smaller checkpoint, or flip:=false"
    if "not finite" in message:
        return "take another checkpoint, or precision:=float32"
    return "see the node's log"
