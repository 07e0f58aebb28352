"""Paths as people give them."""

import contextlib
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """Make a path absolute, with the home folder in place of `~`.

    A shell does that for words of its own, but not within `bag:=~/drive`.
    """
    path = Path(path)
    with contextlib.suppress(RuntimeError):  # no such user: it may be a name
        path = path.expanduser()
    return path.absolute()
