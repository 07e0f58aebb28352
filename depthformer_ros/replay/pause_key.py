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
    """Listens to the terminal, if there is one that is ours, as long as the context lasts."""

    def __init__(self) -> None:
        self._terminal: int | None = None
        self._modes: list[Any] = []
        self._paused = False

    def __enter__(self) -> "PauseKey":
        """Let the terminal give each key at once, unseen; Ctrl-C stays what it is."""
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
        """Leave the terminal as it was."""
        if self._terminal is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._modes)

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal that is ours."""
        return self._terminal is not None

    def pauses(self) -> bool:
        """Whether the bag is to stand still: space was pressed, and not once more."""
        with contextlib.suppress(OSError):
            while self._terminal is not None and self._is_pressed(self._terminal):
                pass
        return self._paused

    def _is_pressed(self, terminal: int) -> bool:
        """Take what was typed, if anything."""
        # As when the user has put us into the background since.
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return False
        if not select.select([terminal], [], [], 0)[0]:
            return False
        typed = os.read(terminal, 64)
        # Nothing, where something is said to be: the terminal is gone.
        self._paused = bool(typed) and self._paused ^ (typed.count(b" ") % 2 == 1)
        return bool(typed)
