"""How the signals that end a process end ours."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals: Ctrl-C, and what supervisors send."""

# A terminal sends a signal to all its processes, and launch passes it on to them.
_ECHO = 1.0  # seconds


class Signals:
    """Handlers of SIGINT and SIGTERM, for as long as the context lasts.

    A signal ends the process at once, without a word: while modules are imported there is nothing
    to finish, and an exception there ends in a traceback, or in C++. After `ask` a signal is only
    noted, for the process to end as soon as it can; one more ends it at once.

    Args:
        code: Exit code of a process that is ended at once before `ask`; None for the shell's,
            128 and the signal's number.

    Attributes:
        came: Number of the signal that was noted, or 0.
    """

    def __init__(self, *, code: int | None = None) -> None:
        self.came = 0
        self._code = code
        self._asked = False
        self._noted = 0.0  # seconds of time.monotonic
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        """Take the signals."""
        with contextlib.suppress(ValueError):  # not in the main thread: nobody signals that
            for number in ENDING:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """Only note the first signal from now on."""
        self._asked = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._asked:
            os._exit(128 + number if self._code is None else self._code)
        if self.came and time.monotonic() > self._noted + _ECHO:
            os._exit(128 + number)
        if not self.came:
            self.came, self._noted = number, time.monotonic()


@contextlib.contextmanager
def leaving_at_sigterm() -> Iterator[None]:
    """Let SIGTERM leave by SystemExit, so that contexts end what they began."""
    came = 0

    def leave(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = 128 + number
        sys.exit(came)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    # Python drops an error that is raised in a finalizer, and so do imports that take any error.
    if came:
        sys.exit(came)
