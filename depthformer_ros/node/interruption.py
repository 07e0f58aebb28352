"""The signals that end the node."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from depthformer_core.signals import ENDING

# What a second signal within so many seconds is: the same one, by way of a launch file too.
_SAME_SIGNAL = 2.0


class Interruption:
    """Takes SIGINT and SIGTERM: notes the first, and lets one on the way out end the process.

    A handler that raises would do so anywhere: in a finalizer, where Python drops the error, or
    within rclpy, which would never let go of what it held then, and keep the process from ending.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._raises = False
        for number in ENDING:
            signal.signal(number, self._handle)

    @property
    def came(self) -> bool:
        """Whether a signal came."""
        return self._first is not None

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Raise KeyboardInterrupt for a signal that came, or that comes as long as this lasts."""
        self._raises = True
        try:
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call a function from another thread when a signal comes: one that wakes the main thread.

        Python handles a signal only there. rclpy's own way is a thread that may still use an
        executor which the signal has ended.
        """
        ours, pythons = os.pipe()
        os.set_blocking(pythons, False)

        def watch() -> None:
            while os.read(ours, 1):
                wake()

        thread = threading.Thread(target=watch, name="signals", daemon=True)
        thread.start()
        signal.set_wakeup_fd(pythons)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            os.close(pythons)
            thread.join()
            os.close(ours)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._first is None:
            self._first = now
            if self._raises:
                raise KeyboardInterrupt
        elif now - self._first > _SAME_SIGNAL:
            os._exit(128 + number)
