"""The signals that end the node."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from depthformer_core.signals import ENDING

# Seconds within which a second signal is the same one, sent by launch too.
_SAME_SIGNAL = 2.0


class Interruption:
    """Handles SIGINT and SIGTERM: records the first; a later one ends the process at once.

    A handler that raises may do so anywhere: in a finalizer, where Python drops the error, or
    within rclpy, which would then never release its locks, so that the process does not end.
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
        """Raise KeyboardInterrupt for a signal that came, or that comes within the context."""
        self._raises = True
        try:
            if self.came:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises = False

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call a function from another thread when a signal comes, to wake the main thread.

        Python handles signals only in the main thread. rclpy uses a thread of its own that may
        still use an executor after the signal has ended it.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)

        def watch() -> None:
            while os.read(reader, 1):
                wake()

        thread = threading.Thread(target=watch, name="signals", daemon=True)
        thread.start()
        signal.set_wakeup_fd(writer)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            os.close(writer)
            thread.join()
            os.close(reader)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._first is None:
            self._first = now
            if self._raises:
                raise KeyboardInterrupt
        elif now - self._first > _SAME_SIGNAL:
            os._exit(128 + number)
