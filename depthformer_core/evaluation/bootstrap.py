"""Bootstrap confidence intervals of means over images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]

_RESAMPLES = 1000
_SEED = 0
_QUANTILES = (0.025, 0.975)
# With fewer, resamples are too much alike.
_FEWEST_VALUES = 8
_FEWEST_BLOCKS = 4


def mean_interval(values: Sequence[float]) -> Interval:
    """Compute the 95 % bootstrap confidence interval of a mean over neighbouring images.

    Images of a drive resemble their neighbours, so single images drawn at random would promise too
    narrow an interval. Blocks of neighbours are drawn instead: the circular block bootstrap of
    Politis and Romano (1992), with the block length that Carlstein (Annals of Statistics 14(3),
    1986) finds best for an autoregressive series: n^(1/3) (2 r / (1 - r^2))^(2/3), where r is the
    correlation of neighbours. Unrelated images are drawn one by one.

    Args:
        values: One value an image, in the order of the images; NaN where an image has none, which
            is left out.

    Returns:
        Lower and upper end, the same at every call; both NaN with fewer than eight values,
        which are too few.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    count = known.size
    if count < _FEWEST_VALUES:
        return math.nan, math.nan
    mean = known.mean()
    # Sums of blocks are differences of running sums, over a series that starts again at its end.
    centred = known - mean
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([centred, centred]))])
    length = _block_length(centred)
    blocks = math.ceil(count / length)
    lengths = np.full(blocks, length)
    lengths[-1] = count - length * (blocks - 1)
    starts = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, blocks))
    shifts = (running[starts + lengths] - running[starts]).sum(axis=1) / count
    low, high = mean + np.quantile(shifts, _QUANTILES)
    return float(low), float(high)


def mean_intervals(
    rows: Sequence[Mapping[str, Any]], *, names: Sequence[str]
) -> dict[str, Interval]:
    """Compute the 95 % bootstrap confidence interval of each metric's mean, see `mean_interval`.

    Args:
        rows: Metrics of each image by name, NaN where an image has none, in the order of the
            images.
        names: The metrics.
    """
    return {name: mean_interval([row[name] for row in rows]) for name in names}


def _block_length(centred: npt.NDArray[np.float64]) -> int:
    """Return the length of the blocks for a series without its mean."""
    count = centred.size
    power = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / power if power else 0.0
    longest = max(1, count // _FEWEST_BLOCKS)
    # By Cauchy and Schwarz below 1, but rounding may reach it.
    if not 0 < correlation < 1:
        return 1
    length = math.pow(count, 1 / 3) * math.pow(2 * correlation / (1 - correlation**2), 2 / 3)
    return min(max(1, round(length)), longest)
