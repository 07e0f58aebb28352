"""A rate limit with even intervals."""

import math

# Share of the period a message may come early. Without it, a camera at exactly the allowed rate
# would lose every other image to jitter.
_EARLY = 0.25


class RateLimit:
    """Limits the rate of messages, at even intervals.

    Of images at 30 Hz, a limit of 20 Hz takes two of three; waiting a whole period after each
    would take every other one. One thread may call `due` while another calls `take`.
    """

    def __init__(self) -> None:
        self._last = -math.inf

    def due(self, now: float, *, rate: float) -> bool:
        """Return whether the next message is due.

        Args:
            now: Seconds of a clock that never goes back.
            rate: Messages a second; 0 for no limit.
        """
        return rate == 0 or now >= self._last + (1 - _EARLY) / rate

    def take(self, now: float, *, rate: float) -> None:
        """Count a message that is due; arguments as of `due`."""
        period = 1 / rate if rate else 0.0
        last = self._last + period
        # After a pause there is no burst.
        self._last = last if now < last + period else now
