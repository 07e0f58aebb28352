"""The inference thread: frames in, answers out."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from std_msgs.msg import Header

from depthformer_core.data.camera_messages import Rgb
from depthformer_core.predictor import DepthPredictor
from depthformer_ros.edge import LOG_PERIOD, Edge
from depthformer_ros.frame_statistics import FrameStatistics
from depthformer_ros.latest_calibration import LatestCalibration
from depthformer_ros.mailbox import Mailbox
from depthformer_ros.network_loading import free_memory
from depthformer_ros.outputs import Outputs
from depthformer_ros.parameters import NodeParameters


@dataclass(frozen=True)
class Frame:
    """An image on its way to the network.

    Attributes:
        header: That of its message.
        rgb: (H, W, 3).
        arrived: When it came, seconds of `time.monotonic`.
    """

    header: Header
    rgb: Rgb
    arrived: float


class Inference:
    """Answers the newest frame on a thread of its own, until it is closed.

    Args:
        node: The `rclpy.node.Node` that logs.
        predictor: The network.
        outputs: Where answers go.
        calibration: That of the camera.
        statistics: What frames are counted in.
        parameters: Gives the parameters that hold now.
        image_topic: Resolved topic of the images.
    """

    def __init__(
        self,
        node: Any,
        *,
        predictor: DepthPredictor,
        outputs: Outputs,
        calibration: LatestCalibration,
        statistics: FrameStatistics,
        parameters: Callable[[], NodeParameters],
        image_topic: str,
    ) -> None:
        self._node = node
        self._predictor = predictor
        self._outputs = outputs
        self._calibration = calibration
        self._statistics = statistics
        self._parameters = parameters
        calibration.follow(lambda: parameters().rectifies(image_topic))
        self._mailbox: Mailbox[Frame] = Mailbox()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Leave a frame; it takes the place of one that still waits."""
        if self._mailbox.put(frame):
            self._statistics.overtake()

    def close(self) -> None:
        """End the thread after its current frame."""
        self._mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while (frame := self._mailbox.take()) is not None:
            edge = Edge(self._node, "frame", often=True)
            with edge:
                self._answer(frame)
            if edge.kind is None:
                continue
            if issubclass(edge.kind, torch.cuda.OutOfMemoryError):
                self._statistics.fail("out of memory", edge.failure)
                # What the failed pass held is free by now, but cached in pieces of the wrong size.
                free_memory()
            else:
                self._statistics.fail(edge.kind.__name__, edge.failure)

    def _answer(self, frame: Frame) -> None:
        outputs, parameters, statistics = self._outputs, self._parameters(), self._statistics
        due = outputs.take(frame.arrived, rates=parameters.rates)
        if not due:
            # While it waited, another frame took the turns, or the last listener left.
            statistics.drop(outputs.why_none())
            return
        rgb = frame.rgb
        calibration = self._calibration.of_image(height=rgb.shape[0], width=rgb.shape[1])
        if problem := self._calibration.size_problem:
            self._node.get_logger().warning(
                f"{problem}; depth goes on, without a cloud", throttle_duration_sec=LOG_PERIOD
            )
        if problem := self._calibration.unseen_problem:
            self._node.get_logger().warning(problem, throttle_duration_sec=LOG_PERIOD)
        if calibration is not None and calibration.is_rectified:
            rgb = calibration.blacken_unseen(rgb)
        elif calibration is not None:
            with statistics.stage("rectify"):
                rgb = calibration.rectify(rgb)
        prediction = None
        if due.network:
            start = time.monotonic()
            camera = None if calibration is None else calibration.camera
            prediction = self._predictor.predict(rgb, camera)
            statistics.record("infer", prediction.network_seconds)
            statistics.record("fit", time.monotonic() - start - prediction.network_seconds)
        spoiled = 0 if prediction is None else prediction.spoiled
        if spoiled:
            self._node.get_logger().error(
                f"the network gave {spoiled} values that are not finite, published as NaN: its "
                "checkpoint is damaged, or precision float32 is needed",
                throttle_duration_sec=LOG_PERIOD,
            )
        if not self._node.context.ok():
            return
        with statistics.stage("publish"):
            if due.camera_info and calibration is not None:
                outputs.publish_camera(calibration, frame.header)
            if prediction is not None:
                outputs.publish_depth(
                    due,
                    prediction,
                    frame.header,
                    rgb=rgb,
                    calibration=calibration,
                    min_depth=parameters.depth_min,
                    max_depth=parameters.depth_max or self._predictor.config.max_depth,
                    encoding=parameters.depth_encoding,
                    stride=parameters.points_stride,
                    edge_filter=parameters.points_edge_filter,
                )
        statistics.answer(spoiled=spoiled)
        statistics.record("total", time.monotonic() - frame.arrived)
