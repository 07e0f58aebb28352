"""The user's own folder of compiled code: CUDA kernels, engines of TensorRT."""

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Return the folder: below $XDG_CACHE_HOME, else below ~/.cache.

    Raises:
        FileNotFoundError: The home folder is unknown.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored (XDG Base Directory Specification).
    if Path(base).is_absolute():
        return Path(base) / "depthformer"
    try:
        return Path.home() / ".cache" / "depthformer"
    except RuntimeError as error:
        raise FileNotFoundError(str(error)) from error


def private_folder(folder: Path) -> Path:
    """Make a folder in which no other user can write code, which this process would run.

    Returns:
        The folder.

    Raises:
        OSError: It cannot be made, or another user can write there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "getuid"):  # Windows keeps a user's folders apart by itself
        return folder
    about = folder.stat()
    if about.st_uid not in (os.getuid(), 0) or about.st_mode & _OTHERS_WRITE:
        raise PermissionError(f"{folder} belongs to another user, or others may write to it")
    return folder
