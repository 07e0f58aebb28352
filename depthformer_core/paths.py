"""Paths of files: hidden ones, links, and names that are no text."""

import contextlib
import os
from pathlib import Path


def listed(folder: Path) -> list[Path]:
    """List the content of a folder, sorted, without hidden files.

    macOS writes `._a.png` beside each `a.png` that it copies, and notebooks their checkpoints.
    """
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def find_file(path: Path) -> Path | None:
    """Find the file at a path, or the one with its suffix in capitals or in small letters.

    Cameras and Windows write `.PNG` where lists of frames have `.png`, and the reverse.
    """
    candidates = [path]
    if path.suffix:
        candidates += (path.with_suffix(path.suffix.lower()), path.with_suffix(path.suffix.upper()))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def absolute(path: Path) -> Path:
    """Make a path absolute, through the same links.

    Where ".." follows a link it leads out of the link's target, as everywhere in the system.
    """
    parts = path.absolute().parts
    if ".." not in parts:
        return Path(*parts)
    end = len(parts) - parts[::-1].index("..")
    return Path(*parts[:end]).resolve().joinpath(*parts[end:])


def user_path(path: str | Path) -> Path:
    """Make a path absolute, with the home folder in place of `~`.

    A shell does that for whole arguments, but not within `bag:=~/drive`.
    """
    path = Path(path)
    with contextlib.suppress(RuntimeError):  # no such user: it may be a name
        path = path.expanduser()
    return absolute(path)


def printable(text: str | os.PathLike[str]) -> str:
    r"""Escape a text or the name of a file, so that UTF-8 can encode it.

    Names of files are bytes on Linux; bytes that are no UTF-8 become escapes like `\udcff`.
    """
    return os.fspath(text).encode("utf-8", "backslashreplace").decode("utf-8")
