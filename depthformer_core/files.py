"""Atomic writing of files, and reading of text files."""

import codecs
import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.types import Json

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


def read_json(path: Path, *, kind: str) -> dict[str, Json]:
    """Read a JSON file that holds a mapping.

    Args:
        path: The file.
        kind: What it is, for messages: `description`.

    Raises:
        TextFileError: The file cannot be read or holds something else.
    """
    text = read_text(path, kind=kind)
    try:
        values = json.loads(text)
    # JSON may nest deeper than Python can follow.
    except (ValueError, RecursionError) as error:
        raise TextFileError(f"cannot read {kind} {path}: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise TextFileError(f"{kind} {path} must be a JSON object, it is a {type(values).__name__}")
    return values


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file to write to; on success it replaces `path`, else it is removed.

    Folders that lead to `path` are made. After a crash of the system too, `path` is either the new
    file or the old one.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:_MOST_LETTERS]}."
    suffix = path.suffix if len(path.suffix) <= _MOST_LETTERS else ""
    temporary = _create(path.parent, prefix, suffix)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        # Not every file system can sync a folder.
        with contextlib.suppress(OSError):
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_texts(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts as files of a folder, UTF-8; each appears whole or not at all.

    Args:
        folder: The folder; made where it is missing.
        files: Texts by name of the file.

    Raises:
        OSError: A file cannot be written.
    """
    for name, text in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _create(folder: Path, prefix: str, suffix: str) -> Path:
    """Create an empty file of a new name, with the permissions of any new file.

    `tempfile` lets only the owner read, and a process has no other way to read its umask than to
    change it, for all its threads.
    """
    while True:
        path = folder / f"{prefix}{secrets.token_hex(4)}{suffix}"
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        os.close(handle)
        return path


def _sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
