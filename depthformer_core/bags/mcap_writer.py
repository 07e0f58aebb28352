"""Single MCAP files, written."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from mcap.writer import CompressionType, Writer
from rosbags.rosbag2.metadata import dump_qos_v8

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.types import TYPESTORE
from depthformer_core.bags.writer import LATCHED, to_cdr
from depthformer_core.files import replacing


class McapWriter:
    """Writes ROS 2 messages to one MCAP file, for tools that open a file without a folder.

    Use as a context manager. The file appears at its path when the context ends, and replaces one
    that was there; after an exception the path is as before. The memory needed grows by the index
    alone, less than 1 kB for each megabyte of messages.

    Args:
        path: The file; its name must end with `.mcap`, as the tools tell formats by it.

    Raises:
        BagError: The name ends otherwise, or the path is a folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix != ".mcap":
            raise BagError(f"a recording's name must end with .mcap, got {self.path}")
        if self.path.is_dir():
            raise BagError(f"a recording is a file, and {self.path} is a folder")
        self._writer: Writer | None = None
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> "McapWriter":
        """Start writing beside the path."""
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            stream = stack.enter_context(temporary.open("wb"))
            self._writer = Writer(stream, compression=CompressionType.ZSTD)
            self._writer.start(profile="ros2")
            stack.push(self._finish)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and move it to its path, or remove it after an exception."""
        self._open.__exit__(kind, error, trace)

    def write(self, topic: str, message: object, *, stamp: int, latched: bool = False) -> None:
        """Write a message object of a type of `TYPESTORE`.

        Args:
            topic: Name of the topic.
            message: Object made by `TYPESTORE.types[...]`.
            stamp: Time of recording, nanoseconds since the epoch.
            latched: Whether late subscribers get the last message, as on `/tf_static`; that of
                the topic's first message counts.

        Raises:
            BagError: The writer is not open, the message is no message, the stamp is negative, or
                the topic was written with another type before.
            OSError: The file cannot be written.
        """
        if self._writer is None:
            raise BagError(f"recording {self.path} is not open for writing")
        if not 0 <= stamp < 2**63:
            raise BagError(f"stamp on {topic} must be nanoseconds since the epoch, got {stamp}")
        kind, data = to_cdr(message, topic=topic)
        if topic not in self._channels:
            metadata = {"offered_qos_profiles": dump_qos_v8([LATCHED] if latched else [])}
            number = self._writer.register_channel(topic, "cdr", self._schema(kind), metadata)
            self._channels[topic] = (number, kind)
        channel, first = self._channels[topic]
        if kind != first:
            raise BagError(f"topic {topic} holds {first}, got {kind}")
        self._writer.add_message(channel, log_time=stamp, data=data, publish_time=stamp)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        if kind is None:
            writer.finish()

    def _schema(self, kind: str) -> int:
        assert self._writer is not None
        if kind not in self._schemas:
            text, _ = TYPESTORE.generate_msgdef(kind, ros_version=2)
            self._schemas[kind] = self._writer.register_schema(kind, "ros2msg", text.encode())
        return self._schemas[kind]
