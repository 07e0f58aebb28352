"""Depth stored as PNG files of 16 bits."""

from dataclasses import dataclass
from pathlib import Path

from depthformer_core.data.dataset import PNG, DatasetError, file_head
from depthformer_core.data.images import read_depth_png
from depthformer_core.types import FloatArray

_HEAD = 26  # signature and the image header up to the type of colour
_GREY = 0


@dataclass(frozen=True)
class PngDepth:
    """Depth as 16-bit steps, 0 where there is none.

    Attributes:
        scale: Steps per metre: 256 for KITTI, 1000 for millimetres.
    """

    scale: float

    def read(self, path: Path) -> FloatArray:
        """Read depth (H, W), metres, 0 where there is none.

        Raises:
            ImageError: The file is missing, damaged or of another type.
        """
        return read_depth_png(path, scale=self.scale)

    def check(self, path: Path) -> None:
        """Check the header.

        Raises:
            DatasetError: As for `check_depth_png`.
        """
        check_depth_png(path)

    def fingerprint(self, path: Path) -> str:  # noqa: ARG002  # one scale for all files
        """Describe the scale."""
        return repr(self.scale)


def check_depth_png(path: Path) -> None:
    """Check the header of a depth image.

    Raises:
        DatasetError: The file is missing or no PNG file with one channel of 16 bits.
    """
    head = file_head(path, _HEAD)
    if not head.startswith(PNG) or len(head) < _HEAD:
        raise DatasetError(f"depth {path} is no PNG file")
    bits, colour = head[24], head[25]
    if (bits, colour) != (16, _GREY):
        raise DatasetError(
            f"depth {path} must be a PNG file with one channel of 16 bits, "
            f"it is a {'grey' if colour == _GREY else 'colour'} one of {bits} bits"
        )
