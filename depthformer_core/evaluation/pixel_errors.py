"""Errors over the pixels of all images, instead of image by image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.protocol import Protocol

# Cells of the density along each axis, and the ratio of the farthest to the nearest edge.
_CELLS = 120
_SPAN = 100.0
_BANDS = 12  # of image rows


@dataclass(frozen=True, kw_only=True)
class PixelErrors:
    """Errors over pixels.

    Attributes:
        pixels: Pixels of all images.
        abs_rel: Mean of |error| / truth; NaN without pixels, as the others.
        rmse: Metres.
        a1: Share of the pixels within a factor of 1.25.
    """

    pixels: int
    abs_rel: float
    rmse: float
    a1: float


@dataclass(frozen=True, kw_only=True)
class DistanceErrors(PixelErrors):
    """Errors of all pixels with truth in one range.

    Attributes:
        near: Nearest true depth, metres.
        far: Farthest true depth, metres.
    """

    near: float
    far: float


@dataclass(frozen=True, kw_only=True)
class RowErrors(PixelErrors):
    """Errors of all pixels in one band of image rows.

    Attributes:
        top: Upper end of the band, as a share of the height of the evaluated part: 0 is its top.
        bottom: Lower end of the band, likewise.
    """

    top: float
    bottom: float


@dataclass(frozen=True)
class Density:
    """Histogram of pairs of true and predicted depth.

    Attributes:
        edges: (N + 1), metres, in equal ratios; the first and last cell also hold what lies
            beyond.
        counts: (N, N), pixels by true depth (rows) and prediction (columns).
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class PixelErrorAccumulator:
    """Sums over pixels, of bounded size however many images are added."""

    def __init__(self, protocol: Protocol) -> None:
        self._distances = np.array(protocol.distances)
        self._edges: npt.NDArray[np.float64] = np.geomspace(
            protocol.limit / _SPAN, protocol.limit, _CELLS + 1, dtype=np.float64
        )
        self._counts = np.zeros((_CELLS, _CELLS), np.int64)
        self._by_distance = _Sums(len(self._distances) - 1)
        self._by_row = _Sums(_BANDS)
        self._truth = 0

    def add(self, comparison: Comparison) -> None:
        """Add the pixels of an image."""
        height, width = comparison.scored.shape
        places = np.flatnonzero(comparison.scored)
        truth = comparison.truth.reshape(-1)[places].astype(np.float64)
        prediction = comparison.prediction.reshape(-1)[places].astype(np.float64)
        self._truth += int(np.count_nonzero(comparison.valid))
        error = np.abs(prediction - truth)
        hit = np.maximum(prediction / truth, truth / prediction) < 1.25
        values = (np.ones_like(truth), error / truth, error**2, hit)
        # Inner edges alone: what is capped lies on the last edge and belongs to the last range.
        self._by_distance.add(np.digitize(truth, self._distances[1:-1]), values)
        self._by_row.add(places // width * _BANDS // height, values)
        row, column = (np.digitize(depth, self._edges[1:-1]) for depth in (truth, prediction))
        cells = np.bincount(row * _CELLS + column, minlength=_CELLS * _CELLS)
        self._counts += cells.reshape(_CELLS, _CELLS)

    def merge(self, other: "PixelErrorAccumulator") -> None:
        """Add the images of another one, of the same protocol."""
        self._counts += other._counts
        self._by_distance.merge(other._by_distance)
        self._by_row.merge(other._by_row)
        self._truth += other._truth

    @property
    def coverage(self) -> float:
        """Share of the truth that counts which has a prediction; NaN without truth."""
        return self._by_row.pixels / self._truth if self._truth else math.nan

    @property
    def density(self) -> Density:
        """Pairs of true and predicted depth."""
        return Density(self._edges, self._counts.copy())

    def by_distance(self) -> list[DistanceErrors]:
        """Return the errors of each range of the protocol, nearest first."""
        edges = zip(self._distances[:-1], self._distances[1:], strict=True)
        return [
            DistanceErrors(near=float(near), far=float(far), **errors)
            for (near, far), errors in zip(edges, self._by_distance.errors(), strict=True)
        ]

    def by_row(self) -> list[RowErrors]:
        """Return the errors of each band of image rows, top first."""
        return [
            RowErrors(top=band / _BANDS, bottom=(band + 1) / _BANDS, **errors)
            for band, errors in enumerate(self._by_row.errors())
        ]


class _Errors(TypedDict):
    """Fields of `PixelErrors`."""

    pixels: int
    abs_rel: float
    rmse: float
    a1: float


class _Sums:
    """Sums of errors in bins."""

    def __init__(self, bins: int) -> None:
        # Pixels, sum of |error| / truth, of squared error and of hits within 1.25.
        self._sums = np.zeros((4, bins))

    def add(self, places: npt.NDArray[np.int64], values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Add values (4 of (N)) to the bins (N) where they belong."""
        for total, weights in zip(self._sums, values, strict=True):
            total += np.bincount(places, weights=weights, minlength=len(total))

    def merge(self, other: "_Sums") -> None:
        """Add the sums of another one, of the same bins."""
        self._sums += other._sums

    @property
    def pixels(self) -> float:
        """Pixels in all bins."""
        return float(self._sums[0].sum())

    def errors(self) -> list[_Errors]:
        """Return the errors of each bin."""
        errors: list[_Errors] = []
        for pixels, relative, squared, hits in self._sums.T:
            count = pixels if pixels else math.nan
            errors.append(
                _Errors(
                    pixels=int(pixels),
                    abs_rel=float(relative / count),
                    rmse=math.sqrt(squared / count),
                    a1=float(hits / count),
                )
            )
        return errors
