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
from depthformer_core.evaluation.comparison import Comparison, Depth, Rgb
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
from depthformer_core.evaluation.uncertainty import Uncertainty, UncertaintyPool
from depthformer_core.geometry.camera import Camera

Predict = Callable[[Rgb, Camera | None], Depth]
PredictUncertain = Callable[[Rgb, Camera | None], Depth | tuple[Depth, Depth | None]]
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
        row: `file`; the nine `METRICS` and, if the protocol says so, the others of
            `KITTI_BENCHMARK_METRICS`; `scale`, the geometric mean of estimate over truth;
            `pixels`, how many were compared; `coverage`, their share of the truth that counts.
            NaN where there is no such pixel.
        comparison: What was compared.
        seconds: Time the estimate took.
    """

    row: Row
    comparison: Comparison
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """A data set, evaluated.

    Attributes:
        protocol: What counted.
        per_image: One row an image, as in `FrameEvaluation`.
        mean: Mean of the nine `METRICS` over the images that have a value; NaN if none has.
        interval: 95 % interval of each mean, those in `kitti_benchmark` included.
        kitti_benchmark: Mean of the four errors of KITTI's server, if the protocol asks for them.
        by_distance: Errors pooled over pixels, nearest range first.
        by_row: Errors pooled over pixels, top band of image rows first.
        density: True and estimated depth of all compared pixels.
        coverage: Share of the truth that counts which has an estimate; NaN without truth.
        scale: Geometric mean over images of estimate over truth: 1.1 is 10 % too far.
        seconds: Median time of an estimate.
        worst: Images of the largest `abs_rel`, worst first.
        best: Images of the smallest `abs_rel`, best first.
        first: First images, in order, if none has anything to compare.
        uncertainty: Whether the uncertainty of the estimates tells how wrong they are; None where
            none has one.
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
        """Say in sentences why the numbers may mislead."""
        sentences = []
        if self.coverage < 1:
            sentences.append(
                f"{1 - self.coverage:.2%} of the truth has no estimate and is left out of the "
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
    """Compare estimates with the truth of a data set.

    Args:
        predict: Takes an image, uint8 (H, W, 3) RGB, and its camera or None; answers its depth on
            the same pixels, floating-point (H, W) metres, not finite where there is no estimate;
            or a tuple of the depth and its uncertainty, the scale of a Laplace distribution around
            it, likewise, or None.
        frames: What to evaluate; read once, in order, and not kept.
        protocol: What counts; `PROTOCOLS` has the usual ones.
        need_truth: Whether a frame without truth is an error. Otherwise its depth is estimated
            too, and its metrics are NaN.
        progress: Whether to show a bar on the terminal.
        keep: How many of the worst and of the best images to keep, or of the first if there is
            nothing to compare.

    Raises:
        ValueError: There is no frame, a frame has no truth although it needs one, an estimate has a
            wrong type or shape, or an uncertainty or `keep` is negative.
    """
    if keep < 0:
        raise DepthFormerError(f"keep must not be negative, got {keep}")
    pool = PixelErrorAccumulator(protocol)
    uncertainty = UncertaintyPool()
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
        pool.add(result.comparison)
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
        by_distance=pool.by_distance(),
        by_row=pool.by_row(),
        density=pool.density,
        coverage=pool.coverage,
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
    """Compare the estimate of one image with its truth.

    Args:
        predict: As in `evaluate`.
        frame: An image with truth.
        protocol: What counts.

    Raises:
        ValueError: The frame has no truth or one of another size, or the estimate or its
            uncertainty has a wrong type or shape.
    """
    shape = frame.rgb.shape[:2]
    if frame.depth is None:
        raise DepthFormerError(f"{frame.file} has no true depth to evaluate against")
    if frame.depth.shape != shape:
        raise DepthFormerError(f"{frame.file} has size {shape}, its truth {frame.depth.shape}")
    start = time.perf_counter()
    answer = predict(frame.rgb, frame.camera)
    seconds = time.perf_counter() - start
    depth, uncertainty = _split(answer, file=frame.file)
    check_estimate(depth, shape=shape, file=frame.file)
    if uncertainty is not None:
        check_estimate(uncertainty, shape=shape, file=frame.file, name="uncertainty")

    window = protocol.window(height=shape[0], width=shape[1]).slices
    estimate = depth[window]
    estimate = np.where(np.isfinite(estimate), estimate, estimate.dtype.type(np.nan))
    comparison = Comparison(
        file=frame.file,
        rgb=frame.rgb[window],
        truth=protocol.cap_depth(frame.depth[window]),
        prediction=protocol.clamp_estimate(estimate),
        valid=protocol.valid_truth(frame.depth[window]),
        uncertainty=None if uncertainty is None else uncertainty[window],
    )
    return FrameEvaluation(_row(comparison, protocol=protocol), comparison, seconds)


def check_estimate(
    answer: Depth, *, shape: tuple[int, ...], file: str, name: str = "estimate"
) -> None:
    """Reject what is no depth of an image.

    Args:
        answer: What a callable answered.
        shape: Height and width of the image.
        file: Name of the image.
        name: What the answer is.

    Raises:
        ValueError: The answer is no floating-point array of that shape.
    """
    if not isinstance(answer, np.ndarray) or not np.issubdtype(answer.dtype, np.floating):
        kind = answer.dtype if isinstance(answer, np.ndarray) else type(answer).__name__
        raise DepthFormerError(
            f"the {name} of {file} must be a floating-point array in metres, got {kind}"
        )
    if answer.shape != shape:
        raise DepthFormerError(f"the {name} of {file} must have shape {shape}, got {answer.shape}")


def _split(answer: Depth | tuple[Depth, Depth | None], *, file: str) -> tuple[Depth, Depth | None]:
    """Depth and uncertainty of an answer."""
    if not isinstance(answer, tuple):
        return answer, None
    if len(answer) != 2:
        raise DepthFormerError(
            f"the answer for {file} must be depth, or depth and uncertainty, "
            f"got {len(answer)} values"
        )
    return answer


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
