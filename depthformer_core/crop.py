"""The part of a camera image that a network reads."""

from typing import NamedTuple, get_args

from depthformer_core.config import Crop

_KITTI_HEIGHT = 352
_KITTI_WIDTH = 1216


class Window(NamedTuple):
    """A rectangle of an image, pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the rectangle."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    def scaled(self, rows: float, columns: float) -> "Window":
        """The same part of an image whose height and width are so many times as large."""
        top, left = round(self.top * rows), round(self.left * columns)
        bottom = round((self.top + self.height) * rows)
        right = round((self.left + self.width) * columns)
        return Window(top, left, max(1, bottom - top), max(1, right - left))


def crop_window(crop: Crop, *, height: int, width: int) -> Window:
    """Window that a crop takes out of an image.

    Args:
        crop: `kitti` is the KITTI benchmark's crop, the bottom 352 rows and the middle 1216
            columns, or all there are where an image has fewer; `none` is everything.
        height: Rows of the image.
        width: Columns of the image.

    Raises:
        ValueError: The crop is unknown.
    """
    if crop == "none":
        return Window(0, 0, height, width)
    if crop == "kitti":
        rows, columns = min(height, _KITTI_HEIGHT), min(width, _KITTI_WIDTH)
        return Window(height - rows, (width - columns) // 2, rows, columns)
    raise ValueError(f"crop must be one of {get_args(Crop)}, got {crop!r}")
