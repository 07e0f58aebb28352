"""Warnings that are given once."""

import functools
import warnings


@functools.cache
def warn_once(message: str) -> None:
    """Give a warning, unless this process has given it before."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)
