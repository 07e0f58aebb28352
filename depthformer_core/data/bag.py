"""Bags: ROS 2 (MCAP, SQLite) written and read, ROS 1 read, without any ROS installed."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from rosbags.convert.converter import is_same_wireformat, migrate_bytes
from rosbags.interfaces import (
    Connection,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

Storage = Literal["mcap", "sqlite3"]

TYPESTORE: Typestore = get_typestore(Stores.ROS2_JAZZY)
"""Message types of ROS 2 Jazzy: `TYPESTORE.types["sensor_msgs/msg/Image"](...)` builds one."""

_HEADER = "std_msgs/msg/Header"
_UNSPECIFIED = QosTime(0, 0)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _UNSPECIFIED,
    _UNSPECIFIED,
    QosLiveliness.AUTOMATIC,
    _UNSPECIFIED,
    avoid_ros_namespace_conventions=False,
)


class BagError(ValueError):
    """A bag that cannot be read or written as asked; the message names path and value."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag.

    Attributes:
        name: Name with its leading slash, as recorded.
        type: ROS 2 name of the message type, `sensor_msgs/msg/Image`; the types of a topic that
            carries several are joined by a comma.
        count: Number of messages.
    """

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class BagMessage:
    """One recorded message.

    Attributes:
        topic: Name of the topic.
        type: ROS 2 name of the message type.
        stamp: Time of recording, nanoseconds since the epoch.
        data: The message in CDR, as ROS 2 sends it.
        decode: Turns CDR of a type into a message object.
    """

    topic: str
    type: str
    stamp: int
    data: bytes = field(repr=False)
    decode: Callable[[bytes, str], object] = field(repr=False, compare=False)

    def message(self) -> Any:
        """Deserialize to an object with the fields of the message type.

        Raises:
            BagError: The type is unknown or the data is not of that type.
        """
        try:
            return self.decode(self.data, self.type)
        except BagError:
            raise
        except Exception as error:  # generated decoders fail in many ways on damaged bytes
            raise BagError(
                f"message at {self.stamp} on {self.topic} is no valid {self.type}: {error!r}"
            ) from error


class BagReader:
    """Reads a bag message by message, never as a whole.

    Use as a context manager. A bag is a ROS 2 bag folder or its `metadata.yaml` (SQLite or MCAP,
    compressed or split too), a lone `.mcap` or `.db3` file, or a ROS 1 `.bag` file, whose
    messages are converted to ROS 2's types and CDR.

    Args:
        path: The bag.

    Raises:
        BagError: The path holds no bag, or a damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        source = _find_source(self.path)
        self._reader: Reader1 | Reader2
        self._reader = Reader1(source) if source.suffix == ".bag" else Reader2(source)
        self._converters: dict[tuple[str, str], _Converter] = {}

    def __enter__(self) -> "BagReader":
        """Open the bag."""
        try:
            self._reader.open()
        except Exception as error:  # damaged bags fail in many ways inside the reader
            raise self._damaged(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics by name, sorted."""
        topics = {}
        for name, info in self._reader.topics.items():
            types = sorted({connection.msgtype for connection in info.connections})
            topics[name] = Topic(name, ", ".join(types), info.msgcount)
        return topics

    @property
    def start(self) -> int:
        """Time of the first message, nanoseconds since the epoch; 0 for an empty bag."""
        return self._reader.start_time if self._reader.message_count else 0

    @property
    def duration(self) -> float:
        """Time from the first to the last message, seconds."""
        if not self._reader.message_count:
            return 0.0
        # rosbags counts the nanosecond after the last message as the end.
        return max(0, self._reader.end_time - 1 - self._reader.start_time) / 1e9

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Iterate over the messages in the order of their recording.

        Args:
            topics: Names of the topics wanted, or none for all.

        Raises:
            BagError: A topic is not in the bag, or the bag turns out damaged.
        """
        connections = list(self._reader.connections)
        if topics is not None:
            present = {connection.topic for connection in connections}
            if missing := sorted(set(topics) - present):
                raise BagError(
                    f"bag {self.path} has no topic {', '.join(missing)}; "
                    f"it has {', '.join(sorted(present)) or 'none'}"
                )
            connections = [item for item in connections if item.topic in topics]
        # rosbags takes an empty list of connections for "all".
        return self._iterate(connections) if connections else iter(())

    def _iterate(self, connections: list[Connection]) -> Iterator[BagMessage]:
        source = self._reader.messages(connections=connections)
        while True:
            try:
                item = next(source, None)
                if item is None:
                    return
                connection, stamp, raw = item
                converter = self._converter(connection)
                data = converter.to_cdr(raw)
            except BagError:
                raise
            except Exception as error:  # damaged bags fail in many ways inside the reader
                raise self._damaged(error) from error
            yield BagMessage(connection.topic, connection.msgtype, stamp, data, converter.decode)

    def _converter(self, connection: Connection) -> "_Converter":
        key = (connection.msgtype, connection.msgdef.data)
        if key not in self._converters:
            convert = _convert_ros1 if isinstance(self._reader, Reader1) else _convert_ros2
            self._converters[key] = convert(connection)
        return self._converters[key]

    def _damaged(self, error: Exception) -> BagError:
        # Parsers point at the place, over several lines.
        reason = " ".join(str(error).split()) or type(error).__name__
        return BagError(f"cannot read bag {self.path}: {reason}")


class BagWriter:
    """Writes a ROS 2 bag that Humble and later play.

    Use as a context manager. The bag appears at its path when the context ends; after an
    exception nothing is left.

    Args:
        path: Folder of the bag; must not exist yet.
        storage: Format of the bag's file.

    Raises:
        BagError: The path exists, or the storage is unknown.
    """

    def __init__(self, path: str | Path, *, storage: Storage = "mcap") -> None:
        self.path = Path(path)
        if storage not in get_args(Storage):
            raise BagError(f"storage must be one of {get_args(Storage)}, got {storage!r}")
        self._refuse_existing()
        self._storage = StoragePlugin[storage.upper()]
        self._writer: Writer | None = None
        self._connections: dict[str, tuple[Connection, bool]] = {}

    def __enter__(self) -> "BagWriter":
        """Start writing beside the path."""
        self._refuse_existing()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The bag's file is named after its folder, so the folder has its final name already.
        workplace = tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        self._workplace = Path(workplace)
        self._writer = Writer(
            self._workplace / self.path.name, version=8, storage_plugin=self._storage
        )
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag and move it to its path, or remove it after an exception."""
        writer, self._writer = self._writer, None
        assert writer is not None
        try:
            if kind is None:
                writer.close()
                self._refuse_existing()
                (self._workplace / self.path.name).rename(self.path)
            else:
                writer.abort()
        finally:
            shutil.rmtree(self._workplace)

    def write(self, topic: str, message: Any, *, stamp: int, latched: bool = False) -> None:
        """Write a message object of a type of `TYPESTORE`.

        Args:
            topic: Name of the topic.
            message: Object made by `TYPESTORE.types[...]`.
            stamp: Time of recording, nanoseconds since the epoch.
            latched: Whether late subscribers get the last message, as on `/tf_static`.

        Raises:
            BagError: The message is no message or holds a value its type does not take, or as
                for `write_cdr`.
        """
        kind = getattr(message, "__msgtype__", None)
        if kind is None:
            raise BagError(f"cannot write {message!r} on {topic}: it is no message")
        try:
            data = TYPESTORE.serialize_cdr(message, kind, little_endian=True)
        except Exception as error:  # generated encoders fail in many ways on wrong values
            raise BagError(f"cannot write {kind} on {topic}: {error!r}") from error
        self.write_cdr(topic, kind, bytes(data), stamp=stamp, latched=latched)

    def write_cdr(
        self, topic: str, kind: str, data: bytes, *, stamp: int, latched: bool = False
    ) -> None:
        """Write a message that is serialized already.

        Args:
            topic: Name of the topic.
            kind: Name of the message type, `sensor_msgs/msg/Image`.
            data: The message in CDR.
            stamp: Time of recording, nanoseconds since the epoch.
            latched: Whether late subscribers get the last message, as on `/tf_static`.

        Raises:
            BagError: The writer is not open, the type is unknown, the stamp negative, or the
                topic was written with another type or another latching before.
        """
        if self._writer is None:
            raise BagError(f"bag {self.path} is not open for writing")
        if kind not in TYPESTORE.fielddefs:
            raise BagError(f"cannot write on {topic}: unknown message type {kind!r}")
        if not 0 <= stamp < 2**63:
            raise BagError(f"stamp on {topic} must be nanoseconds since the epoch, got {stamp}")
        if topic not in self._connections:
            connection = self._writer.add_connection(
                topic,
                kind,
                typestore=TYPESTORE,
                offered_qos_profiles=[_LATCHED] if latched else [],
            )
            self._connections[topic] = (connection, latched)
        connection, was_latched = self._connections[topic]
        if (connection.msgtype, was_latched) != (kind, latched):
            raise BagError(
                f"topic {topic} holds {connection.msgtype} (latched: {was_latched}), "
                f"got {kind} (latched: {latched})"
            )
        self._writer.write(connection, stamp, data)

    def _refuse_existing(self) -> None:
        if self.path.exists():
            raise BagError(f"bag {self.path} exists already")


@dataclass(frozen=True)
class _Converter:
    to_cdr: Callable[[bytes], bytes]
    decode: Callable[[bytes, str], object]


def _find_source(path: Path) -> Path:
    """Path rosbags opens: the folder with `metadata.yaml`, or a single file."""
    if not path.exists():
        raise BagError(f"bag {path} does not exist")
    if path.name == "metadata.yaml":
        return path.parent
    if path.is_dir():
        if (path / "metadata.yaml").exists():
            return path
        # A recorder that was killed leaves its files without metadata.
        files = sorted(item for item in path.iterdir() if item.suffix in {".mcap", ".db3"})
        if len(files) != 1:
            raise BagError(
                f"folder {path} is no bag: it has no metadata.yaml and {len(files)} "
                "files .mcap or .db3, not one"
            )
        return files[0]
    if path.suffix not in {".bag", ".mcap", ".db3"}:
        raise BagError(f"{path} is no bag: neither a folder nor a file .bag, .mcap or .db3")
    return path


def _own_types(connection: Connection) -> Typestore:
    """Types as the bag itself defines them."""
    definition = connection.msgdef
    store = get_typestore(Stores.EMPTY)
    if definition.format is MessageDefinitionFormat.MSG:
        store.register(get_types_from_msg(definition.data, connection.msgtype))
        return store
    separator = "=" * 80 + "\n"
    for part in definition.data.split(separator):
        # Each part starts with its name, except where the definition is one part alone.
        text = part.split("\n", 1)[1] if part.startswith("IDL: ") else part
        if text.strip():
            store.register(get_types_from_idl(text))
    return store


def _convert_ros2(connection: Connection) -> _Converter:
    if connection.msgdef.format is MessageDefinitionFormat.NONE:
        known = connection.msgtype in TYPESTORE.fielddefs
        return _Converter(bytes, TYPESTORE.deserialize_cdr if known else _unknown_type)
    store: Typestore | None = None

    def decode(data: bytes, kind: str) -> object:
        # Built at the first use: most readers decode few of a bag's types.
        nonlocal store
        if store is None:
            store = _own_types(connection)
        return store.deserialize_cdr(data, kind)

    return _Converter(bytes, decode)


def _convert_ros1(connection: Connection) -> _Converter:
    kind = connection.msgtype
    recorded = _own_types(connection)
    if kind not in TYPESTORE.fielddefs:
        # ROS 1's header has a sequence number that CDR of ROS 2 does not carry.
        store = get_typestore(Stores.EMPTY)
        header = {_HEADER: TYPESTORE.fielddefs[_HEADER]} if _HEADER in recorded.types else {}
        store.register({**recorded.fielddefs, **header})
        return _Converter(lambda raw: bytes(store.ros1_to_cdr(raw, kind)), store.deserialize_cdr)
    if is_same_wireformat(recorded, TYPESTORE, kind, kind):
        return _Converter(
            lambda raw: bytes(TYPESTORE.ros1_to_cdr(raw, kind)), TYPESTORE.deserialize_cdr
        )
    cache: dict[str, object] = {}

    def migrate(raw: bytes) -> bytes:
        data = migrate_bytes(
            recorded, TYPESTORE, kind, kind, cache, raw, src_is2=False, dst_is2=True
        )
        return bytes(data)

    return _Converter(migrate, TYPESTORE.deserialize_cdr)


def _unknown_type(_data: bytes, kind: str) -> object:
    raise BagError(f"unknown message type {kind!r}, and the bag does not define it")
