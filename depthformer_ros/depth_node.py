"""The lifecycle node: images in, metric depth and clouds out."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from depthformer_core.predictor import DepthPredictor
from depthformer_ros.camera_input import CameraInput, image_topic
from depthformer_ros.edge import Edge
from depthformer_ros.frame_statistics import FrameStatistics
from depthformer_ros.inference import Inference
from depthformer_ros.latest_calibration import LatestCalibration
from depthformer_ros.network_loading import free_memory, load_predictor
from depthformer_ros.outputs import Outputs
from depthformer_ros.parameters import NodeParameters, ParameterError, declare_parameters
from depthformer_ros.reporter import Reporter
from depthformer_ros.transport import large_messages


class DepthNode(LifecycleNode):
    """Estimates depth for the newest image of a camera.

    The executor's thread reads messages and hands images to the inference thread, which lives
    while the node is active, runs the network and publishes.

    Args:
        load: Gives the network that the parameters ask for; raises where there is none.
        options: As of `rclpy.node.Node`.

    Raises:
        ParameterError: A parameter given at the start is out of range or of another type.
    """

    def __init__(
        self,
        *,
        load: Callable[[NodeParameters], DepthPredictor] = load_predictor,
        **options: Any,
    ) -> None:
        super().__init__("depthformer", **options)
        self._load_predictor = load
        self._settings = declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._statistics = FrameStatistics()
        self._calibration = LatestCalibration()
        self._predictor: DepthPredictor | None = None
        self._outputs: Outputs | None = None
        self._inference: Inference | None = None
        self._input: CameraInput | None = None
        self._image_topic = ""
        self._enabled = True
        self._load_failure = ""
        self._reporter = Reporter(self, statistics=self._statistics, calibration=self._calibration)
        # Diagnostics keep speaking when the time of a simulation or a bag stands still.
        self._timer = self.create_timer(
            self._settings.diagnostics_period,
            self._report,
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
        with Edge(self, "autostart"):
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and self.context.ok():
                self.trigger_activate()

    def close(self) -> None:
        """End the inference thread and let go of the model."""
        self._stop()
        self._release()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and try it once; stay unconfigured if that fails."""
        edge = Edge(self, "configure")
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
        start = time.monotonic()
        predictor = self._load_predictor(self._settings)
        self._predictor = predictor
        self._outputs = Outputs(self, uncertainty=predictor.gives_uncertainty)
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
        self._predictor = None
        free_memory()

    def _start(self) -> None:
        assert self._predictor is not None
        assert self._outputs is not None
        compressed = self._settings.image_transport == "compressed"
        self._image_topic = image_topic(self, compressed=compressed)
        for memory in (self._statistics, self._calibration, self._reporter):
            memory.restart()
        self._inference = Inference(
            self,
            predictor=self._predictor,
            outputs=self._outputs,
            calibration=self._calibration,
            statistics=self._statistics,
            parameters=lambda: self._settings,
            image_topic=self._image_topic,
        )
        self._input = CameraInput(
            self,
            compressed=compressed,
            calibration=self._calibration,
            statistics=self._statistics,
            idle=self._idle,
            put=self._inference.put,
        )
        self.get_logger().info(f"waiting for images on {self._image_topic}")

    def _stop(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
        if self._inference is not None:
            self._inference.close()
            self._inference = None

    def _idle(self, arrived: float) -> str:
        """Why an image that came at this time is not looked at, empty if it is."""
        if not self._enabled:
            return "paused"
        assert self._outputs is not None
        if self._outputs.due(arrived, rates=self._settings.rates):
            return ""
        return self._outputs.why_none()

    # Callbacks of the executor

    def _guarded(self, callback: Callable[[Any, Any], Any], what: str) -> Callable[[Any, Any], Any]:
        def call(request: Any, response: Any) -> Any:
            with Edge(self, what):
                return callback(request, response)
            return response

        return call

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

    def _report(self) -> None:
        with Edge(self, "diagnostics", often=True):
            self._reporter.publish(
                mode=self._mode(),
                parameters=self._settings,
                predictor=self._predictor,
                image_topic=self._image_topic,
                load_failure=self._load_failure,
            )

    def _mode(self) -> str:
        if self._predictor is None:
            return "unconfigured"
        if self._inference is None:
            return "inactive"
        return "active" if self._enabled else "paused"


class _Interruption:
    """Handler of the signals that end the node: leaves whatever is being done, a load too.

    Attributes:
        came: Whether one came. Python drops an error that is raised in a finalizer, and rclpy runs
            some of those with each callback: the error alone would get lost now and then.
    """

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt once; the way out is not interrupted again."""
        del number, frame
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, signal.SIG_IGN)
        self.came = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _woken_by_signals(executor: SingleThreadedExecutor) -> Iterator[None]:
    """End the executor's wait when a signal comes, so that Python gets to handle it.

    rclpy's own way is a thread that may still use an executor which the signal has ended.
    """
    ours, pythons = os.pipe()
    os.set_blocking(pythons, False)

    def wake() -> None:
        while os.read(ours, 1):
            executor.wake()

    thread = threading.Thread(target=wake, name="signals", daemon=True)
    thread.start()
    signal.set_wakeup_fd(pythons)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(pythons)
        thread.join()
        os.close(ours)


def _spin(node: DepthNode, interruption: _Interruption) -> None:
    """Handle messages until a signal comes or ROS is shut down."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with _woken_by_signals(executor):
        # rclpy lets errors of its own callbacks through, such as a negative time's on /clock.
        while node.context.ok() and not interruption.came:
            with Edge(node, "callback", often=True):
                executor.spin_once()


def main(
    args: Sequence[str] | None = None,
    *,
    load: Callable[[NodeParameters], DepthPredictor] = load_predictor,
) -> None:
    """Run the node until it is told to end; `load` as of `DepthNode`."""
    node = None
    interruption = _Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interruption)
    try:
        with large_messages():
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = DepthNode(load=load)
        node.autostart()
        _spin(node, interruption)
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
