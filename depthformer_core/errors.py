"""Errors that a user can correct, and warnings."""

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterator


class DepthFormerError(ValueError):
    """An input or an option cannot be used.

    The message is for the user: what is wrong, with which value, and what to do. Commands print it
    as one line, as they do with OSError. Any other exception is a fault of the program and is shown
    with its traceback.
    """


class CheckpointError(DepthFormerError):
    """A checkpoint cannot be read, written or converted."""


@functools.cache
def warn_once(message: str) -> None:
    """Issue a warning, unless this process has issued it before."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def first_line(error: object) -> str:
    """Return the first line of an error's text, or its type where it has no text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def one_line(error: object) -> str:
    """Return the text of an error on one line, or its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def exit_on_error(name: str) -> Iterator[None]:
    """Exit with one line for an error that a user can correct; a decorator of a module's `main`.

    Args:
        name: Name of the module, which the line begins with.
    """
    try:
        yield
    except (DepthFormerError, OSError) as error:
        sys.exit(f"{name}: {error}")
