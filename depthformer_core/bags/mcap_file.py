"""MCAP files: of ROS 2's recorder and of other tools, whole or cut off."""

import heapq
import io
import itertools
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel as ChannelRecord
from mcap.records import ChunkIndex, Footer, Schema, Statistics
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from depthformer_core.bags.storage import (
    LARGEST,
    NO_DEFINITION,
    Channel,
    StoredMessage,
    ros2_name,
)

MAGIC = b"\x89MCAP0\r\n"

_HEAD = struct.Struct("<BQ")  # opcode and length of a record
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQI")  # start, end, uncompressed size, checksum
_FOOTER = _HEAD.size + 20 + len(MAGIC)
# Messages outside of chunks are sorted in runs of this many bytes.
_RUN = 2**20
_FORMATS = {
    "ros1msg": MessageDefinitionFormat.MSG,
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class _DamagedError(Exception):
    """A part of the file that is not what it should be."""


class _Record(NamedTuple):
    opcode: int
    start: int  # of its content
    size: int  # of its content; the file may end before
    whole: bool


@dataclass
class _Block:
    """A chunk, or messages outside of chunks that follow each other."""

    start: int  # times of the first and last message
    end: int
    position: int  # in the file
    size: int
    chunk: bool
    channels: frozenset[int] | None = None  # those of its messages; none if unknown
    whole: bool = True
    indexed: bool = False  # in the summary, which has its times


@dataclass
class _Contents:
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, ChannelRecord] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    blocks: list[_Block] = field(default_factory=list)

    def learn(self, opcode: int, content: bytes) -> None:
        """Take in a schema or a channel; the first of a number counts."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(_stream(content))
            self.schemas.setdefault(schema.id, schema)
        elif opcode == Opcode.CHANNEL:
            channel = ChannelRecord.read(_stream(content))
            self.channels.setdefault(channel.id, channel)


class McapFile:
    """An open MCAP file.

    Where its summary is missing or does not list everything, the file is scanned once. A file that
    ends early, such as that of a killed recorder, is read as far as its messages are whole; a
    damaged chunk is skipped.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._cut_off = ""
        self._name = path.name
        self._file = path.open("rb")
        try:
            self._size = self._file.seek(0, io.SEEK_END)
            contents = self._summary() or self._index()
        except BaseException:
            self._file.close()
            raise
        self._blocks = sorted(contents.blocks, key=lambda block: (block.start, block.position))
        self._damaged: set[int] = set()
        counts = contents.counts
        self.channels = [
            _channel(channel, contents.schemas.get(channel.schema_id), counts[channel.id])
            for channel in contents.channels.values()
        ]
        self.start = min((block.start for block in self._blocks), default=0)
        self.end = max((block.end for block in self._blocks), default=0)

    @property
    def notes(self) -> list[str]:
        """Sentences on what of the file could not be read, so far."""
        notes = [self._cut_off] if self._cut_off else []
        if self._damaged:
            notes.append(
                f"{len(self._damaged)} of {len(self._blocks)} chunks of {self._name} are damaged "
                "and skipped."
            )
        return notes

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, channels: Collection[int]) -> Iterator[StoredMessage]:
        """Read the messages of some channels in the order of their recording."""
        wanted = frozenset(channels)
        waiting: list[tuple[int, int, StoredMessage]] = []
        order = itertools.count()
        for block in self._blocks:
            if block.channels is not None and not block.channels & wanted:
                continue
            # Chunks may overlap: what is recorded before this one begins cannot be preceded.
            while waiting and waiting[0][0] < block.start:
                yield heapq.heappop(waiting)[2]
            for message in self._block_messages(block):
                if message.channel in wanted:
                    heapq.heappush(waiting, (message.stamp, next(order), message))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _block_messages(self, block: _Block) -> Iterator[StoredMessage]:
        self._file.seek(block.position)
        content = self._file.read(block.size)
        try:
            if block.chunk:
                content = _records_of(content, block)
            damaged = False
            for record in _records(io.BytesIO(content), len(content)):
                damaged = block.whole and not record.whole
                if record.opcode == Opcode.MESSAGE and record.whole:
                    yield _message(content, record)
        except _DamagedError:
            damaged = True
        if damaged:
            self._damaged.add(block.position)

    def _summary(self) -> _Contents | None:
        """Read the summary at the file's end; none if it is missing or incomplete."""
        if self._size < len(MAGIC) + _FOOTER:
            return None
        self._file.seek(self._size - _FOOTER)
        end = self._file.read(_FOOTER)
        opcode, length = _HEAD.unpack_from(end)
        if (opcode, length) != (Opcode.FOOTER, 20) or not end.endswith(MAGIC):
            return None
        start = Footer.read(_stream(end[_HEAD.size :])).summary_start
        if not len(MAGIC) <= start < self._size - _FOOTER:
            return None
        contents, statistics = _Contents(), None
        try:
            for record in _records(self._file, self._size - _FOOTER, start=start):
                if not record.whole:
                    return None
                content = self._content(record)
                contents.learn(record.opcode, content)
                if record.opcode == Opcode.STATISTICS:
                    statistics = Statistics.read(_stream(content))
                elif record.opcode == Opcode.CHUNK_INDEX:
                    contents.blocks.append(_indexed(ChunkIndex.read(_stream(content)), self._size))
        except Exception:  # noqa: BLE001  # records of foreign files fail in many ways
            return None
        if statistics is None or not _lists_all(contents, statistics):
            return None
        contents.counts.update(statistics.channel_message_counts)
        return contents

    def _index(self) -> _Contents:
        """Index the file from its beginning as far as it is whole."""
        contents = _Contents()
        ended = False
        for record in _records(self._file, self._size, start=len(MAGIC)):
            if record.opcode in (Opcode.DATA_END, Opcode.FOOTER):
                ended = True
                break
            self._index_record(record, contents)
        if not ended:
            self._cut_off = (
                f"{self._name} ends early, as if its recorder was killed: the "
                f"{contents.counts.total()} messages before that are read."
            )
        return contents

    def _index_record(self, record: _Record, contents: _Contents) -> None:
        if record.opcode == Opcode.CHUNK:
            self._index_chunk(record, contents)
        elif record.opcode == Opcode.MESSAGE and record.whole and record.size >= _MESSAGE.size:
            self._file.seek(record.start)
            channel, _, stamp, _ = _unpack(_MESSAGE, self._file.read(_MESSAGE.size))
            contents.counts[channel] += 1
            block = contents.blocks[-1] if contents.blocks else None
            position = record.start - _HEAD.size
            size = _HEAD.size + record.size
            if (
                block is None
                or block.chunk
                or block.position + block.size != position
                or block.size > _RUN
            ):
                contents.blocks.append(_Block(stamp, stamp, position, size, chunk=False))
            else:
                block.start, block.end = min(block.start, stamp), max(block.end, stamp)
                block.size += size
        elif record.whole and record.opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            with suppress(Exception):  # fails in many ways; its messages have no topic then
                contents.learn(record.opcode, self._content(record))

    def _index_chunk(self, record: _Record, contents: _Contents) -> None:
        block = _Block(0, 0, record.start, record.size, chunk=True, whole=record.whole)
        counts: Counter[int] = Counter()
        stamps: list[int] = []
        try:
            content = _uncompressed(self._content(record), whole=record.whole)
            for inner in _records(io.BytesIO(content), len(content)):
                if not inner.whole:
                    break
                if inner.opcode == Opcode.MESSAGE:
                    message = _message(content, inner)
                    counts[message.channel] += 1
                    stamps.append(message.stamp)
                else:
                    part = content[inner.start : inner.start + inner.size]
                    with suppress(Exception):  # as outside of chunks
                        contents.learn(inner.opcode, part)
        except _DamagedError:
            if record.whole:
                contents.blocks.append(block)  # counted as damaged when it is read
            return
        contents.counts.update(counts)
        if stamps:
            block.start, block.end = min(stamps), max(stamps)
            block.channels = frozenset(counts)
            contents.blocks.append(block)

    def _content(self, record: _Record) -> bytes:
        self._file.seek(record.start)
        return self._file.read(record.size)


def _channel(record: ChannelRecord, schema: Schema | None, count: int) -> Channel:
    encoding, kind, definition = record.message_encoding, "", NO_DEFINITION
    if schema is not None:
        kind = ros2_name(schema.name)
        if schema.encoding in _FORMATS:
            text = schema.data.decode("utf-8", errors="replace")
            definition = MessageDefinition(_FORMATS[schema.encoding], text)
    return Channel(record.id, record.topic, kind, encoding, count, definition)


def _indexed(index: ChunkIndex, size: int) -> _Block:
    if index.chunk_start_offset + index.chunk_length > size:
        raise _DamagedError
    return _Block(
        index.message_start_time,
        index.message_end_time,
        index.chunk_start_offset + _HEAD.size,
        index.chunk_length - _HEAD.size,
        chunk=True,
        indexed=True,
        # Without an index of its messages, a chunk may hold any.
        channels=frozenset(index.message_index_offsets) or None,
    )


def _lists_all(contents: _Contents, statistics: Statistics) -> bool:
    """Return whether a summary lists everything in the file."""
    counts = statistics.channel_message_counts
    schemas = {channel.schema_id for channel in contents.channels.values()} - {0}
    return (
        len(contents.blocks) == statistics.chunk_count
        and bool(contents.blocks or not statistics.message_count)
        and sum(counts.values()) == statistics.message_count
        and counts.keys() <= contents.channels.keys()
        and len(contents.channels) == statistics.channel_count
        and schemas <= contents.schemas.keys()
    )


def _records(file: BinaryIO, end: int, *, start: int = 0) -> Iterator[_Record]:
    """Iterate over the records; the last one may not be whole."""
    while start < end:
        file.seek(start)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head[0]:  # zeros were never written
            yield _Record(0, start, len(head), whole=False)
            return
        opcode, size = _HEAD.unpack(head)
        start += _HEAD.size
        yield _Record(opcode, start, min(size, end - start), size <= end - start)
        start += size


def _records_of(chunk: bytes, block: _Block) -> bytes:
    """Return the records of a chunk, see `_uncompressed`."""
    start, end, *_ = _unpack(_CHUNK, chunk)
    if block.indexed and (start, end) != (block.start, block.end):
        raise _DamagedError
    records = _uncompressed(chunk, whole=block.whole)
    if not records:
        raise _DamagedError
    return records


def _uncompressed(chunk: bytes, *, whole: bool) -> bytes:
    """Decompress the records of a chunk; a truncated one as far as its bytes reach."""
    _, _, size, checksum = _unpack(_CHUNK, chunk)
    try:
        (length,) = struct.unpack_from("<I", chunk, _CHUNK.size)
        start = _CHUNK.size + 4 + length
        compression = chunk[_CHUNK.size + 4 : start].decode("utf-8", errors="replace")
        (length,) = struct.unpack_from("<Q", chunk, start)
    except struct.error as error:
        raise _DamagedError from error
    packed = memoryview(chunk)[start + 8 : start + 8 + length]
    if size > LARGEST:
        raise _DamagedError
    records = _decompress(packed, compression, size)
    if whole and (len(records) != size or (checksum and zlib.crc32(records) != checksum)):
        raise _DamagedError
    return records


def _decompress(packed: memoryview, compression: str, size: int) -> bytes:
    try:
        if compression == "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            return bytes(reader.read(size))
        if compression == "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, size))
    except (zstandard.ZstdError, RuntimeError, EOFError, MemoryError) as error:
        raise _DamagedError from error
    if compression:
        raise _DamagedError
    return bytes(packed)


def _message(content: bytes, record: _Record) -> StoredMessage:
    if record.size < _MESSAGE.size:
        raise _DamagedError
    channel, _, stamp, _ = _MESSAGE.unpack_from(content, record.start)
    return StoredMessage(
        channel, stamp, content[record.start + _MESSAGE.size : record.start + record.size]
    )


def _unpack(form: struct.Struct, data: bytes) -> tuple[int, ...]:
    if len(data) < form.size:
        raise _DamagedError
    return form.unpack_from(data)


def _stream(content: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(content))
