"""Errors that a user can mend, and warnings."""

import functools
import warnings


class DepthFormerError(ValueError):
    """An input or an option cannot be used.

    The message is for the user: what is wrong, with which value, and what to do. Commands print it
    as one line. Any other exception is a fault of the program and is shown with its traceback.
    """


class CheckpointError(DepthFormerError):
    """A checkpoint cannot be read, written or converted."""


@functools.cache
def warn_once(message: str) -> None:
    """Issue a warning, unless this process has issued it before."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def one_line(error: object) -> str:
    """Return the text of an error on one line, or its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
