"""One image's prediction, compared with its truth."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.metrics import depth_metrics, kitti_benchmark_metrics
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatingArray, Rgb

Predict = Callable[[Rgb, Camera | None], FloatingArray]
PredictUncertain = Callable[
    [Rgb, Camera | None], FloatingArray | tuple[FloatingArray, FloatingArray | None]
]
Row = dict[str, Any]


@dataclass(frozen=True)
class FrameEvaluation:
    """One image, evaluated.

    Attributes:
        row: `file`; the nine `METRICS` and, if the protocol includes them, the others of
            `KITTI_BENCHMARK_METRICS`; `scale`, the geometric mean of prediction over truth;
            `pixels`, how many were compared; `coverage`, their share of the truth that counts.
            NaN where there is no such pixel.
        comparison: Prediction and truth.
        seconds: Time the prediction took.
    """

    row: Row
    comparison: Comparison
    seconds: float


def evaluate_frame(
    predict: PredictUncertain, frame: Frame, *, protocol: Protocol
) -> FrameEvaluation:
    """Compare the prediction of one image with its truth.

    Args:
        predict: As in `evaluate`.
        frame: An image with truth.
        protocol: Crop, mask and range.

    Raises:
        DepthFormerError: The frame has no truth or one of another size, or the prediction or its
            uncertainty has a wrong type or shape.
    """
    shape = frame.rgb.shape[:2]
    if frame.depth is None:
        raise DepthFormerError(f"{frame.file} has no true depth to evaluate against")
    if frame.depth.shape != shape:
        raise DepthFormerError(f"{frame.file} has size {shape}, its truth {frame.depth.shape}")
    start = time.perf_counter()
    output = predict(frame.rgb, frame.camera)
    seconds = time.perf_counter() - start
    depth, uncertainty = _split(output, file=frame.file)
    check_prediction(depth, shape=shape, file=frame.file)
    if uncertainty is not None:
        check_prediction(uncertainty, shape=shape, file=frame.file, name="uncertainty")

    window = protocol.window(height=shape[0], width=shape[1]).slices
    prediction = depth[window]
    prediction = np.where(np.isfinite(prediction), prediction, prediction.dtype.type(np.nan))
    comparison = Comparison(
        file=frame.file,
        rgb=frame.rgb[window],
        truth=protocol.cap_depth(frame.depth[window]),
        prediction=protocol.clamp_prediction(prediction),
        valid=protocol.valid_truth(frame.depth[window]),
        uncertainty=None if uncertainty is None else uncertainty[window],
    )
    return FrameEvaluation(_row(comparison, protocol=protocol), comparison, seconds)


def check_prediction(
    prediction: FloatingArray, *, shape: tuple[int, ...], file: str, name: str = "prediction"
) -> None:
    """Reject arrays that are no depth of an image.

    Args:
        prediction: Depth or uncertainty of the image.
        shape: Height and width of the image.
        file: Name of the image.
        name: Name of the quantity, for the error.

    Raises:
        DepthFormerError: The prediction is no floating-point array of that shape.
    """
    if not isinstance(prediction, np.ndarray) or not np.issubdtype(prediction.dtype, np.floating):
        array = isinstance(prediction, np.ndarray)
        kind = prediction.dtype if array else type(prediction).__name__
        raise DepthFormerError(
            f"the {name} of {file} must be a floating-point array in metres, got {kind}"
        )
    if prediction.shape != shape:
        raise DepthFormerError(
            f"the {name} of {file} must have shape {shape}, got {prediction.shape}"
        )


def _split(
    output: FloatingArray | tuple[FloatingArray, FloatingArray | None], *, file: str
) -> tuple[FloatingArray, FloatingArray | None]:
    """Split a prediction into depth and uncertainty."""
    if not isinstance(output, tuple):
        return output, None
    if len(output) != 2:
        raise DepthFormerError(
            f"the prediction for {file} must be depth, or depth and uncertainty, "
            f"got {len(output)} values"
        )
    return output


def _row(comparison: Comparison, *, protocol: Protocol) -> Row:
    places = np.flatnonzero(comparison.scored)
    truth = comparison.truth.reshape(-1)[places]
    prediction = comparison.prediction.reshape(-1)[places]
    pixels, true = places.size, int(np.count_nonzero(comparison.valid))
    every = np.ones(pixels, np.bool_)
    row: Row = {"file": comparison.file}
    row |= depth_metrics(prediction, truth, valid=every)
    if protocol.kitti_benchmark:
        row |= kitti_benchmark_metrics(prediction, truth, valid=every)
    ratios = prediction.astype(np.float64) / truth
    row["scale"] = float(np.exp(np.mean(np.log(ratios)))) if pixels else math.nan
    row["pixels"] = pixels
    row["coverage"] = pixels / true if true else math.nan
    return row
