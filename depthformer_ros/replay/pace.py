"""The bag's time, kept in pace with that of the machine."""

import time
from collections.abc import Callable

from depthformer_ros.replay.pause_key import PauseKey

# Between two messages on /clock, seconds.
_PERIOD = 0.02


class Pace:
    """Waits until a message is due.

    Args:
        origin: Time of the bag at construction, nanoseconds.
        rate: Factor on the bag's pace.
        key: Pauses it.
        tick: Called with the bag's time during waits, nanoseconds.
        check: Called likewise; raises to end the wait.
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
        """Wait until a time of the bag, nanoseconds."""
        while (left := self._due(stamp) - time.monotonic()) > 0:
            time.sleep(min(left, _PERIOD))
            self.wait_while_paused(stamp)
            ahead = (self._due(stamp) - time.monotonic()) * self._rate * 1e9
            if ahead > 0:
                self._tick(stamp - int(ahead))
        self.wait_while_paused(stamp)

    def wait_while_paused(self, stamp: int) -> None:
        """Wait while paused; the bag's time stands still."""
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
