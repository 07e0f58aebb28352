"""Errors over the pixels of all images, instead of image by image."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.protocol import Protocol

# Cells of the density along each axis, and the ratio of the farthest to the nearest edge.
_CELLS = 120
_SPAN = 100.0


@dataclass(frozen=True)
class DistanceErrors:
    """Errors of all pixels whose truth lies in one range.

    Attributes:
        near: Nearest true depth, metres.
        far: Farthest true depth, metres.
        pixels: Pixels of all images.
        abs_rel: Mean of |error| / truth; NaN without pixels, as the others.
        rmse: Metres.
        a1: Share of the pixels within a factor of 1.25.
    """

    near: float
    far: float
    pixels: int
    abs_rel: float
    rmse: float
    a1: float


@dataclass(frozen=True)
class Density:
    """How often pairs of true and estimated depth occur.

    Attributes:
        edges: (N + 1), metres, in equal ratios; the first and last cell also hold what lies
            beyond.
        counts: (N, N), pixels by true depth (rows) and estimate (columns).
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class Pool:
    """Sums over pixels, of bounded size however many images are added."""

    def __init__(self, protocol: Protocol) -> None:
        self._distances = np.array(protocol.distances)
        self._edges: npt.NDArray[np.float64] = np.geomspace(
            protocol.limit / _SPAN, protocol.limit, _CELLS + 1, dtype=np.float64
        )
        self._counts = np.zeros((_CELLS, _CELLS), np.int64)
        # Pixels, sum of |error| / truth, of squared error and of hits within 1.25, by distance.
        self._sums = np.zeros((4, len(self._distances) - 1))
        self._truth = 0

    def add(self, comparison: Comparison) -> None:
        """Add the pixels of an image."""
        scored = comparison.scored
        truth = comparison.truth[scored].astype(np.float64)
        prediction = comparison.prediction[scored].astype(np.float64)
        self._truth += int(comparison.valid.sum())
        error = np.abs(prediction - truth)
        hit = np.maximum(prediction / truth, truth / prediction) < 1.25
        # Inner edges alone: what is capped lies on the last edge and belongs to the last range.
        ranges = np.digitize(truth, self._distances[1:-1])
        for total, values in zip(
            self._sums, (np.ones_like(truth), error / truth, error**2, hit), strict=True
        ):
            total += np.bincount(ranges, weights=values, minlength=len(total))
        row, column = (np.digitize(values, self._edges[1:-1]) for values in (truth, prediction))
        cells = np.bincount(row * _CELLS + column, minlength=_CELLS * _CELLS)
        self._counts += cells.reshape(_CELLS, _CELLS)

    @property
    def coverage(self) -> float:
        """Share of the truth that counts which has an estimate; NaN without truth."""
        return float(self._sums[0].sum()) / self._truth if self._truth else math.nan

    @property
    def density(self) -> Density:
        """Pairs of true and estimated depth."""
        return Density(self._edges, self._counts.copy())

    def by_distance(self) -> list[DistanceErrors]:
        """Errors of each range of the protocol, nearest first."""
        errors = []
        for near, far, (pixels, relative, squared, hits) in zip(
            self._distances[:-1], self._distances[1:], self._sums.T, strict=True
        ):
            count = pixels if pixels else math.nan
            errors.append(
                DistanceErrors(
                    near=float(near),
                    far=float(far),
                    pixels=int(pixels),
                    abs_rel=float(relative / count),
                    rmse=math.sqrt(squared / count),
                    a1=float(hits / count),
                )
            )
        return errors
