"""Warnings that are issued once."""

import functools
import warnings


@functools.cache
def warn_once(message: str) -> None:
    """Issue a warning, unless this process has issued it before."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)
