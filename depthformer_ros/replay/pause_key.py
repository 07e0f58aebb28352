"""The space bar, which pauses a bag that plays on a terminal."""

import contextlib
import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any


class PauseKey:
    """Reads keys from the terminal, if we own one, within the context."""

    def __init__(self) -> None:
        self._terminal: int | None = None
        self._modes: list[Any] = []
        self._paused = False

    def __enter__(self) -> "PauseKey":
        """Switch the terminal to single keys without echo; Ctrl-C still interrupts."""
        with contextlib.suppress(OSError, ValueError, termios.error):  # no terminal, or closed
            terminal = sys.stdin.fileno()
            # A process in the background that touches the terminal is stopped.
            if os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp():
                self._modes = termios.tcgetattr(terminal)
                tty.setcbreak(terminal, termios.TCSANOW)
                self._terminal = terminal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""
        if self._terminal is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._modes)

    @property
    def is_there(self) -> bool:
        """Whether we own a terminal."""
        return self._terminal is not None

    def pauses(self) -> bool:
        """Return whether the bag is paused: each space switches."""
        with contextlib.suppress(OSError):
            while self._terminal is not None and self._is_pressed(self._terminal):
                pass
        return self._paused

    def _is_pressed(self, terminal: int) -> bool:
        """Read the pressed keys, if any."""
        # The user may have put us into the background.
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return False
        if not select.select([terminal], [], [], 0)[0]:
            return False
        typed = os.read(terminal, 64)
        # An empty read from a ready terminal: it is gone.
        self._paused = bool(typed) and self._paused ^ (typed.count(b" ") % 2 == 1)
        return bool(typed)
