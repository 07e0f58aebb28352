"""Interface of all kinds of files of bags."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")

LARGEST = 2**30
"""Bytes that a message or a chunk may have after decompression: more is a bomb."""


@dataclass(frozen=True)
class Channel:
    """Messages of one topic and type in one file.

    Attributes:
        id: Number in the file.
        topic: Name of the topic.
        type: ROS 2 name of the message type, `sensor_msgs/msg/Image`.
        encoding: Serialization of the messages: `cdr`, `ros1`, or one that ROS does not know.
        count: Number of messages.
        definition: Definition of the type, as far as the file holds one.
    """

    id: int
    topic: str
    type: str
    encoding: str
    count: int
    definition: MessageDefinition = field(default=NO_DEFINITION, repr=False)


class StoredMessage(NamedTuple):
    """A message as it lies in a file: number of its channel, time of recording in nanoseconds."""

    channel: int
    stamp: int
    data: bytes


class StorageFile(Protocol):
    """One open file of a bag.

    Attributes:
        channels: The channels in it.
        start: Time of the first message, nanoseconds since the epoch; 0 without any.
        end: The same of the last one.
    """

    channels: list[Channel]
    start: int
    end: int

    @property
    def notes(self) -> list[str]:
        """Sentences on what of the file could not be read, so far; repeated ones count once."""

    def messages(self, channels: Collection[int]) -> Iterator[StoredMessage]:
        """Read the messages of some channels in the order of their recording."""

    def close(self) -> None:
        """Close the file."""


def ros2_name(kind: str) -> str:
    """Return the ROS 2 name of a message type, which other tools call `sensor_msgs/Image`."""
    package, slash, name = kind.partition("/")
    return f"{package}/msg/{name}" if slash and "/" not in name else kind
