"""Crops: the part of a camera image that a network reads."""

from typing import Literal, NamedTuple, get_args

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera

FixedCrop = Literal["none", "kitti"]
"""Crops that do not depend on the camera."""

KITTI_SIZE = (352, 1216)
"""Height and width of the KITTI benchmark's crop, pixels."""

# A border of an image that is so near that of the images a network knows, as a share of their size,
# is taken for it: KITTI's own cameras differ by as much.
_SLACK = 0.05
# Beyond so many times the size of a narrow image, mirroring its borders misleads a network more
# than a camera that seems to have come nearer does; and beyond so much nearer, that does too.
_MIRRORED = 1.25
_MOST_ZOOM = 1.3


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

    def overlap(self, other: "Window") -> int:
        """Count the pixels that two rectangles of one image share."""
        rows = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        columns = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        return max(0, rows) * max(0, columns)

    def scaled(self, rows: float, columns: float) -> "Window":
        """Return the same part of an image whose height and width are scaled by two factors."""
        top, left = round(self.top * rows), round(self.left * columns)
        bottom = round((self.top + self.height) * rows)
        right = round((self.left + self.width) * columns)
        return Window(top, left, max(1, bottom - top), max(1, right - left))


class Margins(NamedTuple):
    """Rows and columns around a window, pixels."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def crop_window(crop: FixedCrop, *, height: int, width: int) -> Window:
    """Return the window of a crop in an image.

    Args:
        crop: `kitti` is the KITTI benchmark's crop, the bottom 352 rows and the middle 1216
            columns, or all there are where an image has fewer; `none` is everything.
        height: Rows of the image.
        width: Columns of the image.

    Raises:
        DepthFormerError: The crop is unknown.
    """
    if crop == "none":
        return Window(0, 0, height, width)
    if crop == "kitti":
        rows, columns = min(height, KITTI_SIZE[0]), min(width, KITTI_SIZE[1])
        return Window(height - rows, (width - columns) // 2, rows, columns)
    raise DepthFormerError(f"crop must be one of {get_args(FixedCrop)}, got {crop!r}")


def view_zoom(size: tuple[int, int], *, height: int, width: int) -> float:
    """Compute how far to enlarge an image that fills little of the field of view of other images.

    An enlarged scene appears nearer by that factor.

    Args:
        size: Height and width of the image.
        height: Rows of the other images, of the same focal length.
        width: Columns of the other images.

    Returns:
        1 to 1.3; 1 where the image fills four fifths of the others' height or width.
    """
    room = min(height / size[0], width / size[1])
    return min(max(room / _MIRRORED, 1.0), _MOST_ZOOM)


def view_window(camera: Camera, *, height: int, width: int) -> tuple[Window, Margins]:
    """Find the part of a camera's image in the field of view that other images have.

    Those have the camera's focal length, and their principal point in their middle.

    Args:
        camera: The camera.
        height: Rows of the other images.
        width: Columns of the other images.

    Returns:
        The part of the camera's image within that field of view, and how much of the latter lies
        outside the image on each side. Where the two end within 5 % of each other, the image's
        border is the end of both.

    Raises:
        DepthFormerError: They have nothing in common.
    """
    top, rows, above, below = _overlap(camera.height, camera.cy, height)
    left, columns, before, after = _overlap(camera.width, camera.cx, width)
    if rows < 1 or columns < 1:
        raise DepthFormerError(
            f"nothing of an image of {camera.width:g}x{camera.height:g} pixels with its principal "
            f"point at {camera.cx:.1f}, {camera.cy:.1f} lies in the {width}x{height} pixels around "
            "it that the network knows: the camera's intrinsics must be wrong"
        )
    return Window(top, left, rows, columns), Margins(above, below, before, after)


def _overlap(size: int, middle: float, known: int) -> tuple[int, int, int, int]:
    """Return first pixel, number of pixels, and pixels missing before and after, along an axis."""
    start = round(middle - (known - 1) / 2)
    end = start + known
    if abs(start) <= _SLACK * known:
        start = 0
    if abs(end - size) <= _SLACK * known:
        end = size
    first, last = max(start, 0), min(end, size)
    return first, last - first, first - start, end - last
