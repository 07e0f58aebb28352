"""Handling of the signals that end a process."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

Handler = Callable[[int, FrameType | None], Any] | int | None
"""Handler of a signal, as of `signal.signal`."""

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals: Ctrl-C, and what supervisors send."""

# A terminal sends a signal to all its processes, and launch passes it on to them.
_ECHO = 1.0  # seconds


_Self = TypeVar("_Self", bound="Signals")


class Signals:
    """Handlers of SIGINT and SIGTERM, for as long as the context lasts.

    A signal ends the process at once, without a message: while modules are imported there is
    nothing to finish, and an exception there ends in a traceback, or in C++. After `defer` a
    signal is only recorded, and the process ends as soon as it can; another one ends it at once.

    Args:
        code: Exit code of a process that is ended at once before `defer`; None for the shell's,
            128 and the signal's number.

    Attributes:
        came: Number of the signal that was recorded, or 0.
    """

    def __init__(self, *, code: int | None = None) -> None:
        self.came = 0
        self._code = code
        self._deferred = False
        self._recorded_at = 0.0  # seconds of time.monotonic
        self._before: dict[int, Handler] = {}

    def __enter__(self: _Self) -> _Self:
        """Install the handlers."""
        with contextlib.suppress(ValueError):  # only the main thread gets signals
            for number in ENDING:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the handlers from before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """Only record the first signal from now on."""
        self._deferred = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._deferred:
            os._exit(128 + number if self._code is None else self._code)
        if self.came and time.monotonic() > self._recorded_at + _ECHO:
            os._exit(128 + number)
        if not self.came:
            self.came, self._recorded_at = number, time.monotonic()


class RecordedSignals(Signals):
    """Handlers that record the first SIGINT or SIGTERM; a second one raises KeyboardInterrupt."""

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = number

    def ignore_child_exits(self) -> None:
        """Ignore the exit of reading processes; the next batch reports it.

        PyTorch's handler could raise anywhere: in the middle of the optimizer's step, which would
        break its state, or while the state is written.
        """
        with contextlib.suppress(ValueError):  # not in the main thread
            before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._before.setdefault(signal.SIGCHLD, before)


@contextlib.contextmanager
def exit_at_sigterm() -> Iterator[None]:
    """Raise SystemExit at SIGTERM, so that contexts exit."""
    came = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = 128 + number
        sys.exit(came)

    try:
        before = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    # Python drops an exception in a finalizer, and so do imports that catch every exception.
    if came:
        sys.exit(came)
