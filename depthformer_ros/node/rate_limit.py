"""An even pace for what must not come too often."""

import math

# Share of the period something may come early. Without, a camera whose images come a little
# unevenly, at the very rate that is allowed, would lose every other one.
_EARLY = 0.25


class RateLimit:
    """Tells when it is time for the next one, so that they are not more than so many a second.

    Turns follow each other evenly: of images at 30 Hz, a limit of 20 Hz takes two of three, where
    waiting a whole period after each would take every other one. One thread may ask while another
    takes a turn.
    """

    def __init__(self) -> None:
        self._turn = -math.inf

    def due(self, now: float, *, rate: float) -> bool:
        """Whether it is time.

        Args:
            now: Seconds of a clock that never goes back.
            rate: Turns a second; 0 for no limit.
        """
        return rate == 0 or now >= self._turn + (1 - _EARLY) / rate

    def take(self, now: float, *, rate: float) -> None:
        """Take the turn that is due; arguments as of `due`."""
        period = 1 / rate if rate else 0.0
        turn = self._turn + period
        # After a pause nothing is made up for.
        self._turn = turn if now < turn + period else now
