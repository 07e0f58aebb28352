"""Points that hang in the air between two surfaces."""

import numpy as np
import numpy.typing as npt

# Rows at a time: arrays of so many stay in the cache, which makes it five times as fast.
_BAND = 32


def flying_points(depth: npt.NDArray[np.float32], *, jump: float) -> npt.NDArray[np.bool_]:
    """Find the points that a blurred edge leaves between the surface in front and the one behind.

    Of two neighbours in a row or a column, both count where one is farther than the other by more
    than `jump`. A plane has a jump of `1 / n` where it is seen `n` pixels from the line in which
    it vanishes: of a level road, 0.05 takes the 20 rows under the horizon.

    Args:
        depth: (H, W), metres along the optical axis; what is not finite or not positive is no
            depth and no neighbour.
        jump: Largest step of depth to a neighbour on the same surface, as a share of the nearer
            one's depth; positive.

    Returns:
        (H, W), true where a point flies; false where there is no depth.

    Raises:
        ValueError: The depth is no image, or the jump is not positive.
    """
    if depth.ndim != 2:
        raise ValueError(f"depth must have shape (H, W), got {depth.shape}")
    if not 0 < jump < np.inf:
        raise ValueError(f"jump must be positive, got {jump}")
    flying = np.zeros(depth.shape, np.bool_)
    for top in range(0, depth.shape[0], _BAND):
        # With the first row of the next band.
        rows = slice(top, top + _BAND + 1)
        # Comparisons with NaN are false.
        known = np.where(np.isfinite(depth[rows]) & (depth[rows] > 0), depth[rows], np.nan)
        _mark(known, flying[rows], jump=jump)
    return flying


def _mark(known: npt.NDArray[np.float32], flying: npt.NDArray[np.bool_], *, jump: float) -> None:
    limit = known * np.float32(1 + jump)
    one, other = (slice(None), slice(1, None)), (slice(None), slice(None, -1))
    for first, second in ((one, other), (one[::-1], other[::-1])):
        apart = (known[first] > limit[second]) | (known[second] > limit[first])
        flying[first] |= apart
        flying[second] |= apart
