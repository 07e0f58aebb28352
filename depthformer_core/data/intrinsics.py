"""Text files that hold a camera matrix."""

import math
from pathlib import Path

from depthformer_core.errors import DepthFormerError
from depthformer_core.files import TextFileError, read_text

Intrinsics = tuple[float, float, float, float]
"""Focal lengths fx, fy and principal point cx, cy, pixels."""


class IntrinsicsError(DepthFormerError):
    """A camera matrix that cannot be read; the message names the file."""


def read_intrinsics(path: Path) -> Intrinsics:
    """Read the nine numbers of a row-major 3x3 camera matrix, on one line or three.

    Raises:
        IntrinsicsError: The file is missing or holds something else.
    """
    try:
        text = read_text(path, kind="intrinsics")
    except TextFileError as error:
        raise IntrinsicsError(str(error)) from error
    try:
        values = [float(number) for number in text.split()]
    except ValueError as error:
        raise IntrinsicsError(f"intrinsics {path} are malformed: {error}") from error
    if len(values) != 9 or not all(map(math.isfinite, values)) or min(values[0], values[4]) <= 0:
        raise IntrinsicsError(
            f"intrinsics {path} must be 9 finite numbers with positive focal lengths, "
            f"got {text.strip()!r}"
        )
    return values[0], values[4], values[2], values[5]
