"""Bags: ROS 2 (MCAP, SQLite) written and read, ROS 1 read, without any ROS installed."""

from typing import TYPE_CHECKING

from depthformer_core.bags.errors import BagError
from depthformer_core.lazy import lazy_imports

if TYPE_CHECKING:
    from depthformer_core.bags.reader import BagMessage, BagReader, Topic
    from depthformer_core.bags.types import TYPESTORE
    from depthformer_core.bags.writer import BagWriter, Storage

__all__ = [
    "TYPESTORE",
    "BagError",
    "BagMessage",
    "BagReader",
    "BagWriter",
    "Storage",
    "Topic",
]

# A running node takes messages from ROS: it needs the conversions alone.
__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "BagMessage": "reader",
        "BagReader": "reader",
        "Topic": "reader",
        "TYPESTORE": "types",
        "BagWriter": "writer",
        "Storage": "writer",
    },
)
