"""The node's reports: on /diagnostics, and in the log."""

import contextlib
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_ros.node.callback_guard import HINT_PERIOD
from depthformer_ros.node.diagnostics import (
    bottleneck_message,
    diagnostic_array,
    diagnostic_status,
    status_name,
)
from depthformer_ros.node.frame_statistics import FrameStatistics, InputState, Report
from depthformer_ros.node.latest_calibration import LatestCalibration
from depthformer_ros.node.parameters import NodeParameters
from depthformer_ros.node.scale_watch import NodeScaleWatch

_OUTSIDE = "lies outside the field of view of the images the network was trained on, see input.crop"
_NO_UNCERTAINTY = (
    "points.max_uncertainty has no effect: the network predicts no uncertainty; set flip, or take "
    "another checkpoint"
)
# Share of the depth image that may lie there without a warning: edges are whole pixels.
_MOST_OUTSIDE = 0.02


class Reporter:
    """Publishes a node's diagnostics and logs what changes in them.

    Args:
        node: The node that reports.
        statistics: Counts of its images.
        calibration: Calibration of its camera.
        scale_watch: Watch on the scale of its depth.
    """

    def __init__(
        self,
        node: Node,
        *,
        statistics: FrameStatistics,
        calibration: LatestCalibration,
        scale_watch: NodeScaleWatch,
    ) -> None:
        self._node = node
        self._statistics = statistics
        self._calibration = calibration
        self._scale_watch = scale_watch
        self._off = False
        self._logged_state = InputState.WAITING
        self._logged: set[str] = set()
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def restart(self) -> None:
        """Reset for a new camera."""
        self._logged_state = InputState.WAITING
        self._logged.clear()
        self._off = False

    def publish(
        self,
        *,
        mode: str,
        parameters: NodeParameters,
        predictor: DepthPredictor | None,
        image_topic: str,
        load_failure: str,
    ) -> None:
        """Report once.

        Args:
            mode: As of `diagnostic_status`.
            parameters: The current parameters.
            predictor: The network, if one is loaded.
            image_topic: Resolved topic of the images, empty before there is one.
            load_failure: Why the last network could not be loaded, else empty.
        """
        report = self._statistics.report(timeout=parameters.input_timeout)
        if mode == "active":
            self._log(report, image_topic, parameters.input_timeout)
        warnings: list[str] = []
        if mode == "active" and (problems := self._calibration.problems):
            warnings += problems
            unknown = self._calibration.camera is None or self._calibration.size_problem
            if unknown and predictor and predictor.focal != "none":
                warnings.append(
                    "metres hold only if the field of view is that of the training images"
                )
        if mode == "active" and predictor:
            warnings += self._view_problems(predictor)
            if parameters.points_max_uncertainty and not predictor.has_uncertainty:
                warnings.append(_NO_UNCERTAINTY)
        if report.state is InputState.RUNNING:
            # Once images come, the calibration should be there too.
            self._log_once(warnings)
        if mode == "active":
            warnings += self._scale_problems()
        if predictor and not predictor.trained:
            warnings.append("untrained weights: depth is meaningless")
        values = {
            "checkpoint": parameters.checkpoint,
            "image topic": image_topic,
            "calibration": str(self._calibration),
            "depth calibration": parameters.depth_calibration or "none",
            **self._scale_watch.values(),
        }
        status = diagnostic_status(
            report,
            name=status_name(self._node.get_fully_qualified_name()),
            hardware_id=str(predictor.device) if predictor else "",
            mode=mode,
            errors=[f"configure failed: {load_failure}"] if load_failure else [],
            warnings=warnings,
            values={**values, **_about(predictor)} if predictor else values,
        )
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(diagnostic_array(status, stamp=stamp))

    def _view_problems(self, predictor: DepthPredictor) -> list[str]:
        """Return how the camera's field of view differs from that of the training images."""
        camera = self._calibration.camera
        if camera is None:
            return []
        # If the camera cannot be used, each image fails with the reason.
        with contextlib.suppress(DepthFormerError):
            if predictor.crop == "view":
                share = 1 - predictor.coverage(camera)
                return [f"{share:.0%} of the image gets no depth: it {_OUTSIDE}"] if share else []
            share = predictor.outside_view(camera)
            if share > _MOST_OUTSIDE:
                return [
                    f"{share:.0%} of what gets depth {_OUTSIDE}; crop {predictor.crop} lets it "
                    "through, and depth is worse there"
                ]
        return []

    def _scale_problems(self) -> list[str]:
        """Return that the scale is off; log when that begins, since the numbers change."""
        problem = self._scale_watch.problem
        if problem and not self._off:
            self._node.get_logger().warning(problem, throttle_duration_sec=HINT_PERIOD)
        self._off = bool(problem)
        return [problem] if problem else []

    def _log_once(self, problems: Sequence[str]) -> None:
        for problem in problems:
            if problem not in self._logged:
                self._node.get_logger().warning(problem)
        self._logged = set(problems)

    def _log(self, report: Report, image_topic: str, timeout: float) -> None:
        logger = self._node.get_logger()
        if message := bottleneck_message(report):
            logger.info(message, throttle_duration_sec=HINT_PERIOD)
        if report.state is self._logged_state:
            return
        if report.state is InputState.STALE:
            logger.warning(f"no image on {image_topic} for {timeout} s")
        elif report.state is InputState.RUNNING:
            logger.info(f"images come on {image_topic}")
        self._logged_state = report.state


def _about(predictor: DepthPredictor) -> dict[str, str]:
    """Return the diagnostics values of a network."""
    known = predictor.config.focal_length
    focal = "none" if known is None else f"{predictor.focal}, the network knows {known:.2f} px"
    return {
        "device": str(predictor.device),
        "precision": predictor.precision,
        "attention": predictor.network.attention,
        "crop": predictor.crop,
        "focal": focal,
        "trained": str(predictor.trained),
    }
