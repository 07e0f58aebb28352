"""Bags: ROS 2 (MCAP, SQLite) written and read, ROS 1 read, without any ROS installed."""

from depthformer_core.data.bag.error import BagError
from depthformer_core.data.bag.reader import BagMessage, BagReader, Topic
from depthformer_core.data.bag.types import TYPESTORE
from depthformer_core.data.bag.writer import BagWriter, Storage

__all__ = [
    "TYPESTORE",
    "BagError",
    "BagMessage",
    "BagReader",
    "BagWriter",
    "Storage",
    "Topic",
]
