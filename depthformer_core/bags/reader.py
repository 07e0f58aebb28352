"""Bags, read message by message."""

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from depthformer_core.bags import mcap_file, ros1_file, sqlite_file
from depthformer_core.bags.errors import BagError
from depthformer_core.bags.folder import find_files
from depthformer_core.bags.mcap_file import McapFile
from depthformer_core.bags.ros1_file import Ros1File
from depthformer_core.bags.sqlite_file import SqliteFile
from depthformer_core.bags.storage import LARGEST, Channel, StorageFile
from depthformer_core.bags.types import Converter, convert_ros1, convert_ros2
from depthformer_core.errors import one_line

_KINDS: dict[bytes, Callable[[Path], StorageFile]] = {
    mcap_file.MAGIC: McapFile,
    sqlite_file.MAGIC: SqliteFile,
    ros1_file.MAGIC: Ros1File,
}
_ZSTD = b"\x28\xb5\x2f\xfd"
_CONVERTERS = {"cdr": convert_ros2, "ros1": convert_ros1}
_MOST_LISTED = 5


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
    compressed or split too), a lone file of one, of any tool, or a ROS 1 `.bag` file; its
    messages are converted to ROS 2's types and CDR. The files' own headers take precedence
    over `metadata.yaml`.

    Damaged parts are skipped and listed in `notes`.

    Args:
        path: The bag.

    Raises:
        BagError: The path holds no bag.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._found = find_files(self.path)
        self._stack = ExitStack()
        self._files: list[StorageFile] = []
        self._notes: list[str] = []
        self._converters: dict[tuple[object, ...], Converter] = {}
        self._broken: dict[str, int] = {}

    def __enter__(self) -> "BagReader":
        """Open the bag."""
        self._notes = list(self._found.notes)
        self._broken.clear()
        problems = []
        try:
            for path in self._found.files:
                try:
                    file = self._open(path)
                except (BagError, OSError) as error:
                    problems.append(BagError(f"cannot read bag {self.path}: {one_line(error)}"))
                    self._notes.append(f"{path.name} is skipped: {one_line(error)}.")
                else:
                    self._stack.callback(file.close)
                    self._files.append(file)
        except BaseException:
            self._close()
            raise
        if not self._files:
            self._close()
            raise problems[0]
        self._notes += _skipped(self._files)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bag."""
        self._close()

    @property
    def notes(self) -> list[str]:
        """Sentences on what of the bag could not be read, so far."""
        notes = [*self._notes, *(note for file in self._files for note in file.notes)]
        notes += [
            f"{count} messages on {topic} could not be unpacked or converted."
            for topic, count in self._broken.items()
        ]
        return list(dict.fromkeys(notes))

    @property
    def topics(self) -> dict[str, Topic]:
        """The topics by name, sorted."""
        kinds: dict[str, set[str]] = {}
        counts: dict[str, int] = {}
        for file in self._files:
            for channel in _readable(file):
                kinds.setdefault(channel.topic, set()).add(channel.type)
                counts[channel.topic] = counts.get(channel.topic, 0) + channel.count
        return {
            name: Topic(name, ", ".join(sorted(kinds[name])), counts[name])
            for name in sorted(kinds)
        }

    @property
    def start(self) -> int:
        """Time of the first message, nanoseconds since the epoch; 0 for an empty bag."""
        return min((file.start for file in self._filled()), default=0)

    @property
    def duration(self) -> float:
        """Time from the first to the last message, seconds."""
        return (max((file.end for file in self._filled()), default=0) - self.start) / 1e9

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Iterate over the messages in the order of their recording.

        Args:
            topics: Names of the topics wanted, or none for all.

        Raises:
            BagError: A topic is not in the bag.
        """
        if topics is not None:
            present = self.topics
            if missing := sorted(set(topics) - present.keys()):
                raise BagError(
                    f"bag {self.path} has no topic {', '.join(missing)}; "
                    f"it has {', '.join(present) or 'none'}"
                )
        return self._messages(topics)

    def _messages(self, topics: Collection[str] | None) -> Iterator[BagMessage]:
        for file in self._files:
            channels = {
                channel.id: channel
                for channel in _readable(file)
                if topics is None or channel.topic in topics
            }
            if not channels:
                continue
            for number, stamp, raw in file.messages(channels.keys()):
                channel = channels[number]
                try:
                    converter = self._converter(channel)
                    data = converter.to_cdr(_unpacked(raw))
                except Exception:  # noqa: BLE001  # damaged bytes fail in many ways inside the libraries
                    self._broken[channel.topic] = self._broken.get(channel.topic, 0) + 1
                    continue
                yield BagMessage(channel.topic, channel.type, stamp, data, converter.decode)

    def _converter(self, channel: Channel) -> Converter:
        key = (channel.encoding, channel.type, channel.definition.data)
        if key not in self._converters:
            convert = _CONVERTERS[channel.encoding]
            self._converters[key] = convert(channel.type, channel.definition)
        return self._converters[key]

    def _open(self, path: Path) -> StorageFile:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(_ZSTD):
            path = self._unpack(path)
            with path.open("rb") as file:
                start = file.read(16)
        for magic, kind in _KINDS.items():
            if start.startswith(magic):
                return kind(path)
        found = f"it starts with {start.hex(' ')}" if start else "it is empty"
        raise BagError(f"{path.name} is neither MCAP, SQLite nor a ROS 1 bag: {found}")

    def _unpack(self, path: Path) -> Path:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="depthformer-bag-"))
        unpacked = Path(folder) / path.stem
        with path.open("rb") as source, unpacked.open("wb") as target:
            try:
                zstandard.ZstdDecompressor().copy_stream(source, target)
            except zstandard.ZstdError as error:
                self._notes.append(f"{path.name} is damaged: {one_line(error)}.")
        return unpacked

    def _filled(self) -> list[StorageFile]:
        return [file for file in self._files if any(item.count for item in file.channels)]

    def _close(self) -> None:
        self._files.clear()
        self._stack.close()


def _readable(file: StorageFile) -> list[Channel]:
    return [channel for channel in file.channels if channel.encoding in _CONVERTERS]


def _skipped(files: list[StorageFile]) -> list[str]:
    """Return a sentence on topics of other encodings than ROS's."""
    others = {
        channel.topic: channel.encoding or "no encoding"
        for file in files
        for channel in file.channels
        if channel.encoding not in _CONVERTERS
    }
    if not others:
        return []
    listed = [f"{topic} ({encoding})" for topic, encoding in others.items()]
    more = f" and {len(listed) - _MOST_LISTED} others" if len(listed) > _MOST_LISTED else ""
    return [f"Topics that are not ROS's are skipped: {', '.join(listed[:_MOST_LISTED])}{more}."]


def _unpacked(data: bytes) -> bytes:
    """Decompress a message that the recorder compressed; return others as they are."""
    if not data.startswith(_ZSTD):
        return data
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST)
