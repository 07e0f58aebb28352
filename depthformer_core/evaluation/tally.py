"""Sums over the evaluated images of a data set."""

import bisect
import math
import statistics
from dataclasses import dataclass

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.bootstrap import Interval, mean_intervals
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.frame import FrameEvaluation, Row
from depthformer_core.evaluation.metrics import (
    KITTI_BENCHMARK_METRICS,
    METRICS,
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
        seconds: Median time of a prediction; where a CPU predicts several images at once, each has
            a share of the cores.
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


class Tally:
    """Sums over evaluated images, of bounded size but for a row an image; picklable.

    Tallies of parts of a data set, by threads or processes, merge into that of the whole.

    Args:
        protocol: The protocol.
        keep: Number of worst and of best images to keep, or of first ones if there is nothing to
            compare.

    Raises:
        DepthFormerError: `keep` is negative.
    """

    def __init__(self, protocol: Protocol, *, keep: int = 0) -> None:
        if keep < 0:
            raise DepthFormerError(f"keep must not be negative, got {keep}")
        self._protocol = protocol
        self._keep = keep
        self._pixels = PixelErrorAccumulator(protocol)
        self._uncertainty = UncertaintyAccumulator()
        self._rows: list[tuple[int, Row]] = []
        self._seconds: list[float] = []
        # Sorted; the index keeps equal errors from comparing pictures.
        self._worst: list[tuple[float, int, Comparison]] = []
        self._best: list[tuple[float, int, Comparison]] = []
        self._first: list[tuple[int, Comparison]] = []

    def add(self, index: int, result: FrameEvaluation) -> None:
        """Add an image.

        Args:
            index: Its place in the data set; no image is added twice.
            result: Its evaluation.

        Raises:
            DepthFormerError: An uncertainty is negative.
        """
        self._rows.append((index, result.row))
        self._seconds.append(result.seconds)
        self._pixels.add(result.comparison)
        self._uncertainty.add(result.comparison)
        error = result.row["abs_rel"]
        if math.isnan(error):
            self._keep_first([(index, result.comparison)])
        else:
            self._keep_extremes(
                [(-error, index, result.comparison)], [(error, index, result.comparison)]
            )

    def merge(self, other: "Tally") -> None:
        """Add the images of another tally, of the same protocol."""
        self._rows += other._rows
        self._seconds += other._seconds
        self._pixels.merge(other._pixels)
        self._uncertainty.merge(other._uncertainty)
        self._keep_extremes(other._worst, other._best)
        self._keep_first(other._first)

    def result(self) -> Evaluation:
        """Return the evaluation of all images, in the order of their places.

        Raises:
            DepthFormerError: There is none.
        """
        if not self._rows:
            raise DepthFormerError("there is no image to evaluate")
        rows = [row for _, row in sorted(self._rows, key=lambda placed: placed[0])]
        logarithms = [math.log(row["scale"]) for row in rows if row["pixels"]]
        servers = KITTI_BENCHMARK_METRICS if self._protocol.kitti_benchmark else ()
        return Evaluation(
            protocol=self._protocol,
            per_image=rows,
            mean=mean_over_images(rows),
            interval=mean_intervals(rows, names=(*METRICS, *servers)),
            kitti_benchmark=mean_over_images(rows, names=servers) if servers else None,
            by_distance=self._pixels.by_distance(),
            by_row=self._pixels.by_row(),
            density=self._pixels.density,
            coverage=self._pixels.coverage,
            scale=math.exp(statistics.fmean(logarithms)) if logarithms else math.nan,
            seconds=statistics.median(self._seconds),
            worst=[comparison for _, _, comparison in self._worst],
            best=[comparison for _, _, comparison in self._best],
            first=[comparison for _, comparison in self._first],
            uncertainty=self._uncertainty.result(),
        )

    def _keep_extremes(
        self,
        worst: list[tuple[float, int, Comparison]],
        best: list[tuple[float, int, Comparison]],
    ) -> None:
        for kept, more in ((self._worst, worst), (self._best, best)):
            for one in more:
                bisect.insort(kept, one)
                del kept[self._keep :]
        if best:
            self._first = []

    def _keep_first(self, more: list[tuple[int, Comparison]]) -> None:
        if not self._best:
            self._first = sorted([*self._first, *more], key=lambda placed: placed[0])
            del self._first[self._keep :]
