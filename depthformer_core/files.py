"""Atomic writing of files, and reading of text files."""

import codecs
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from depthformer_core.errors import DepthFormerError

# Of a name and of its suffix in the temporary one: file systems take 255 bytes.
_MOST_LETTERS = 20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextFileError(DepthFormerError):
    """A text file that cannot be read; the message names it."""


def read_text(path: Path, *, kind: str) -> str:
    """Read a list or a table, UTF-8 with or without a byte order mark.

    Args:
        path: The file.
        kind: What it is, for messages: `split`.

    Returns:
        The text; its lines end with a line feed, however they end in the file.

    Raises:
        TextFileError: The file cannot be read or is no such text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextFileError(f"cannot read {kind} {path}: {error.strerror}") from error
    # Without its mark, UTF-16 of plain letters is UTF-8 with a zero between them.
    if data.startswith(_UTF_16) or b"\0" in data:
        raise TextFileError(
            f"cannot read {kind} {path}: it is UTF-16, or no text at all; it must be UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextFileError(f"cannot read {kind} {path}: it is not UTF-8: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file to write to; on success it replaces `path`, else it is removed.

    Folders that lead to `path` are made.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:_MOST_LETTERS]}."
    suffix = path.suffix if len(path.suffix) <= _MOST_LETTERS else None
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp lets only the owner read.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
