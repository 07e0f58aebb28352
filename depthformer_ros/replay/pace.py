"""The bag's time, kept against that of the machine."""

import time
from collections.abc import Callable

from depthformer_ros.replay.pause_key import PauseKey

# Between two messages on /clock, seconds.
_PERIOD = 0.02


class Pace:
    """Waits until it is a message's turn.

    Args:
        origin: Time of the bag that is now, nanoseconds.
        rate: Factor on the bag's pace.
        key: What pauses it.
        tick: Is called with the bag's time while one waits, nanoseconds.
        check: Is called likewise; raises where the wait is to end.
    """

    def __init__(
        self,
        origin: int,
        *,
        rate: float,
        key: PauseKey,
        tick: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._rate = rate
        self._key = key
        self._tick = tick
        self._check = check
        self._start = time.monotonic()

    def wait_for(self, stamp: int) -> None:
        """Wait until it is a time of the bag, nanoseconds."""
        while (left := self._due(stamp) - time.monotonic()) > 0:
            time.sleep(min(left, _PERIOD))
            self.look(stamp)
            ahead = (self._due(stamp) - time.monotonic()) * self._rate * 1e9
            if ahead > 0:
                self._tick(stamp - int(ahead))
        self.look(stamp)

    def look(self, stamp: int) -> None:
        """Wait while it is paused; the bag's time stands still."""
        self._check()
        if not self._key.pauses():
            return
        began = time.monotonic()
        now = min(stamp, self._origin + int((began - self._start) * self._rate * 1e9))
        while self._key.pauses():
            self._check()
            self._tick(now)
            time.sleep(_PERIOD)
        self._start += time.monotonic() - began

    def _due(self, stamp: int) -> float:
        return self._start + (stamp - self._origin) / 1e9 / self._rate
