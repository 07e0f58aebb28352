"""The lifecycle node: images in, metric depth and clouds out."""

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from depthformer_core.camera import Calibration
from depthformer_core.data.camera_messages import (
    ConversionError,
    Rgb,
    calibration_from_info,
    compressed_to_rgb,
    image_to_rgb,
)
from depthformer_core.predictor import DepthPredictor
from depthformer_core.visualize import colorize
from depthformer_core.weights import SHIPPED_NOTE
from depthformer_ros.conversions import (
    camera_info_of,
    depth_to_image,
    mark_range,
    points_to_cloud,
    rgb_to_image,
)
from depthformer_ros.diagnostics import (
    InputState,
    Statistics,
    diagnostic_array,
    diagnostic_status,
)
from depthformer_ros.mailbox import Mailbox
from depthformer_ros.parameters import ParameterError, declare_parameters
from depthformer_ros.transport import large_messages

# A camera's newest image is all that counts, and any publisher is compatible with best effort.
_INPUT_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
_OUTPUT_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
_LOG_PERIOD = 5.0
# Height and width of the image the network is tried on: that of a KITTI camera.
_WARM_UP_SIZE = (375, 1242)
# The preview spans depths of 1 to 80 m for KITTI's range, and as many doublings for others.
_PREVIEW_RANGE = 80.0


@dataclass(frozen=True)
class _Frame:
    header: Header
    rgb: Rgb
    arrived: float  # seconds of time.monotonic


@dataclass(frozen=True)
class _Camera:
    """What the newest camera_info says: a calibration, or why there is none."""

    calibration: Calibration | None
    problem: str

    def __str__(self) -> str:
        if self.calibration is None:
            return self.problem
        camera = self.calibration.camera
        return (
            f"{camera.width}x{camera.height}, fx {camera.fx:.2f} fy {camera.fy:.2f} "
            f"cx {camera.cx:.2f} cy {camera.cy:.2f}"
        )


@dataclass(frozen=True)
class _Outputs:
    """Publishers of the data topics."""

    depth: Any
    camera_info: Any
    points: Any
    color: Any
    uncertainty: Any | None

    def all(self) -> list[Any]:
        made = [self.depth, self.camera_info, self.points, self.color]
        return made if self.uncertainty is None else [*made, self.uncertainty]

    def wanted(self) -> bool:
        return any(map(_heard, self.all()))

    def need_network(self) -> bool:
        return any(_heard(output) for output in self.all() if output is not self.camera_info)


def _heard(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())


class _Edge:
    """Keeps an error inside a callback from ending the node: logs it and goes on.

    Args:
        node: The node that logs.
        what: What may fail, for the log.
        often: Whether it happens with every message, so that its log must be throttled.

    Attributes:
        failure: The error in words, empty while there was none.
    """

    def __init__(self, node: "DepthNode", what: str, *, often: bool = False) -> None:
        self._node = node
        self._what = what
        self._often = often
        self.failure = ""

    def __enter__(self) -> "_Edge":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        # Our own errors explain themselves.
        explained = isinstance(error, ValueError)
        self.failure = str(error) if explained else f"{type(error).__name__}: {error}"
        # Once ROS is shut down, publishing fails and nobody listens.
        if self._node.context.ok():
            logger = self._node.get_logger()
            text = f"{self._what} failed: {self.failure}"
            # rclpy throttles each line of code by itself.
            if self._often:
                logger.error(text, throttle_duration_sec=_LOG_PERIOD)
            else:
                logger.error(text)
            logger.debug("".join(traceback.format_exception(kind, error, trace)))
        return True


class DepthNode(LifecycleNode):
    """Estimates depth for the newest image of a camera.

    The executor's thread reads messages and leaves images in a mailbox of one place; the
    inference thread, which lives while the node is active, takes them out, runs the network and
    publishes.

    Args:
        options: As of `rclpy.node.Node`.

    Raises:
        ParameterError: A parameter given at the start is out of range or of another type.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("depthformer", **options)
        self._settings = declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._statistics = Statistics()
        self._predictor: DepthPredictor | None = None
        self._outputs: _Outputs | None = None
        self._mailbox: Mailbox[_Frame] = Mailbox()
        self._thread: threading.Thread | None = None
        self._subscriptions_in: list[Any] = []
        self._image_topic = ""
        self._camera = _Camera(None, "no camera_info yet: no cloud")
        self._size_problem = ""
        self._enabled = True
        self._load_failure = ""
        self._logged_state = InputState.WAITING
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Diagnostics keep speaking when the time of a simulation or a bag stands still.
        self._timer = self.create_timer(
            self._settings.diagnostics_period,
            self._publish_diagnostics,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        # rclpy lets errors of its own services through, such as an invalid transition's.
        for service in self.services:
            service.callback = self._guarded(service.callback, service.srv_type.__name__)

    def autostart(self) -> None:
        """Configure and activate, if the parameter `autostart` says so.

        A failure is logged and leaves the node where it is.
        """
        if not self._settings.autostart:
            return
        with _Edge(self, "autostart"):
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and self.context.ok():
                self.trigger_activate()

    def close(self) -> None:
        """End the inference thread and let go of the model."""
        self._stop()
        self._release()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and try it once; stay unconfigured if that fails."""
        edge = _Edge(self, "configure")
        with edge:
            self._load()
        self._load_failure = edge.failure
        if edge.failure:
            self._release()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the inference thread."""
        result = super().on_activate(state)
        if result == TransitionCallbackReturn.SUCCESS:
            self._start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the inference thread after its current frame."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the network and the publishers."""
        result = super().on_cleanup(state)
        self._release()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything."""
        result = super().on_shutdown(state)
        self.close()
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything, so that the node can be configured again."""
        result = super().on_error(state)
        self.close()
        return result

    def _load(self) -> None:
        parameters = self._settings
        crop = parameters.input_crop
        start = time.monotonic()
        predictor = DepthPredictor.from_checkpoint(
            parameters.checkpoint,
            device=parameters.device,
            precision=parameters.precision,
            crop=None if crop == "auto" else crop,
            focal=parameters.input_focal,
            flip=parameters.flip,
        )
        predictor.predict(np.zeros((*_WARM_UP_SIZE, 3), np.uint8))
        self._predictor = predictor
        self._outputs = _Outputs(
            depth=self.create_lifecycle_publisher(Image, "depth/image_rect", _OUTPUT_QOS),
            camera_info=self.create_lifecycle_publisher(
                CameraInfo, "depth/camera_info", _OUTPUT_QOS
            ),
            points=self.create_lifecycle_publisher(PointCloud2, "points", _OUTPUT_QOS),
            color=self.create_lifecycle_publisher(Image, "depth/color", _OUTPUT_QOS),
            uncertainty=self.create_lifecycle_publisher(Image, "depth/uncertainty", _OUTPUT_QOS)
            if parameters.flip
            else None,
        )
        logger = self.get_logger()
        logger.info(
            f"{predictor.checkpoint} on {predictor.device} in {predictor.precision}, "
            f"ready in {time.monotonic() - start:.1f} s"
        )
        if not predictor.trained:
            logger.warning(
                f"untrained weights of preset {predictor.checkpoint}: depth is meaningless, "
                "pass checkpoint:=/path/to.safetensors"
            )
        if predictor.shipped:
            logger.info(SHIPPED_NOTE)

    def _release(self) -> None:
        outputs, self._outputs = self._outputs, None
        for publisher in outputs.all() if outputs else ():
            self.destroy_lifecycle_publisher(publisher)
        predictor, self._predictor = self._predictor, None
        if predictor is not None and predictor.device.type == "cuda":
            del predictor
            gc.collect()
            torch.cuda.empty_cache()

    def _start(self) -> None:
        compressed = self._settings.image_transport == "compressed"
        self._statistics.restart()
        self._logged_state = InputState.WAITING
        self._size_problem = ""
        self._mailbox = Mailbox()
        self._thread = threading.Thread(
            target=self._infer, args=(self._mailbox,), name="inference", daemon=True
        )
        self._thread.start()
        # The calibration comes first, so that the first image finds it.
        info = self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, _INPUT_QOS)
        images = self.create_subscription(
            CompressedImage if compressed else Image,
            "image/compressed" if compressed else "image",
            self._on_image,
            _INPUT_QOS,
        )
        self._image_topic = images.topic_name
        self._subscriptions_in = [info, images]
        self.get_logger().info(f"waiting for images on {self._image_topic}")

    def _stop(self) -> None:
        subscriptions, self._subscriptions_in = self._subscriptions_in, []
        for subscription in subscriptions:
            self.destroy_subscription(subscription)
        self._mailbox.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # Callbacks of the executor

    def _guarded(self, callback: Callable[[Any, Any], Any], what: str) -> Callable[[Any, Any], Any]:
        def call(request: Any, response: Any) -> Any:
            with _Edge(self, what):
                return callback(request, response)
            return response

        return call

    def _on_camera_info(self, info: CameraInfo) -> None:
        with _Edge(self, "camera_info", often=True):
            try:
                camera = _Camera(calibration_from_info(info), "")
            except ValueError as error:
                camera = _Camera(None, f"camera_info is unusable: {error}")
            if camera.problem and camera.problem != self._camera.problem:
                self.get_logger().warning(
                    f"{camera.problem}; depth goes on, without a cloud",
                    throttle_duration_sec=_LOG_PERIOD,
                )
            self._camera = camera

    def _on_image(self, message: Any) -> None:
        with _Edge(self, "image", often=True):
            arrived = time.monotonic()
            outputs = self._outputs
            if not self._enabled or outputs is None or not outputs.wanted():
                self._statistics.receive()
                return
            read = compressed_to_rgb if isinstance(message, CompressedImage) else image_to_rgb
            try:
                with self._statistics.stage("read"):
                    rgb = read(message)
            except ConversionError as error:
                self._statistics.receive(rejection=str(error))
                self.get_logger().warning(
                    f"image rejected: {error}", throttle_duration_sec=_LOG_PERIOD
                )
                return
            self._statistics.receive()
            if self._mailbox.put(_Frame(message.header, rgb, arrived)):
                self._statistics.drop()

    def _on_set_enabled(self, request: Any, response: Any) -> Any:
        self._enabled = request.data
        response.success = True
        response.message = "enabled" if self._enabled else "paused"
        self.get_logger().info(response.message)
        return response

    def _on_set_parameters(self, wanted: Sequence[Any]) -> SetParametersResult:
        try:
            parameters = self._settings.changed(
                {parameter.name: parameter.value for parameter in wanted},
                configured=self._predictor is not None,
            )
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if parameters.diagnostics_period != self._settings.diagnostics_period:
            self._timer.timer_period_ns = int(parameters.diagnostics_period * 1e9)
        self._settings = parameters
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        with _Edge(self, "diagnostics", often=True):
            report = self._statistics.report(timeout=self._settings.input_timeout)
            mode = self._mode()
            self._log_input(report.state, mode)
            predictor = self._predictor
            warnings: list[str] = []
            if mode == "active":
                problems = [*filter(None, (self._camera.problem, self._size_problem))]
                if problems and predictor and predictor.focal != "none":
                    problems.append(
                        "metres hold only if the field of view is that of the training images"
                    )
                warnings += problems
            if predictor and not predictor.trained:
                warnings.append("untrained weights: depth is meaningless")
            values = {"checkpoint": self._settings.checkpoint, "image topic": self._image_topic}
            values["calibration"] = str(self._camera)
            if predictor:
                values |= {
                    "device": str(predictor.device),
                    "precision": predictor.precision,
                    "crop": predictor.crop,
                    "focal": self._focal_words(predictor),
                    "trained": str(predictor.trained),
                }
            status = diagnostic_status(
                report,
                name=f"{self.get_fully_qualified_name().lstrip('/')}: depth",
                hardware_id=str(predictor.device) if predictor else "",
                mode=mode,
                errors=[f"configure failed: {self._load_failure}"] if self._load_failure else [],
                warnings=warnings,
                values=values,
            )
            stamp = self.get_clock().now().to_msg()
            self._diagnostics.publish(diagnostic_array(status, stamp=stamp))

    def _focal_words(self, predictor: DepthPredictor) -> str:
        known = predictor.config.focal_length
        return "none" if known is None else f"{predictor.focal}, the network knows {known:.2f} px"

    def _mode(self) -> str:
        if self._predictor is None:
            return "unconfigured"
        if self._thread is None:
            return "inactive"
        return "active" if self._enabled else "paused"

    def _log_input(self, state: InputState, mode: str) -> None:
        if mode != "active" or state is self._logged_state:
            return
        logger = self.get_logger()
        if state is InputState.STALE:
            logger.warning(f"no image on {self._image_topic} for {self._settings.input_timeout} s")
        elif state is InputState.RUNNING:
            logger.info(f"images come on {self._image_topic}")
        self._logged_state = state

    # The inference thread

    def _infer(self, mailbox: Mailbox[_Frame]) -> None:
        while (frame := mailbox.take()) is not None:
            edge = _Edge(self, "frame", often=True)
            with edge:
                self._answer(frame)
            if edge.failure:
                self._statistics.fail(edge.failure)

    def _answer(self, frame: _Frame) -> None:
        predictor, outputs, parameters = self._predictor, self._outputs, self._settings
        assert predictor is not None
        assert outputs is not None
        statistics = self._statistics
        rgb = frame.rgb
        calibration = self._calibration_of(rgb)
        if (
            calibration is not None
            and parameters.rectifies(self._image_topic)
            and not calibration.is_rectified
        ):
            with statistics.stage("rectify"):
                rgb = calibration.rectify(rgb)
        prediction = None
        if outputs.need_network():
            with statistics.stage("predict"):
                camera = None if calibration is None else calibration.camera
                prediction = predictor.predict(rgb, camera)
        if not self.context.ok():
            return
        with statistics.stage("publish"):
            header = frame.header
            if calibration is not None:
                outputs.camera_info.publish(camera_info_of(calibration.camera, header))
            if prediction is not None:
                far = parameters.depth_max or predictor.config.max_depth
                depth = mark_range(prediction.depth, max_depth=far)
                if _heard(outputs.depth):
                    outputs.depth.publish(
                        depth_to_image(depth, header, encoding=parameters.depth_encoding)
                    )
                if calibration is not None and _heard(outputs.points):
                    stride = parameters.points_stride
                    points = calibration.camera.unproject(depth, stride=stride)
                    colours = rgb[::stride, ::stride]
                    outputs.points.publish(points_to_cloud(points, colours, header))
                if _heard(outputs.color):
                    preview = colorize(depth, near=far / _PREVIEW_RANGE, far=far)
                    outputs.color.publish(rgb_to_image(preview, header))
                spread = prediction.uncertainty
                if outputs.uncertainty and spread is not None and _heard(outputs.uncertainty):
                    outputs.uncertainty.publish(depth_to_image(spread, header, encoding="32FC1"))
        statistics.answer()
        statistics.record("total", time.monotonic() - frame.arrived)

    def _calibration_of(self, rgb: Rgb) -> Calibration | None:
        """Calibration that holds for this image, if there is one."""
        calibration = self._camera.calibration
        self._size_problem = ""
        if calibration is None:
            return None
        height, width = rgb.shape[:2]
        camera = calibration.camera
        if (camera.width, camera.height) == (width, height):
            return calibration
        self._size_problem = (
            f"images are {width}x{height}, camera_info is for {camera.width}x{camera.height}"
        )
        self.get_logger().warning(
            f"{self._size_problem}; depth goes on, without a cloud",
            throttle_duration_sec=_LOG_PERIOD,
        )
        return None


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until it is told to end."""
    node = None
    try:
        with large_messages():
            rclpy.init(args=args)
            node = DepthNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.autostart()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ParameterError as error:
        sys.exit(f"depth_node: {error}")
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
