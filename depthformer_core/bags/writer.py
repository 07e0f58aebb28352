"""Bags of ROS 2, written."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.types import TYPESTORE

Storage = Literal["mcap", "sqlite3"]

_UNSPECIFIED = QosTime(0, 0)
LATCHED = Qos(
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
"""Quality of service of topics whose last message late subscribers get, as on `/tf_static`."""


class BagWriter:
    """Writes a ROS 2 bag that Humble and later play.

    Use as a context manager. The bag appears at its path when the context ends; after an
    exception nothing remains.

    Args:
        path: Folder of the bag; must not exist yet.
        storage: Format of the bag's file.

    Raises:
        BagError: The path exists, the storage is unknown, or cannot be at this path.
    """

    def __init__(self, path: str | Path, *, storage: Storage = "mcap") -> None:
        self.path = Path(path)
        if storage not in get_args(Storage):
            raise BagError(f"storage must be one of {get_args(Storage)}, got {storage!r}")
        if storage == "sqlite3" and (found := set("#?%") & set(str(self.path.absolute()))):
            raise BagError(
                f"storage sqlite3 cannot be written to a path with {' or '.join(sorted(found))}, "
                f"got {self.path}; mcap can"
            )
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

    def write(self, topic: str, message: object, *, stamp: int, latched: bool = False) -> None:
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
        kind, data = to_cdr(message, topic=topic)
        self.write_cdr(topic, kind, data, stamp=stamp, latched=latched)

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
                offered_qos_profiles=[LATCHED] if latched else [],
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


def to_cdr(message: object, *, topic: str) -> tuple[str, bytes]:
    """Serialize a message object of a type of `TYPESTORE`.

    Args:
        message: Object made by `TYPESTORE.types[...]`.
        topic: Name of the topic that it is for, for messages of errors.

    Returns:
        Name of the message type, `sensor_msgs/msg/Image`, and the message in CDR.

    Raises:
        BagError: The message is no message or holds a value its type does not take.
    """
    kind = getattr(message, "__msgtype__", None)
    if kind is None:
        raise BagError(f"cannot write {message!r} on {topic}: it is no message")
    try:
        return kind, bytes(TYPESTORE.serialize_cdr(message, kind, little_endian=True))
    except Exception as error:  # generated encoders fail in many ways on wrong values
        raise BagError(f"cannot write {kind} on {topic}: {error!r}") from error
