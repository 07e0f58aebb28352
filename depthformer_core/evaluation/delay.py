"""Delay of the content of predictions, from what changes between frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.stamps import follows, segments, usual_period
from depthformer_core.types import FloatArray, FloatingArray

# Rows and columns of the blocks, over the image.
_ROWS, _COLUMNS = 5, 24
_BLOCKS = _ROWS * _COLUMNS
# Pixels of a frame that are enough.
_PIXELS = 16_000
_FEWEST_PIXELS = 3  # of a block
_LARGEST_CELL = 8  # pixels
# Change of ln depth beyond which a block counts no more.
_CLIP = 0.3

# Lags that are tried, seconds and frames; the larger counts.
_LONGEST = 1.0
_FEWEST_LAGS = 5
_FEWEST_CHANGES = 8
_MOST_RUNS = 300
_RESAMPLES = 300
_SEED = 0
_QUANTILES = (0.025, 0.975)
# Share of the resamples that must agree within a frame.
_SURE = 0.95


@dataclass(frozen=True)
class Delay:
    """Delay of the content of predictions.

    Attributes:
        seconds: By how much the content is older than its stamp; NaN where the scene changes too
            little to tell.
        interval: Its 95 % bootstrap confidence interval.
        lags: Lags that were tried, seconds.
        similarity: Of each lag, correlation of the changes of the predictions with those of the
            truth.
    """

    seconds: float
    interval: Interval
    lags: list[float]
    similarity: list[float]


class Changes:
    """Changes of ln depth from frame to frame in blocks of the image, of truth and prediction.

    The truth of two frames is compared in small cells of the image, since a scanner hits other
    pixels in each, the predictions at the same pixels. So points that come and go are no change
    that both have.
    """

    def __init__(self) -> None:
        self.truth: list[FloatArray] = []
        self.prediction: list[FloatArray] = []
        self._lattice: _Lattice | None = None
        # ln depth of the truth in cells, NaN where there is none, and the prediction.
        self._last: tuple[FloatingArray, FloatArray] | None = None

    def add(self, comparison: Comparison) -> float:
        """Add the next frame, and return its scale: the median of prediction over truth."""
        lattice = self._lattice
        count = int(np.count_nonzero(comparison.valid))
        if lattice is None or not lattice.fits(comparison.valid.shape, count):
            lattice = _Lattice(comparison.valid.shape, count)
            self._lattice, self._last = lattice if count else None, None
        every = lattice.every
        truth, prediction = comparison.truth[every, every], comparison.prediction[every, every]
        places = np.flatnonzero(comparison.valid[every, every] & (truth > 0) & (prediction > 0))
        true, predicted = (np.log(image.reshape(-1)[places]) for image in (truth, prediction))
        finite = np.isfinite(true) & np.isfinite(predicted)
        if not finite.all():
            places, true, predicted = places[finite], true[finite], predicted[finite]
        cells = lattice.cells[places]
        with np.errstate(invalid="ignore"):
            now = np.bincount(cells, true, lattice.size) / np.bincount(
                cells, minlength=lattice.size
            )
        changes = np.full((2, _BLOCKS), np.nan, np.float32)
        if self._last is not None:
            true_before, before = self._last[0][cells], self._last[1].reshape(-1)[places]
            known = np.isfinite(true_before) & np.isfinite(before) & (before > 0)
            places, blocks = places[known], lattice.blocks[places[known]]
            counts = np.bincount(blocks, minlength=_BLOCKS).astype(np.float64)
            counts[counts < _FEWEST_PIXELS] = np.nan
            differences = (
                now[cells[known]] - true_before[known],
                predicted[known] - np.log(before[known]),
            )
            for row, values in zip(changes, differences, strict=True):
                row[:] = np.bincount(blocks, values, _BLOCKS) / counts
        self.truth.append(changes[0])
        self.prediction.append(changes[1])
        self._last = now, np.array(prediction, np.float32)
        return float(np.exp(np.median(predicted - true))) if true.size else math.nan


class _Lattice:
    """Pixels of an image that are compared, with the cell and the block of each.

    Args:
        shape: Rows and columns of the image.
        count: Number of its pixels with truth.
    """

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        self._shape = shape
        self._stride = stride = _stride(count)
        self.every = slice(stride // 2, None, stride)
        row, column = (np.arange(size)[self.every] for size in shape)
        block = row * _ROWS // shape[0], column * _COLUMNS // shape[1]
        self.blocks = (block[0][:, None] * _COLUMNS + block[1]).ravel()
        # About as large that each cell has truth.
        spacing = math.sqrt(shape[0] * shape[1] / max(count, 1)) / stride
        side = stride * min(max(round(spacing), 1), _LARGEST_CELL)
        across = shape[1] // side + 1
        self.cells = ((row // side)[:, None] * across + column // side).ravel()
        self.size = int(self.cells[-1]) + 1

    def fits(self, shape: tuple[int, ...], count: int) -> bool:
        """Return whether an image is of this size and has no more truth by far."""
        return shape == self._shape and _stride(count) <= self._stride + 1


def _stride(count: int) -> int:
    return max(math.isqrt(count // _PIXELS), 1)


def estimate_delay(stamps: Sequence[int], changes: Changes) -> Delay:
    """Estimate by how much predictions show an older scene than their stamps say.

    The changes of the predictions are compared with those of the truth some frames before or
    after. What does not change, as a network's bias in a part of the image, has no influence, nor
    has a scale that changes for the whole image: the median over the image is taken out.

    Args:
        stamps: Time of each frame, nanoseconds.
        changes: Changes of each frame since the last.

    Returns:
        The lag of the largest covariance, refined below a frame.
    """
    period = usual_period(stamps)
    unknown = Delay(math.nan, (math.nan, math.nan), [], [])
    if math.isnan(period):
        return unknown
    most = max(_FEWEST_LAGS, math.ceil(_LONGEST / period - 1e-6))
    truth, prediction, used = _grid(stamps, changes, most=most)
    most = min(most, used - _FEWEST_CHANGES)
    if most < 1:
        return unknown
    products = _products(truth, prediction, most=most)
    total = products.sum(axis=1)
    if not (total[[0, 2]] > 0).all():
        return unknown
    course = {
        "lags": [lag * period for lag in range(-most, most + 1)],
        "similarity": _similarity(total).tolist(),
    }
    # Runs of frames are drawn again.
    runs = products.shape[1]
    rng = np.random.default_rng(_SEED)
    draws = rng.multinomial(runs, np.full(runs, 1 / runs), _RESAMPLES).astype(np.float64)
    estimate = float(_refined(total[:, None])[0]) - most
    estimates = _refined(draws @ products) - most
    if not (abs(estimates - estimate) <= 1).mean() >= _SURE:
        return Delay(math.nan, (math.nan, math.nan), **course)
    low, high = np.nanquantile(estimates, _QUANTILES)
    return Delay(estimate * period, (float(low) * period, float(high) * period), **course)


def _similarity(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the correlation of the changes, without taking out their mean."""
    pp, pt, tt = products
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(pt / np.sqrt(pp * tt)))


def _grid(
    stamps: Sequence[int], changes: Changes, *, most: int
) -> tuple[FloatArray, FloatArray, int]:
    """Place the changes at equal periods, NaN where frames are missing or stamps start again.

    Returns:
        Changes of the truth and of the predictions, (T, B), without their medians, and the number
        of frames that have any.
    """
    period = usual_period(stamps)
    steps = np.rint(np.diff(np.asarray(stamps, np.int64)) / 1e9 / period)
    # No comparison reaches over a longer gap than the lags.
    steps = np.clip(steps, 1, 2 * most + 2).astype(np.intp)
    for part in segments(stamps)[1:]:
        steps[part.start - 1] = 2 * most + 2
    places = np.concatenate([[0], np.cumsum(steps)])
    grids = []
    for values in (changes.truth, changes.prediction):
        grid = np.full((places[-1] + 1, _BLOCKS), np.nan, np.float32)
        rows = np.array(values, np.float32)
        rows[1:][~follows(stamps)] = np.nan
        some = np.isfinite(rows).any(axis=1)
        rows[some] -= np.nanmedian(rows[some], axis=1, keepdims=True)
        grid[places] = np.clip(rows, -_CLIP, _CLIP)
        grids.append(grid)
    return grids[0], grids[1], int(np.isfinite(grids[0]).any(axis=1).sum())


def _products(truth: FloatArray, prediction: FloatArray, *, most: int) -> npt.NDArray[np.float64]:
    """Sum products of the changes over blocks and runs of frames, for each lag.

    Args:
        truth: (T, B), changes of the truth.
        prediction: (T, B), changes of the predictions.
        most: The longest lag, frames.

    Returns:
        (3, runs, 2 * most + 1): sums of p p, p t and t t, where p is a change of the predictions,
        t that of the truth a lag before it. Lags go from -most.
    """
    times = len(truth)
    length = max(math.ceil(times ** (1 / 3)), math.ceil(times / _MOST_RUNS))
    starts = np.arange(0, times, length)
    padded = np.pad(truth, ((most, most), (0, 0)), constant_values=np.nan)
    sums = np.zeros((3, len(starts), 2 * most + 1))
    for place in range(2 * most + 1):
        shifted = padded[2 * most - place :][:times]
        known = np.isfinite(prediction + shifted)
        p, t = np.where(known, prediction, 0), np.where(known, shifted, 0)
        for total, pair in zip(sums, ((p, p), (p, t), (t, t)), strict=True):
            over_blocks = np.einsum("tb,tb->t", *pair, dtype=np.float64)
            total[:, place] = np.add.reduceat(over_blocks, starts)
    return sums


def _refined(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the places of the best lags of (3, N, lags) sums, below a frame; NaN at an end.

    What changes depth are edges that pass, so the covariance falls in straight lines to either side
    (equiangular fit), not as a parabola. It is taken over the power of the predictions, which is
    that of the same frames; that of the truth is of others at each lag.
    """
    pp, pt, _ = products
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = np.nan_to_num(pt / pp)
    best = np.clip(covariance.argmax(axis=1), 1, covariance.shape[1] - 2)
    rows = np.arange(len(covariance))
    before, most, after = (covariance[rows, best + step] for step in (-1, 0, 1))
    fall = most - np.minimum(before, after)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = 0.5 * (after - before) / fall
    return np.where((most >= before) & (most >= after) & (most > 0), best + part, np.nan)
