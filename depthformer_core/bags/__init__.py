"""Bags: ROS 2 (MCAP, SQLite) written and read, ROS 1 read, without any ROS installed."""

from depthformer_core.bags.reader import BagMessage, BagReader, Topic
from depthformer_core.bags.storage import BagError
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
