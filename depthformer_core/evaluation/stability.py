"""Stability of depth over time: scale, its drift and flicker, and the delay of the content."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.evaluation.bootstrap import Interval, mean_interval
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.delay import Changes, Delay, estimate_delay
from depthformer_core.evaluation.stamps import elapsed_seconds, segments, usual_period
from depthformer_core.types import FloatingArray

_MINUTE = 60.0
# A line through two frames says nothing about a third.
_FEWEST_FRAMES = 3
# Half of the time over which the local mean is taken, seconds, and in frames at least: over few
# frames, jitter and alternation cannot both be told right.
_REACH = 0.5
_REACH_FRAMES = 5
_NO_FREEDOM = 1e-9


@dataclass(frozen=True)
class Stability:
    """Scale of the predictions over time.

    Attributes:
        seconds: Time of each frame since the first, see `stamps.elapsed_seconds`.
        scales: Median of prediction over truth of each frame; NaN without any.
        scale: Geometric mean of the scales: 1.1 is 10 % too far; NaN without any, as the others.
        drift: Change of the scale a minute, as a share of its fitted value at the start.
        drift_interval: Its 95 % bootstrap confidence interval.
        drift_line: Fitted scale at each frame.
        flicker: Deviation of the scale from its local mean, as a share, see `flicker`.
        delay: Delay of the content.
    """

    seconds: list[float]
    scales: list[float]
    scale: float
    drift: float
    drift_interval: Interval
    drift_line: list[float]
    flicker: float
    delay: Delay


class StabilityAccumulator:
    """Scales and changes of the frames of one source, some 250 values a frame; picklable."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._scales: list[float] = []
        self._changes = Changes()

    def add(self, stamp: int, comparison: Comparison) -> None:
        """Add the next frame.

        Args:
            stamp: Its time, nanoseconds.
            comparison: Its prediction and truth.
        """
        self._stamps.append(stamp)
        self._scales.append(self._changes.add(comparison))

    def result(self) -> Stability:
        """Return the stability over all frames."""
        seconds, runs = elapsed_seconds(self._stamps), segments(self._stamps)
        scales = np.array(self._scales, np.float64)
        logs = np.log(scales)
        known = np.isfinite(logs)
        drift, interval, line = _drift(seconds, scales)
        return Stability(
            seconds=seconds.tolist(),
            scales=scales.tolist(),
            scale=float(np.exp(logs[known].mean())) if known.any() else math.nan,
            drift=drift,
            drift_interval=interval,
            drift_line=line.tolist(),
            flicker=flicker([self._stamps[run] for run in runs], [logs[run] for run in runs]),
            delay=estimate_delay(self._stamps, self._changes),
        )


def flicker(stamps: Sequence[Sequence[int]], logs: Sequence[npt.NDArray[np.float64]]) -> float:
    """Compute the root mean square deviation of a scale from its local mean.

    The local mean is taken over half a second to either side, and at least five frames, so slow
    drift is no flicker. Of a scale that jumps at random from frame to frame this is its standard
    deviation; of one that alternates between +a and -a it is a, up to 6 % more; of a sinusoid of
    amplitude a it is a / sqrt(2) where a period takes a second or less, and fades for slower ones.

    Args:
        stamps: Times of the frames of each run, nanoseconds.
        logs: Natural logarithm of the scale of each frame; NaN where it has none.

    Returns:
        A share; NaN without a run of three frames.
    """
    squares, freedom = 0.0, 0.0
    for run, scales in zip(stamps, logs, strict=True):
        known = np.isfinite(scales)
        if np.count_nonzero(known) < _FEWEST_FRAMES:
            continue
        seconds, values = elapsed_seconds(run)[known], scales[known]
        values = values - np.polyval(_line(seconds, values), seconds)
        period = usual_period(run)
        reach = max(_REACH, _REACH_FRAMES * period)
        starts = np.searchsorted(seconds, seconds - reach - period / 2)
        ends = np.searchsorted(seconds, seconds + reach + period / 2, side="right")
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            # Frames at the ends count half, so that an alternation has no mean.
            distance = abs(seconds[start:end] - seconds[place])
            weights = np.clip((reach + period / 2 - distance) / period, 0, 1)
            weights /= weights.sum()
            squares += float(values[place] - weights @ values[start:end]) ** 2
            # The share of its variance that independent jitter keeps beside its local mean.
            freedom += 1 - 2 * float(weights[place - start]) + float(weights @ weights)
    return math.sqrt(squares / freedom) if freedom > _NO_FREEDOM else math.nan


def _drift(
    seconds: npt.NDArray[np.float64], scales: npt.NDArray[np.float64]
) -> tuple[float, Interval, FloatingArray]:
    """Fit the scale over time: a straight line, or steady growth where that fits better.

    Returns:
        Change a minute, as a share, its interval, and the fitted scales.
    """
    unknown = math.nan, (math.nan, math.nan), np.full(len(scales), math.nan)
    known = np.isfinite(scales) & (scales > 0)
    minutes, values = seconds[known] / _MINUTE, scales[known]
    if len(values) < _FEWEST_FRAMES or not np.ptp(minutes):
        return unknown
    every = seconds / _MINUTE
    line, growth = _line(minutes, values), _line(minutes, np.log(values))
    start = float(np.polyval(line, every[0]))
    straight, grown = np.polyval(line, minutes), np.exp(np.polyval(growth, minutes))
    # Weights of the values in the slope of the line.
    centred = minutes - minutes.mean()
    weights = len(values) * centred / float(centred @ centred)
    if start > 0 and ((values - straight) ** 2).sum() <= ((values - grown) ** 2).sum():
        low, high = mean_interval(weights * (values - straight) / start)
        drift = float(line[0]) / start
        return drift, (drift + low, drift + high), np.polyval(line, every)
    low, high = mean_interval(weights * np.log(values / grown))
    slope = float(growth[0])
    ends = math.expm1(slope + low), math.expm1(slope + high)
    return math.expm1(slope), ends, np.exp(np.polyval(growth, every))


def _line(
    times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return slope and value at zero of the straight line of least squares."""
    middle = times.mean()
    centred = times - middle
    power = float(centred @ centred)
    slope = float(centred @ values) / power if power else 0.0
    return np.array((slope, values.mean() - slope * middle))
