"""Images of cameras that are mounted upside down or sideways."""

from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError

Rotation = Literal[0, 90, 180, 270]
"""Degrees clockwise."""

ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
"""Rotations that leave pixels whole."""

_CODES = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_UP: dict[int, tuple[float, float, float]] = {
    0: (0.0, -1.0, 0.0),
    90: (-1.0, 0.0, 0.0),
    180: (0.0, 1.0, 0.0),
    270: (1.0, 0.0, 0.0),
}
_Scalar = TypeVar("_Scalar", np.uint8, np.float32)


def rotate_image(image: npt.NDArray[_Scalar], degrees: int) -> npt.NDArray[_Scalar]:
    """Rotate an image clockwise.

    Args:
        image: (H, W) or (H, W, C).
        degrees: A multiple of 90; negative for counter-clockwise.

    Returns:
        (H, W), or (W, H) of a quarter turn, with the channels; the image itself where nothing
        turns.

    Raises:
        DepthFormerError: The degrees are no multiple of 90.
    """
    turn = degrees % 360
    if turn not in ROTATIONS:
        raise DepthFormerError(f"images are rotated by multiples of 90 degrees, got {degrees}")
    if not turn:
        return image
    return np.asarray(cv2.rotate(np.ascontiguousarray(image), _CODES[turn]), image.dtype)


def image_up(degrees: int) -> tuple[float, float, float]:
    """Return up of the upright image, a unit vector in the camera's own optical frame.

    Args:
        degrees: Degrees clockwise by which images of the camera become upright.

    Raises:
        DepthFormerError: They are none of `ROTATIONS`.
    """
    if degrees not in _UP:
        raise DepthFormerError(f"rotate must be one of {ROTATIONS}, got {degrees!r}")
    return _UP[degrees]
