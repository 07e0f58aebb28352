"""Masks of images: which pixels count, of a camera that sees parts of its own robot."""

import os
from pathlib import Path

import cv2
import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Calibration
from depthformer_core.types import BoolArray

_LARGEST_FILE = 64 * 2**20  # bytes
_PNG_START = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 64 * 2**20


class ImageMask:
    """The pixels of a camera's images that count.

    Args:
        used: (H, W), true at pixels that count; of the images as the camera sends them.
        name: Name for messages.

    Attributes:
        name: The argument.
    """

    def __init__(self, used: BoolArray, *, name: str = "mask") -> None:
        self.name = name
        self._used = used
        self._hidden: tuple[Calibration | None, BoolArray] = (None, ~used)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self._used.shape[0], self._used.shape[1]

    def hidden(self, calibration: Calibration | None) -> BoolArray:
        """Return the pixels that do not count, of the image that `Calibration.rectify` makes.

        Args:
            calibration: The image's; None for an image as the camera sends it.

        Returns:
            (H, W), kept until another calibration comes.

        Raises:
            DepthFormerError: The calibration is for another size.
        """
        known, hidden = self._hidden
        if calibration != known:
            hidden = ~self._used if calibration is None else ~calibration.rectify_mask(self._used)
            self._hidden = calibration, hidden
        return hidden


def read_mask(path: str | os.PathLike[str]) -> ImageMask:
    """Read a mask from a PNG file: black pixels do not count, as for OpenCV and COLMAP.

    Args:
        path: A grey picture of 1 to 16 bits; one in colour or with an alpha channel must be grey
            and opaque.

    Raises:
        DepthFormerError: The file is missing, larger than 64 MiB, no PNG, damaged, in colours,
            transparent, or black everywhere.
    """
    path = Path(path)
    data = _contents(path)
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not data.startswith(_PNG_START) or len(data) < 24:
        raise DepthFormerError(
            f"mask {path} must be a PNG file, which keeps black black; it starts with "
            f"{data[:8].hex(' ') or 'nothing'}"
        )
    if size[0] * size[1] > _MOST_PIXELS:
        raise DepthFormerError(f"mask {path} is too large: {size[0]}x{size[1]} pixels")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DepthFormerError(f"mask {path} is damaged: {error.err}") from error
    if pixels is None:
        raise DepthFormerError(f"mask {path} is damaged: it cannot be decoded")
    if pixels.ndim == 3:
        colours, alpha = pixels[..., :3], pixels[..., 3:]
        if (colours != colours[..., :1]).any():
            raise DepthFormerError(f"mask {path} must be black and white, it has colours")
        if (alpha < (255 if alpha.dtype == np.uint8 else 65535)).any():
            raise DepthFormerError(f"mask {path} must be opaque, it has transparent pixels")
        pixels = colours[..., 0]
    used = pixels > 0
    if not used.any():
        raise DepthFormerError(f"mask {path} is black everywhere, which leaves no pixel")
    return ImageMask(used, name=f"mask {path}")


def _contents(path: Path) -> bytes:
    # A pipe or a device would never end.
    if not path.is_file():
        raise DepthFormerError(f"no mask at {path}" if not path.exists() else f"{path} is no file")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise DepthFormerError(f"cannot read mask {path}: {error.strerror}") from error
    if len(data) > _LARGEST_FILE:
        raise DepthFormerError(f"mask {path} is larger than {_LARGEST_FILE // 2**20} MiB")
    return data
