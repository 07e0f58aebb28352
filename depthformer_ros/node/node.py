"""The lifecycle node: images in, metric depth and clouds out."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from depthformer_core.geometry.image_mask import ImageMask, read_mask
from depthformer_core.inference.network import Network
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.node.callback_guard import CallbackGuard, guard_services
from depthformer_ros.node.camera_input import ArrivedImage, CameraInput
from depthformer_ros.node.frame_processor import FrameProcessor
from depthformer_ros.node.frame_statistics import FrameStatistics
from depthformer_ros.node.interruption import Interruption
from depthformer_ros.node.latest_calibration import LatestCalibration
from depthformer_ros.node.network_loading import load_predictor
from depthformer_ros.node.outputs import Outputs
from depthformer_ros.node.parameters import (
    NodeParameters,
    ParameterError,
    declare_parameters,
    take_whole_numbers,
    unknown_parameters,
)
from depthformer_ros.node.reporter import Reporter
from depthformer_ros.node.scale_watch import NodeScaleWatch
from depthformer_ros.node.worker import Worker

# Longest wait at the end, for a frame or for the network to load, seconds.
_PATIENCE = 2.0


class DepthNode(LifecycleNode):
    """Predicts depth of the newest image of a camera.

    The executor's thread receives messages and passes images to the worker. The worker's thread
    loads and runs the network, reads images and publishes.

    Args:
        load: Loads the network that the parameters name; raises if it cannot.
        interruptible: Context of every wait for the worker.
        options: As of `rclpy.node.Node`.

    Raises:
        ParameterError: An initial value of a parameter is out of range or of another type.

    Attributes:
        lost_device: Why the device failed for good, else empty; only a new process can use it.
    """

    def __init__(
        self,
        *,
        load: Callable[[NodeParameters], DepthPredictor] = load_predictor,
        interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
        **options: Any,
    ) -> None:
        super().__init__("depthformer", **options)
        self._load_predictor = load
        self._settings = declare_parameters(self)
        for message in unknown_parameters(self):
            self.get_logger().warning(message)
        take_whole_numbers(self)
        self.add_on_set_parameters_callback(self._validate_parameters)
        self._applies_late = hasattr(self, "add_post_set_parameters_callback")  # from Iron
        if self._applies_late:
            self.add_post_set_parameters_callback(self._apply_parameters)
        self._statistics = FrameStatistics()
        self._calibration = LatestCalibration()
        self._predictor: DepthPredictor | None = None
        self._mask: ImageMask | None = None
        self._outputs: Outputs | None = None
        self._worker: Worker[ArrivedImage] = Worker(interruptible)
        self._input: CameraInput | None = None
        self._enabled = True
        self._finalized = False
        self.lost_device = ""
        self._load_failure = ""
        self._scale_watch = NodeScaleWatch(
            self,
            height=lambda: self._settings.camera_height,
            rotate=lambda: self._settings.input_rotate,
        )
        self._reporter = Reporter(
            self,
            statistics=self._statistics,
            calibration=self._calibration,
            scale_watch=self._scale_watch,
        )
        # Diagnostics are published while the time of a simulation or a bag stands still, too.
        self._timer = self.create_timer(
            self._settings.diagnostics_period,
            self._report,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._wake = self.create_guard_condition(lambda: None)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        guard_services(self)

    def autostart(self) -> None:
        """Configure and activate, if the parameter `autostart` is true.

        A failure is logged, and the node stays in its state.
        """
        if not self._settings.autostart:
            return
        with CallbackGuard(self, "autostart"):
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and self.context.ok():
                self.trigger_activate()

    def close(self) -> None:
        """End the worker's thread after its current job, if that does not take long."""
        if self._input is not None:
            self._input.close()
            self._input = None
            self._scale_watch.stop()
        self._worker.close(_PATIENCE)

    def wake(self) -> None:
        """End the executor's wait, from any thread."""
        self._wake.trigger()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and try it once; stay unconfigured if that fails."""
        guard = CallbackGuard(self, "configure")
        with guard:
            self._worker.do(self._load)
        self._load_failure = guard.failure
        if guard.failure:
            self._release()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and predict depth of the images."""
        result = super().on_activate(state)
        if result == TransitionCallbackReturn.SUCCESS:
            self._start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and wait for the current frame."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the network and the publishers."""
        result = super().on_cleanup(state)
        self._release()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        result = super().on_shutdown(state)
        self._stop()
        self._release()
        self._finalized = True
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that the node can be configured again."""
        result = super().on_error(state)
        self._stop()
        self._release()
        return result

    def _load(self) -> None:
        """Load the network, on the worker's thread."""
        start = time.monotonic()
        self._mask = read_mask(self._settings.input_mask) if self._settings.input_mask else None
        predictor = self._load_predictor(self._settings)
        self._predictor = predictor
        self._outputs = Outputs(self, uncertainty=predictor.has_uncertainty)
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
        if predictor.note:
            logger.info(predictor.note)

    def _release(self) -> None:
        outputs, self._outputs = self._outputs, None
        if outputs is not None:
            outputs.destroy()
        predictor, self._predictor = self._predictor, None
        free_memory = Network.free_memory if predictor is None else predictor.network.free_memory
        del predictor
        self._worker.do(free_memory)

    def _start(self) -> None:
        assert self._predictor is not None
        assert self._outputs is not None
        compressed = self._settings.image_transport == "compressed"
        for state in (self._statistics, self._calibration, self._reporter):
            state.restart()
        frame_processor = FrameProcessor(
            self,
            predictor=self._predictor,
            outputs=self._outputs,
            calibration=self._calibration,
            statistics=self._statistics,
            scale_watch=self._scale_watch,
            parameters=lambda: self._settings,
            enabled=lambda: self._enabled,
            compressed=compressed,
            mask=self._mask,
            on_lost_device=self._on_lost_device,
        )
        self._input = CameraInput(
            self, compressed=compressed, calibration=self._calibration, put=self._put
        )
        self._scale_watch.start()
        topic = self._input.image_topic
        self._calibration.follow(
            lambda: self._settings.rectifies(topic),
            claimed=lambda: self._settings.claims_rectified(topic),
        )
        self._worker.serve(frame_processor)
        self.get_logger().info(
            f"waiting for images on {topic}, with their calibration on "
            f"{self._input.camera_info_topic}"
        )

    def _stop(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
            if self._worker.rest() is not None:
                self._statistics.drop("deactivated")
            self._scale_watch.stop()

    def _put(self, image: ArrivedImage) -> None:
        self._statistics.receive()
        if self._worker.put(image) is not None:
            self._statistics.supersede()

    def _on_lost_device(self, failure: str) -> None:
        """End the node, from the worker's thread: only a new process can use the device again."""
        self.lost_device = failure
        self.wake()

    # Callbacks of the executor

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._enabled = request.data
        response.success = True
        response.message = "enabled" if self._enabled else "paused"
        self.get_logger().info(response.message)
        return response

    def _validate_parameters(self, wanted: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._changed(wanted)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._applies_late:
            self._apply_parameters(wanted)
        return SetParametersResult(successful=True)

    def _apply_parameters(self, wanted: Sequence[Parameter]) -> None:
        parameters = self._changed(wanted)
        if parameters.diagnostics_period != self._settings.diagnostics_period:
            self._timer.timer_period_ns = int(parameters.diagnostics_period * 1e9)
        self._settings = parameters

    def _changed(self, wanted: Sequence[Parameter]) -> NodeParameters:
        return self._settings.changed(
            {parameter.name: parameter.value for parameter in wanted},
            configured=self._predictor is not None,
        )

    def _report(self) -> None:
        with CallbackGuard(self, "diagnostics", often=True):
            self._reporter.publish(
                mode=self._mode(),
                parameters=self._settings,
                predictor=self._predictor,
                image_topic="" if self._input is None else self._input.image_topic,
                load_failure=self._load_failure,
            )

    def _mode(self) -> str:
        if self._finalized:
            return "finalized"
        if self._predictor is None:
            return "unconfigured"
        if self._input is None:
            return "inactive"
        return "active" if self._enabled else "paused"


def _spin(node: DepthNode, interruption: Interruption) -> None:
    """Handle messages until a signal comes, the device is lost or ROS is shut down."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with interruption.waking(node.wake):
        # rclpy lets errors of its own callbacks through, such as a negative time's on /clock.
        while node.context.ok() and not interruption.came and not node.lost_device:
            with CallbackGuard(node, "callback", often=True):
                executor.spin_once()


def run(
    args: Sequence[str] | None = None,
    *,
    load: Callable[[NodeParameters], DepthPredictor] = load_predictor,
) -> int:
    """Run the node until a signal or a shutdown ends it, in the main thread.

    Args:
        args: ROS arguments; those of the process by default.
        load: As of `DepthNode`.

    Returns:
        The exit code: 0, or `os.EX_SOFTWARE` if only a new process can use the device again.
    """
    node, lost = None, ""
    interruption = Interruption()
    try:
        with large_messages():
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = DepthNode(load=load, interruptible=interruption.raising)
        node.autostart()
        _spin(node, interruption)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ParameterError as error:
        sys.exit(f"depth_node: {error}")
    finally:
        if node is not None:
            lost = node.lost_device
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    if lost:
        sys.stderr.write(f"depth_node: the device is lost, start the node again: {lost}\n")
    return os.EX_SOFTWARE if lost else 0
