"""The judgement of the calibration of a depth node's camera."""

from collections.abc import Sequence

from depthformer_core.bags.calibration_messages import named_rectified
from depthformer_core.bags.message_types import CAMERA_INFO, calibration_beside
from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_ros.doctor.cameras import (
    ImageTopic,
    calibrations,
    listing,
    published,
    shown_size,
    stream_of,
    verb,
)
from depthformer_ros.doctor.commands import start
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, GraphTopic, NodeFacts

_HARM = "there is no cloud, and metres hold only for the field of view of the training"
_CALIBRATE = "calibrate the camera (camera_calibration)"
_ALONG = "start the node on the right images: it takes the camera_info beside them"
_REPEAT = "let the driver publish it with every image"


class CalibrationJudge:
    """Judges the calibration of one depth node's camera.

    Args:
        graph: The graph.
        node: The node.
        topic: Its topic of camera_info.
        images: Its topic of images, and their type.
    """

    def __init__(
        self, graph: Graph, node: NodeFacts, topic: GraphTopic, images: ImageTopic
    ) -> None:
        self._graph = graph
        self._node = node
        self._topic = topic
        self._images = images
        self._subject = f"{node.name} camera_info"
        values = node.status.values if node.status else {}
        self._known = values.get("calibration", "")[:1].isdecimal()
        self._publishers = published(graph, topic.name, CAMERA_INFO)
        self._stream = stream_of(graph, topic.name)
        drivers = [end.node for end in self._publishers]
        self._shown = f"{topic.name} of {listing(drivers)}"

    def finding(self) -> Finding:
        """Return the first problem, or that all is well."""
        if not self._publishers:
            return self._nobody()
        return (
            self._mismatch()
            or self._unusable()
            or self._silence()
            or self._other_size()
            or self._other_camera()
            or self._bent()
            or ok(self._subject, self._fine())
        )

    def _fine(self) -> str:
        size = shown_size(self._stream)
        return f"{self._shown}, {f'for {size}' if size else 'which the node has'}"

    def _take(self, calibration: str) -> str:
        """Advise to start the node with another calibration."""
        kind = self._images[1]
        command = start(
            self._graph, self._images, node=self._node.name, taken=kind, calibration=calibration
        )
        return f"end the node and restart it: {command}"

    def _nobody(self) -> Finding:
        others = calibrations(self._graph, calibration_beside(self._images[0].name))
        found = f"nobody publishes {self._topic.name}"
        if others:
            # Once the images are found, their calibration is too.
            come = self._images[0].publishers
            return warning(
                self._subject,
                f"{found}; there is camera_info on {listing(others)}",
                cause=_HARM,
                advice=self._take(others[0]) if come else _ALONG,
            )
        return warning(
            self._subject,
            f"{found}, and there is no other camera_info",
            cause=_HARM,
            advice=f"{_CALIBRATE} and let its driver publish camera_info beside the images, on "
            f"{calibration_beside(self._images[0].name)}",
        )

    def _mismatch(self) -> Finding | None:
        for mismatch in self._topic.mismatches:
            if mismatch.subscriber == self._node.name:
                return problem(
                    self._subject,
                    f"{mismatch.publisher} publishes {self._topic.name}, but the node cannot "
                    f"receive it: {mismatch.reason}",
                    cause=_HARM,
                    advice="take qos_overrides of camera_info out of the parameters of both, or "
                    "let them fit",
                )
        return None

    def _unusable(self) -> Finding | None:
        stream = self._stream
        if stream.problem:
            return warning(
                self._subject,
                f"{self._shown} cannot be used: {stream.problem}",
                cause=_HARM,
                advice=_CALIBRATE,
            )
        if stream.size and not all(stream.size):
            return warning(
                self._subject,
                f"{self._shown} is for images of {shown_size(stream)}, which is no size",
                cause="the driver publishes width and height 0"
                + ("" if self._known else f"; {_HARM}"),
                advice="set image_width and image_height in the camera's calibration file, and "
                "restart the driver",
            )
        return None

    def _silence(self) -> Finding | None:
        """Judge that the node has none, although it is or was published."""
        if self._known:
            return None
        topic = self._topic
        nodes = [end.node for end in self._publishers]
        keeps = _latched(self._publishers)
        requests = _latched([end for end in topic.subscribers if end.node == self._node.name])
        if keeps and not requests and 0 < self._stream.count <= len(nodes):
            return warning(
                self._subject,
                f"{listing(nodes)} published {topic.name} once and {verb(nodes, 'keeps')} it for "
                "later subscribers (transient local); the node requests new messages only "
                "(volatile), and has none",
                cause=_HARM,
                advice=f"{_REPEAT}; or take qos_overrides of camera_info out of the node's "
                "parameters",
            )
        if self._stream.count:
            return None
        return warning(
            self._subject,
            f"nothing came on {self._shown} in {self._graph.seconds:g} s",
            cause=f"it was published before the node subscribed, or never; {_HARM}",
            advice=f"{_REPEAT}, or keep it for later subscribers (reliable and transient local)",
        )

    def _other_size(self) -> Finding | None:
        size, pictures = self._stream.size, stream_of(self._graph, self._images[0].name)
        if not size or not pictures.size or size == pictures.size:
            return None
        beside = self._beside()
        return warning(
            self._subject,
            f"{self._shown} is for {shown_size(self._stream)}, images are {shown_size(pictures)}",
            cause=_HARM,
            advice=self._take(beside) if beside else "calibrate the camera at the size it sends",
        )

    def _beside(self) -> str:
        """Name the topic beside the images, if the node takes another one's calibration."""
        sibling = calibration_beside(self._images[0].name)
        if sibling == self._topic.name or not published(self._graph, sibling, CAMERA_INFO):
            return ""
        return sibling

    def _other_camera(self) -> Finding | None:
        beside = self._beside()
        if not beside:
            return None
        return warning(
            self._subject,
            f"the node takes {self._shown}, though {beside} is beside the images",
            cause="it may be that of another camera: clouds and metres would be wrong",
            advice=self._take(beside),
        )

    def _bent(self) -> Finding | None:
        """Judge images that need to be rectified and are not."""
        name = self._images[0].name
        if not self._stream.distorted or self._node.rectify != "never" or named_rectified(name):
            return None
        command = start(self._graph, self._images, node=self._node.name, taken=self._images[1])
        return warning(
            self._subject,
            f"{self._shown} has distortion, and input.rectify is never",
            cause=f"where {name} is not rectified, depth and cloud are bent and metres are wrong",
            advice=f"ros2 param set {self._node.name} input.rectify auto; or restart it with "
            f"the parameters for any camera: {command}",
        )


def _latched(ends: Sequence[Endpoint]) -> bool:
    return any(end.latched for end in ends)
