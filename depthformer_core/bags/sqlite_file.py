"""SQLite files of ROS 2's recorder: whole, with a log beside them, or cut off."""

import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.storage import NO_DEFINITION, Channel, StoredMessage
from depthformer_core.errors import one_line

MAGIC = b"SQLite format 3\0"

# What a recorder that was killed had not put into the file yet, or not taken back.
_LOGS = ("-wal", "-journal")
# What a damaged file raises: its texts may be no UTF-8, its numbers texts.
_DAMAGE = (sqlite3.Error, ValueError, TypeError, OverflowError)
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


class SqliteFile:
    """An open SQLite file, with the messages in its write-ahead log.

    Of a file that is cut off, messages are read as far as they are whole.

    Args:
        path: The file.

    Raises:
        BagError: It is no SQLite file of a bag.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._name = path.name
        self._stack = ExitStack()
        try:
            self._database = self._stack.enter_context(_open(path))
            counts = None if _part_of_a_page(path) else self._count()
            self._damaged = counts is None
            if counts is None:
                self._database = self._stack.enter_context(_open_damaged(path))
                counts = self._count_whole()
            self.channels = self._read_channels(path, counts)
        except BagError:
            self._stack.close()
            raise
        except _DAMAGE as error:
            self._stack.close()
            raise BagError(f"cannot read {path}: {one_line(error)}") from error
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def messages(self, channels: Collection[int]) -> Iterator[StoredMessage]:
        """Read the messages of some channels in the order of their recording."""
        wanted = ",".join(str(int(channel)) for channel in channels)
        # An index may be damaged when the table it is of is not.
        table = "messages NOT INDEXED" if self._damaged else "messages"
        order = "id" if self._damaged else "timestamp, id"
        query = (
            f"SELECT topic_id, timestamp, data FROM {table} "  # noqa: S608  # numbers alone
            f"WHERE topic_id IN ({wanted}) ORDER BY {order}"
        )
        try:
            for channel, stamp, data in self._database.execute(query):
                if isinstance(stamp, int) and isinstance(data, bytes):
                    yield StoredMessage(channel, stamp, data)
        except _DAMAGE as error:
            if not self._damaged:
                self.notes.append(
                    f"{self._name} is damaged ({one_line(error)}): what was recorded after that is "
                    "not read."
                )

    def _read_channels(self, path: Path, counts: Counter[int]) -> list[Channel]:
        tables = {
            str(name)
            for (name,) in self._database.execute("SELECT name FROM sqlite_master").fetchall()
        }
        if not {"messages", "topics"} <= tables:
            raise BagError(f"{path} is no bag: it has no tables topics and messages")
        definitions = self._definitions() if "message_definitions" in tables else {}
        topics = self._database.execute("SELECT id, name, type, serialization_format FROM topics")
        return [
            Channel(
                int(number),
                str(name),
                str(kind),
                str(encoding),
                counts[number],
                definitions.get(str(kind), NO_DEFINITION),
            )
            for number, name, kind, encoding in topics.fetchall()
        ]

    def _definitions(self) -> dict[str, MessageDefinition]:
        definitions = {}
        with suppress(*_DAMAGE):  # ROS 2's own are taken instead
            for kind, encoding, text in self._database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                if encoding in _FORMATS:
                    definitions[str(kind)] = MessageDefinition(_FORMATS[encoding], str(text))
        return definitions

    def _count(self) -> Counter[int] | None:
        """Count the messages of each topic and set start and end; none for a damaged file."""
        try:
            (first, last), *_ = self._database.execute(
                "SELECT MIN(timestamp), MAX(timestamp) FROM messages"
            )
            query = "SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"
            counts = Counter(dict(self._database.execute(query).fetchall()))
            self.start, self.end = int(first or 0), int(last or 0)
        except _DAMAGE:
            return None
        return counts

    def _count_whole(self) -> Counter[int]:
        """Count the messages of a damaged file as far as they are whole, and set start and end."""
        counts: Counter[int] = Counter()
        stamps: list[int] = []
        with suppress(*_DAMAGE):
            # The data too: a message is whole if all of it is there.
            for channel, stamp, _ in self._database.execute(
                "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
            ):
                if isinstance(stamp, int):
                    counts[channel] += 1
                    stamps.append(stamp)
        self.start, self.end = min(stamps, default=0), max(stamps, default=0)
        self.notes.append(
            f"{self._name} ends early or is damaged: the {counts.total()} messages that are "
            "whole before that are read."
        )
        return counts


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading, together with the log beside it."""
    with ExitStack() as stack:
        if not any(_is_there(_beside(path, log)) for log in _LOGS):
            # Without locks or files of SQLite's own, as on a disk that cannot be written to.
            yield stack.enter_context(_connect(path, "immutable=1"))
            return
        try:
            database = stack.enter_context(_connect(path, "mode=ro"))
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            # Reading a log needs write access beside it.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for item in (path, *(_beside(path, log) for log in _LOGS)):
                if _is_there(item):
                    shutil.copyfile(item, folder / item.name)
            database = stack.enter_context(_connect(folder / path.name, "mode=rw"))
        yield database


@contextmanager
def _open_damaged(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that may be shorter than its header declares."""
    with ExitStack() as stack:
        if rest := _part_of_a_page(path):
            # Of a page that is cut off, SQLite would take the rest for zeros.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            whole = folder / path.name
            shutil.copyfile(path, whole)
            os.truncate(whole, whole.stat().st_size - rest)
            path = whole
        database = stack.enter_context(_connect(path, "immutable=1"))
        database.execute("PRAGMA writable_schema=ON")
        yield database


@contextmanager
def _connect(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    # The bag is read in one thread at a time.
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, check_same_thread=False
    )
    try:
        yield database
    finally:
        database.close()


def _part_of_a_page(path: Path) -> int:
    """Return the number of bytes at the end of a file that make no whole page."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:], "big")
    return path.stat().st_size % (2**16 if size == 1 else max(size, 1))


def _beside(path: Path, log: str) -> Path:
    return path.with_name(path.name + log)


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
