"""Stamps of messages that are not deserialized."""

import struct

from depthformer_core.bags.topics import ReplayError


def header_stamp(data: bytes) -> int:
    """Stamp of a message in CDR that starts with a `std_msgs/msg/Header`, nanoseconds.

    Raises:
        ReplayError: The data is shorter than a header.
    """
    if len(data) < 12:
        raise ReplayError(f"message of {len(data)} bytes has no header")
    # The second byte of the encapsulation tells the byte order.
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)
