"""Sources of depth, judged side by side on the frames of a bag."""

import bisect
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthformer_core.data.dataset import Frame
from depthformer_core.evaluation.bootstrap import Interval, mean_intervals
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.consistency import Consistency
from depthformer_core.evaluation.frame import FrameEvaluation, Predict, Row, evaluate_frame
from depthformer_core.evaluation.ground_scale import GroundScale
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.metrics import METRICS, depth_metrics, mean_over_images
from depthformer_core.evaluation.obstacle_tally import Obstacles
from depthformer_core.evaluation.obstacles import FrameObstacles
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.scale_alignment import Alignment, fit_scale
from depthformer_core.evaluation.stability import Stability
from depthformer_core.evaluation.tally import Evaluation, Tally
from depthformer_core.replay.bag_pass import BagFrame
from depthformer_core.types import BoolArray, FloatingArray

ALIGNMENTS: tuple[Alignment, ...] = ("median", "least-squares")
"""The alignments that are reported beside metric depth."""

# Aligned figures are of at most so many pixels of an image, evenly drawn.
_MOST_ALIGNED = 50_000


@dataclass(frozen=True)
class DepthSource:
    """What predicts depth: a network, a node, or a recorded topic.

    Attributes:
        name: Its name in reports.
        kind: What it is.
        predict: Returns the depth of a frame on its pixels, (H, W), metres, NaN where there is
            none, infinite beyond the source's range; None without a prediction.
        alignment: How predictions are brought to the truth's scale before they are compared.
    """

    name: str
    kind: Literal["network", "node", "topic"]
    predict: Callable[[BagFrame], FloatingArray | None]
    alignment: Alignment = "none"


@dataclass(frozen=True)
class Means:
    """Means of the `METRICS` over images, and their 95 % confidence intervals."""

    mean: dict[str, float]
    interval: dict[str, Interval]


@dataclass(frozen=True)
class SourceEvaluation:
    """One source, evaluated.

    Attributes:
        name: Name of the source.
        kind: What it is.
        alignment: How its predictions were brought to the truth's scale.
        evaluation: Errors over all its own pixels.
        paired: Metrics of each image over the pixels that all sources have; NaN where there are
            none.
        aligned: The same after each of `ALIGNMENTS`, averaged.
        latency: Times of its predictions, where they are known.
        obstacles: Obstacles that it misses and makes up, where ground and camera are known.
        worst_obstacles: Those of the frame with the most misses and phantoms.
        stability: Its scale over time; none of aligned predictions.
        consistency: Agreement of its consecutive predictions, where the motion is known.
        ground_scale: Its scale by the ground, where `/tf_static` knows that; none of aligned
            predictions.
    """

    name: str
    kind: str
    alignment: Alignment
    evaluation: Evaluation
    paired: list[Row]
    aligned: dict[str, Means]
    latency: Latency | None = None
    obstacles: Obstacles | None = None
    worst_obstacles: FrameObstacles | None = None
    stability: Stability | None = None
    consistency: Consistency | None = None
    ground_scale: GroundScale | None = None


class SourceTallies:
    """Sums over the frames of a bag, of each of several sources.

    Args:
        sources: The sources.
        protocol: What counts.
        keep: Number of worst and of best images to keep of each, and of those in which they
            differ most.
    """

    def __init__(self, sources: Sequence[DepthSource], *, protocol: Protocol, keep: int) -> None:
        self._sources = sources
        self._protocol = protocol
        self._tallies = {source.name: Tally(protocol, keep=keep) for source in sources}
        self._keep = keep
        # Sorted; the index keeps equal values from comparing pictures.
        self._contrasts: list[tuple[float, int, dict[str, Comparison]]] = []
        self._paired: dict[str, list[Row]] = {source.name: [] for source in sources}
        self._aligned: dict[tuple[str, str], list[Row]] = {
            (source.name, alignment): [] for source in sources for alignment in ALIGNMENTS
        }

    def add(self, index: int, item: BagFrame) -> dict[str, FrameEvaluation]:
        """Let all sources predict a frame, and compare them with its truth.

        Args:
            index: Place of the frame.
            item: The frame; without truth, nothing is compared.

        Returns:
            The comparison of each source by its name.
        """
        frame = item.frame
        if frame.depth is None:
            unknown = np.zeros(frame.rgb.shape[:2], np.float32)
            frame = dataclasses.replace(frame, depth=unknown)
        window = self._protocol.window(height=frame.rgb.shape[0], width=frame.rgb.shape[1]).slices
        results, raw = {}, {}
        for source in self._sources:
            start = time.perf_counter()
            depth = source.predict(item)
            seconds = time.perf_counter() - start
            if depth is None:
                depth = np.full(frame.rgb.shape[:2], np.nan, np.float32)
            depth = self._in_metres(depth, frame, source.alignment)
            result = evaluate_frame(_constant(depth), frame, protocol=self._protocol)
            result = dataclasses.replace(result, seconds=seconds)
            self._tallies[source.name].add(index, result)
            results[source.name], raw[source.name] = result, depth[window]
        self._pair(results, raw)
        self._contrast(index, results)
        return results

    @property
    def contrasts(self) -> list[dict[str, Comparison]]:
        """Images in which several sources differ most in `abs_rel`, the largest difference first.

        Each has the comparison of every source by its name.
        """
        return [comparisons for _, _, comparisons in self._contrasts]

    def result(self) -> list[SourceEvaluation]:
        """Return the evaluation of each source, in their order.

        Raises:
            DepthFormerError: There is no frame.
        """
        return [
            SourceEvaluation(
                name=source.name,
                kind=source.kind,
                alignment=source.alignment,
                evaluation=self._tallies[source.name].result(),
                paired=self._paired[source.name],
                aligned={
                    alignment: _means(self._aligned[source.name, alignment])
                    for alignment in ALIGNMENTS
                },
            )
            for source in self._sources
        ]

    def _in_metres(self, depth: FloatingArray, frame: Frame, alignment: Alignment) -> FloatingArray:
        """Return aligned depth; infinite depth is as far as truth may be."""
        assert frame.depth is not None
        far = depth.dtype.type(self._protocol.limit)
        if alignment != "none":
            window = self._protocol.window(height=depth.shape[0], width=depth.shape[1]).slices
            known = self._protocol.valid_truth(frame.depth[window]) & ~np.isnan(depth[window])
            fit = fit_scale(depth[window][known], frame.depth[window][known], alignment)
            depth = fit.apply(depth)
        beyond = np.isposinf(depth)
        return np.where(beyond, far, depth) if beyond.any() else depth

    def _contrast(self, index: int, results: Mapping[str, FrameEvaluation]) -> None:
        """Keep an image if the sources differ much in it."""
        errors = [self._paired[name][-1]["abs_rel"] for name in results]
        if len(errors) < 2 or not self._keep or any(map(math.isnan, errors)):
            return
        comparisons = {name: result.comparison for name, result in results.items()}
        entry = (min(errors) - max(errors), index, comparisons)
        bisect.insort(self._contrasts, entry, key=lambda kept: kept[:2])
        del self._contrasts[self._keep :]

    def _pair(
        self, results: Mapping[str, FrameEvaluation], raw: Mapping[str, FloatingArray]
    ) -> None:
        """Compare the sources on the pixels that all of them have."""
        scored = {name: result.comparison.scored for name, result in results.items()}
        common: BoolArray = np.logical_and.reduce(list(scored.values()))
        pixels = int(np.count_nonzero(common))
        places = np.flatnonzero(common)[:: max(1, math.ceil(pixels / _MOST_ALIGNED))]
        for name, result in results.items():
            comparison = result.comparison
            if pixels == result.row["pixels"]:
                row = {metric: result.row[metric] for metric in METRICS}
            else:
                row = depth_metrics(comparison.prediction, comparison.truth, valid=common)
            self._paired[name].append({"file": comparison.file, **row})
            truth = comparison.truth.reshape(-1)[places]
            given = np.maximum(raw[name].reshape(-1)[places], self._protocol.min_depth)
            for alignment in ALIGNMENTS:
                fit = fit_scale(given, truth, alignment)
                aligned = self._protocol.clamp_prediction(fit.apply(given))
                self._aligned[name, alignment].append(
                    dict(depth_metrics(aligned, truth, valid=np.isfinite(aligned)))
                )


def _constant(depth: FloatingArray) -> Predict:
    return lambda _rgb, _camera: depth


def _means(rows: Sequence[Row]) -> Means:
    return Means(mean_over_images(rows), mean_intervals(rows, names=METRICS))
