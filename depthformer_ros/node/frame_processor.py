"""The processing of one image: from the received message to the published outputs."""

from collections.abc import Callable
from dataclasses import replace

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.geometry.camera import Calibration, Camera
from depthformer_core.geometry.image_mask import ImageMask
from depthformer_core.inference.predictor import DepthPredictor, Prediction
from depthformer_core.types import Rgb
from depthformer_ros.node.callback_guard import LOG_PERIOD, CallbackGuard
from depthformer_ros.node.camera_input import ArrivedImage
from depthformer_ros.node.frame_statistics import FrameStatistics
from depthformer_ros.node.latest_calibration import LatestCalibration
from depthformer_ros.node.outputs import DepthOptions, Outputs, RequestedOutputs
from depthformer_ros.node.parameters import NodeParameters
from depthformer_ros.node.scale_watch import NodeScaleWatch


class FrameProcessor:
    """Selects the outputs of an image, reads it, predicts and publishes; all on one thread.

    Args:
        node: The node that logs.
        predictor: The network.
        outputs: Publishers of the outputs.
        calibration: Calibration of the camera.
        statistics: Counts of the images.
        scale_watch: Looks at each prediction once it is published.
        parameters: Returns the current parameters.
        enabled: Returns whether images are processed now.
        compressed: Whether images come as JPEG or PNG.
        mask: Pixels of the images that count; None for all.
        on_lost_device: Called with the reason when the device has failed for good.
    """

    def __init__(
        self,
        node: Node,
        *,
        predictor: DepthPredictor,
        outputs: Outputs,
        calibration: LatestCalibration,
        statistics: FrameStatistics,
        scale_watch: NodeScaleWatch,
        parameters: Callable[[], NodeParameters],
        enabled: Callable[[], bool],
        compressed: bool,
        mask: ImageMask | None,
        on_lost_device: Callable[[str], None],
    ) -> None:
        self._node = node
        self._logger = node.get_logger()
        self._predictor = predictor
        self._outputs = outputs
        self._calibration = calibration
        self._statistics = statistics
        self._scale_watch = scale_watch
        self._parameters = parameters
        self._enabled = enabled
        self._mask = mask
        self._on_lost_device = on_lost_device
        self._kind = CompressedImage if compressed else Image
        self._to_rgb = compressed_to_rgb if compressed else image_to_rgb

    def __call__(self, image: ArrivedImage) -> None:
        """Process an image, or count why not; an error costs this image alone."""
        guard = CallbackGuard(self._node, "frame", often=True)
        with guard:
            self._process(image)
        if guard.kind is None:
            return
        network = self._predictor.network
        if issubclass(guard.kind, network.memory_errors):
            self._statistics.fail("out of memory", guard.failure)
            # The allocator caches the memory of the failed pass in blocks of wrong sizes.
            with CallbackGuard(self._node, "freeing memory", often=True):
                network.free_memory()
        else:
            self._statistics.fail(guard.kind.__name__, guard.failure)
        if not network.works():
            self._on_lost_device(guard.failure)

    def _process(self, image: ArrivedImage) -> None:
        statistics, parameters = self._statistics, self._parameters()
        if not self._enabled():
            statistics.drop("paused")
            return
        due = self._outputs.take(image.arrived, rates=parameters.rates)
        if not due:
            statistics.drop(self._outputs.drop_reason())
            return
        try:
            header, rgb = self._read(image.data)
        except ConversionError as error:
            statistics.reject(error.field, str(error))
            self._logger.warning(f"image rejected: {error}", throttle_duration_sec=LOG_PERIOD)
            return
        statistics.accept()
        calibration = self._calibration_of(rgb)
        if calibration is None:
            due = replace(due, camera_info=False, points=False)
            if not due:
                statistics.drop("no calibration")
                return
        rgb = self._rectify(rgb, calibration)
        prediction = self._predict(rgb, calibration) if due.network else None
        if not self._node.context.ok():
            statistics.drop("shut down")
            return
        with statistics.stage("publish"):
            self._publish(due, header, rgb, calibration, prediction, parameters)
        statistics.complete(nonfinite_count=0 if prediction is None else prediction.nonfinite_count)
        statistics.record("total", statistics.clock() - image.arrived)
        if prediction is not None and calibration is not None:
            self._watch_scale(prediction, calibration.camera, header.frame_id, image.arrived)

    def _read(self, data: bytes) -> tuple[Header, Rgb]:
        """Deserialize a message and convert it to RGB."""
        statistics = self._statistics
        with statistics.stage("receive"):
            try:
                message = deserialize_message(data, self._kind)
            except RuntimeError as error:
                name = self._kind.__name__
                raise ConversionError(
                    "message", f"of {len(data)} bytes is no whole {name}"
                ) from error
        with statistics.stage("convert"):
            rgb = self._to_rgb(message)
        self._check_mask(rgb)
        return self._output_header(message.header), rgb

    def _check_mask(self, rgb: Rgb) -> None:
        if self._mask is None or rgb.shape[:2] == self._mask.size:
            return
        height, width = self._mask.size
        raise ConversionError(
            "input.mask",
            f"is {width}x{height}, images are {rgb.shape[1]}x{rgb.shape[0]}: it must be a picture "
            "of their size",
        )

    def _output_header(self, header: Header) -> Header:
        """Return the header of the outputs: that of the image, with a frame_id that tf2 accepts."""
        frame = header.frame_id
        if not frame:
            self._logger.warning(
                "images have no frame_id: tf cannot place depth and cloud; set the driver's",
                once=True,
            )
        elif frame.startswith("/"):
            header.frame_id = frame.lstrip("/")
            self._logger.warning(
                f"images have the frame_id {frame!r}, which tf2 refuses; outputs have "
                f"{header.frame_id!r}",
                once=True,
            )
        return header

    def _calibration_of(self, rgb: Rgb) -> Calibration | None:
        found = self._calibration.of_image(height=rgb.shape[0], width=rgb.shape[1])
        if problem := self._calibration.size_problem:
            self._logger.warning(
                f"{problem}; depth is published, without a cloud", throttle_duration_sec=LOG_PERIOD
            )
        if problem := self._calibration.unseen_problem:
            self._logger.warning(problem, throttle_duration_sec=LOG_PERIOD)
        return found

    def _rectify(self, rgb: Rgb, calibration: Calibration | None) -> Rgb:
        if calibration is None:
            return rgb
        if calibration.is_rectified:
            return calibration.blacken_unseen(rgb)
        with self._statistics.stage("rectify"):
            return calibration.rectify(rgb)

    def _predict(self, rgb: Rgb, calibration: Calibration | None) -> Prediction:
        statistics = self._statistics
        start = statistics.clock()
        camera = None if calibration is None else calibration.camera
        prediction = self._predictor.predict(rgb, camera)
        if self._mask is not None:
            prediction = prediction.without(self._mask.hidden(calibration))
        statistics.record("infer", prediction.network_seconds)
        statistics.record("fit", statistics.clock() - start - prediction.network_seconds)
        if prediction.nonfinite_count:
            self._logger.error(
                f"the network returned {prediction.nonfinite_count} values that are not finite, "
                "published as NaN: its checkpoint is damaged, or precision float32 is needed",
                throttle_duration_sec=LOG_PERIOD,
            )
        return prediction

    def _watch_scale(
        self, prediction: Prediction, camera: Camera, frame: str, arrived: float
    ) -> None:
        start = self._statistics.clock()
        # The frame is published already.
        with CallbackGuard(self._node, "scale watch", often=True):
            if self._scale_watch.add(prediction.depth, camera, frame=frame, now=arrived):
                self._statistics.record("watch scale", self._statistics.clock() - start)

    def _publish(
        self,
        due: RequestedOutputs,
        header: Header,
        rgb: Rgb,
        calibration: Calibration | None,
        prediction: Prediction | None,
        parameters: NodeParameters,
    ) -> None:
        outputs = self._outputs
        if due.image:
            outputs.publish_image(rgb, header)
        if due.camera_info and calibration is not None:
            outputs.publish_camera(calibration, header)
        if prediction is not None:
            outputs.publish_depth(
                due,
                prediction,
                header,
                rgb=rgb,
                calibration=calibration,
                options=DepthOptions(
                    min_depth=parameters.depth_min,
                    max_depth=parameters.depth_max or self._predictor.max_depth,
                    encoding=parameters.depth_encoding,
                    compression=parameters.depth_compression,
                    cloud=parameters.cloud,
                ),
            )
