"""Times of frames: those that start again, gaps, and the usual period."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_NANOSECONDS = 1e9
# Intervals of usual periods from which on frames are missing.
_GAP = 1.5


def usual_period(stamps: Sequence[int]) -> float:
    """Return the median interval of neighbouring stamps that grow, seconds; NaN without any."""
    intervals = _intervals(stamps)
    intervals = intervals[intervals > 0]
    return float(np.median(intervals)) if intervals.size else math.nan


def elapsed_seconds(stamps: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the seconds from the first stamp to each.

    Stamps that start again, as of a bag played twice, go on one usual period after those before.

    Args:
        stamps: Nanoseconds, in the order of the frames.
    """
    if not stamps:
        return np.zeros(0)
    intervals = _intervals(stamps)
    if (intervals < 0).any():
        period = usual_period(stamps)
        intervals = np.where(intervals < 0, 0.0 if math.isnan(period) else period, intervals)
    return np.concatenate([[0.0], np.cumsum(intervals)])


def segments(stamps: Sequence[int]) -> list[slice]:
    """Return the runs of frames whose stamps do not start again."""
    if not stamps:
        return []
    starts = (np.flatnonzero(_intervals(stamps) < 0) + 1).tolist()
    return [slice(*ends) for ends in zip([0, *starts], [*starts, len(stamps)], strict=True)]


def follows(stamps: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return of each frame but the first whether none is missing between it and the last one."""
    intervals = _intervals(stamps)
    return (intervals > 0) & (intervals <= _GAP * usual_period(stamps))


def _intervals(stamps: Sequence[int]) -> npt.NDArray[np.float64]:
    # Differences of integers: a double cannot hold nanoseconds since 1970.
    return np.diff(np.asarray(stamps, np.int64)) / _NANOSECONDS
