"""Message types: those of ROS 2, and those that a bag defines itself."""

from collections.abc import Callable
from dataclasses import dataclass

from rosbags.convert.converter import is_same_wireformat, migrate_bytes
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from depthformer_core.bags.errors import BagError
from depthformer_core.bags.message_types import STABLE

TYPESTORE: Typestore = get_typestore(Stores.ROS2_JAZZY)
"""Message types of ROS 2 Jazzy: `TYPESTORE.types["sensor_msgs/msg/Image"](...)` builds one."""

_HEADER = "std_msgs/msg/Header"


@dataclass(frozen=True)
class Converter:
    """Converter of a topic's messages to ROS 2's.

    Attributes:
        to_cdr: Converts a recorded message to CDR, as ROS 2 sends it.
        decode: Turns CDR of a type into a message object.
    """

    to_cdr: Callable[[bytes], bytes]
    decode: Callable[[bytes, str], object]


def convert_ros2(kind: str, definition: MessageDefinition) -> Converter:
    """Return a converter for messages in CDR.

    Args:
        kind: Name of the message type, `sensor_msgs/msg/Image`.
        definition: The bag's definition of it; without a readable one, ROS 2's own is used.
    """
    store: Typestore | None = None

    def decode(data: bytes, _: str) -> object:
        # Built at the first use: most readers decode few of a bag's types.
        nonlocal store
        if store is None:
            store = _recorded_types(kind, definition)
        return store.deserialize_cdr(data, kind)

    return Converter(bytes, decode)


def convert_ros1(kind: str, definition: MessageDefinition) -> Converter:
    """Return a converter for messages in ROS 1 serialization; see `convert_ros2`."""
    recorded = _own_types(kind, definition)
    if kind not in TYPESTORE.fielddefs:
        # ROS 1's header has a sequence number that CDR of ROS 2 does not carry.
        store = get_typestore(Stores.EMPTY)
        header = {_HEADER: TYPESTORE.fielddefs[_HEADER]} if _HEADER in recorded.types else {}
        store.register({**recorded.fielddefs, **header})
        return Converter(lambda raw: bytes(store.ros1_to_cdr(raw, kind)), store.deserialize_cdr)
    if is_same_wireformat(recorded, TYPESTORE, kind, kind):
        return Converter(
            lambda raw: bytes(TYPESTORE.ros1_to_cdr(raw, kind)), TYPESTORE.deserialize_cdr
        )
    cache: dict[str, object] = {}

    def migrate(raw: bytes) -> bytes:
        data = migrate_bytes(
            recorded, TYPESTORE, kind, kind, cache, raw, src_is2=False, dst_is2=True
        )
        return bytes(data)

    return Converter(migrate, TYPESTORE.deserialize_cdr)


def _recorded_types(kind: str, definition: MessageDefinition) -> Typestore:
    known = kind in TYPESTORE.fielddefs
    # A bag's definition of these can differ only by damage.
    if definition.format is MessageDefinitionFormat.NONE or kind in STABLE:
        if known:
            return TYPESTORE
        raise BagError(f"unknown message type {kind!r}, and the bag does not define it")
    try:
        return _own_types(kind, definition)
    except Exception:  # parsers of foreign text fail in many ways
        if known:
            return TYPESTORE
        raise


def _own_types(kind: str, definition: MessageDefinition) -> Typestore:
    """Return the types as the bag itself defines them."""
    store = get_typestore(Stores.EMPTY)
    if definition.format is MessageDefinitionFormat.MSG:
        store.register(get_types_from_msg(definition.data, kind))
        return store
    separator = "=" * 80 + "\n"
    for part in definition.data.split(separator):
        # Each part starts with its name, except where the definition is one part alone.
        text = part.split("\n", 1)[1] if part.startswith("IDL: ") else part
        if text.strip():
            store.register(get_types_from_idl(text))
    return store
