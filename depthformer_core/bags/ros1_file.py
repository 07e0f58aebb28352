"""ROS 1 bags."""

from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.storage import Channel, StoredMessage
from depthformer_core.errors import one_line

MAGIC = b"#ROSBAG"


class Ros1File:
    """An open ROS 1 bag.

    Args:
        path: The file.

    Raises:
        BagError: It is no ROS 1 bag, or one that its recorder did not finish.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._name = path.name
        self._reader = Reader(path)
        try:
            self._reader.open()
        except Exception as error:  # damaged bags fail in many ways inside the reader
            hint = "; of a recorder that was killed, `rosbag reindex` mends the bag"
            raise BagError(f"cannot read {path}: {one_line(error)}{hint}") from error
        self._connections: list[Connection] = list(self._reader.connections)
        self.channels = [
            Channel(
                number,
                connection.topic,
                connection.msgtype,
                "ros1",
                connection.msgcount,
                connection.msgdef,
            )
            for number, connection in enumerate(self._connections)
        ]
        filled = self._reader.message_count > 0
        self.start = self._reader.start_time if filled else 0
        # rosbags counts the nanosecond after the last message as the end.
        self.end = self._reader.end_time - 1 if filled else 0

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def messages(self, channels: Collection[int]) -> Iterator[StoredMessage]:
        """Read the messages of some channels in the order of their recording."""
        wanted = [self._connections[channel] for channel in channels]
        numbers = {item.id: number for number, item in enumerate(self._connections)}
        try:
            for connection, stamp, data in self._reader.messages(connections=wanted):
                yield StoredMessage(numbers[connection.id], stamp, bytes(data))
        except Exception as error:  # noqa: BLE001  # damaged bags fail in many ways
            self.notes.append(
                f"{self._name} is damaged ({one_line(error)}): what was recorded after that is not "
                "read."
            )
