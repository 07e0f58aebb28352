"""Times that images are named after."""

import re
from collections.abc import Sequence

_STAMP = re.compile(r"(\d+)\.(\d{9})")


def seconds_since_first(files: Sequence[str]) -> list[float] | None:
    """Read when images were taken from their names.

    Args:
        files: Names of images, such as `1700000000.100000000` for a stamp in seconds.

    Returns:
        Seconds since the earliest of them; None where some name is no stamp, or none is given.
    """
    matches = [_STAMP.fullmatch(file) for file in files]
    # Integers, because a double cannot hold nanoseconds since 1970.
    stamps = [int(match[1]) * 10**9 + int(match[2]) for match in matches if match is not None]
    if not stamps or len(stamps) < len(files):
        return None
    first = min(stamps)
    return [(stamp - first) / 1e9 for stamp in stamps]
