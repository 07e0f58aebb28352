"""Any callable from image to depth, compared with the truth of a data set."""

import bisect
import dataclasses
import math
import statistics
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.bootstrap import Interval, mean_intervals
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.metrics import (
    KITTI_BENCHMARK_METRICS,
    METRICS,
    depth_metrics,
    kitti_benchmark_metrics,
    mean_over_images,
)
from depthformer_core.evaluation.pixel_errors import (
    Density,
    DistanceErrors,
    PixelErrorAccumulator,
    RowErrors,
)
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.uncertainty import Uncertainty, UncertaintyAccumulator
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatingArray, Rgb

Predict = Callable[[Rgb, Camera | None], FloatingArray]
PredictUncertain = Callable[
    [Rgb, Camera | None], FloatingArray | tuple[FloatingArray, FloatingArray | None]
]
Row = dict[str, Any]


class Frames(typing.Protocol):
    """Frames that can be read in any order: a `DepthDataset`, or a list."""

    def __len__(self) -> int:
        """Count the frames."""
        ...

    def __getitem__(self, index: int, /) -> Frame:
        """Read a frame; IndexError past the last."""
        ...


class FrameStream(typing.Protocol):
    """Frames that are read once, in order, such as those of a bag."""

    def __len__(self) -> int:
        """Count the frames, or those that there may be."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames."""
        ...


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


@dataclass(frozen=True)
class Evaluation:
    """A data set, evaluated.

    Attributes:
        protocol: The protocol.
        per_image: One row an image, as in `FrameEvaluation`.
        mean: Mean of the nine `METRICS` over the images that have a value; NaN if none has.
        interval: 95 % bootstrap confidence interval of each mean, `kitti_benchmark` included.
        kitti_benchmark: Mean of the four errors of KITTI's server, if the protocol includes them.
        by_distance: Errors over all pixels, nearest range first.
        by_row: Errors over all pixels, top band of image rows first.
        density: True and predicted depth of all compared pixels.
        coverage: Share of the truth that counts which has a prediction; NaN without truth.
        scale: Geometric mean over images of prediction over truth: 1.1 is 10 % too far.
        seconds: Median time of a prediction.
        worst: Images of the largest `abs_rel`, worst first.
        best: Images of the smallest `abs_rel`, best first.
        first: First images, in order, if none has anything to compare.
        uncertainty: Quality of the predicted uncertainty; None where no prediction has one.
    """

    protocol: Protocol
    per_image: list[Row]
    mean: dict[str, float]
    interval: dict[str, Interval]
    kitti_benchmark: dict[str, float] | None
    by_distance: list[DistanceErrors]
    by_row: list[RowErrors]
    density: Density
    coverage: float
    scale: float
    seconds: float
    worst: list[Comparison]
    best: list[Comparison]
    first: list[Comparison]
    uncertainty: Uncertainty | None = None

    def warnings(self) -> list[str]:
        """Return sentences on why the numbers may mislead."""
        sentences = []
        if self.coverage < 1:
            sentences.append(
                f"{1 - self.coverage:.2%} of the truth has no prediction and is left out of the "
                "metrics."
            )
        empty = sum(not row["pixels"] for row in self.per_image)
        if empty == len(self.per_image):
            sentences.append("No image has anything to compare: there are no metrics.")
        elif empty:
            sentences.append(
                f"{empty} of {len(self.per_image)} images have nothing to compare and are left "
                "out of the means."
            )
        return sentences


def evaluate(
    predict: PredictUncertain,
    frames: Frames | FrameStream,
    *,
    protocol: Protocol,
    need_truth: bool = True,
    progress: bool = False,
    keep: int = 0,
) -> Evaluation:
    """Compare predictions with the truth of a data set.

    Args:
        predict: Maps an image, uint8 (H, W, 3) RGB, and its camera or None to depth on the same
            pixels, floating-point (H, W) metres, not finite where there is no prediction; or to a
            tuple of the depth and its uncertainty, the scale of a Laplace distribution around it,
            likewise, or None.
        frames: The frames; read once, in order, and not kept.
        protocol: Crop, mask and range; `PROTOCOLS` has the usual ones.
        need_truth: Whether a frame without truth is an error. Otherwise its depth is predicted
            too, and its metrics are NaN.
        progress: Whether to show a bar on the terminal.
        keep: Number of worst and of best images to keep, or of first ones if there is nothing to
            compare.

    Raises:
        DepthFormerError: There is no frame, a frame has no truth although it needs one, a
            prediction has a wrong type or shape, or an uncertainty or `keep` is negative.
    """
    if keep < 0:
        raise DepthFormerError(f"keep must not be negative, got {keep}")
    pixels = PixelErrorAccumulator(protocol)
    uncertainty = UncertaintyAccumulator()
    rows: list[Row] = []
    seconds: list[float] = []
    # Sorted by error; the index keeps equal errors from comparing pictures.
    worst: list[tuple[float, int, Comparison]] = []
    best: list[tuple[float, int, Comparison]] = []
    first: list[Comparison] = []
    progress_bar = tqdm(iter(frames), total=len(frames), unit="image", disable=not progress)
    for index, frame in enumerate(progress_bar):
        if frame.depth is None and not need_truth:
            frame = dataclasses.replace(frame, depth=np.zeros(frame.rgb.shape[:2], np.float32))
        result = evaluate_frame(predict, frame, protocol=protocol)
        rows.append(result.row)
        seconds.append(result.seconds)
        pixels.add(result.comparison)
        uncertainty.add(result.comparison)
        error = result.row["abs_rel"]
        if not math.isnan(error):
            for kept, rank in ((worst, -error), (best, error)):
                bisect.insort(kept, (rank, index, result.comparison))
                del kept[keep:]
            first = []
        elif len(first) < keep and not worst:
            first.append(result.comparison)
    if not rows:
        raise DepthFormerError("there is no image to evaluate")
    logarithms = [math.log(row["scale"]) for row in rows if row["pixels"]]
    servers = KITTI_BENCHMARK_METRICS if protocol.kitti_benchmark else ()
    return Evaluation(
        protocol=protocol,
        per_image=rows,
        mean=mean_over_images(rows),
        interval=mean_intervals(rows, names=(*METRICS, *servers)),
        kitti_benchmark=mean_over_images(rows, names=servers) if servers else None,
        by_distance=pixels.by_distance(),
        by_row=pixels.by_row(),
        density=pixels.density,
        coverage=pixels.coverage,
        scale=math.exp(statistics.fmean(logarithms)) if logarithms else math.nan,
        seconds=statistics.median(seconds),
        worst=[comparison for _, _, comparison in worst],
        best=[comparison for _, _, comparison in best],
        first=first,
        uncertainty=uncertainty.result(),
    )


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
    scored = comparison.scored
    truth, prediction = comparison.truth, comparison.prediction
    row: Row = {"file": comparison.file}
    row |= depth_metrics(prediction, truth, valid=scored)
    if protocol.kitti_benchmark:
        row |= kitti_benchmark_metrics(prediction, truth, valid=scored)
    pixels, true = int(scored.sum()), int(comparison.valid.sum())
    ratios = prediction[scored].astype(np.float64) / truth[scored]
    row["scale"] = float(np.exp(np.mean(np.log(ratios)))) if pixels else math.nan
    row["pixels"] = pixels
    row["coverage"] = pixels / true if true else math.nan
    return row
