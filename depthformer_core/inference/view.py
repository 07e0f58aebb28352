"""View of a network: the part of a camera's image that it reads, and its resizing."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.crop import Margins, Window, view_window, view_zoom
from depthformer_core.inference.focal import fitted_size, resize_image, resize_truth
from depthformer_core.types import FloatArray, Rgb


class View(NamedTuple):
    """A part of an image that is resized.

    Attributes:
        size: Height and width that the whole image is resized to.
        window: The part of the resized image that is read.
        margins: Rows and columns around the window, mirrored from what lies inside.
        factor: Depth of the image over the apparent depth of the part.
    """

    size: tuple[int, int]
    window: Window
    margins: Margins = Margins()
    factor: float = 1.0

    def image(self, rgb: Rgb) -> Rgb:
        """Read the part of an image (H, W, 3)."""
        part = np.ascontiguousarray(resize_image(rgb, self.size)[self.window.slices])
        if any(self.margins):
            part = np.asarray(
                cv2.copyMakeBorder(part, *self.margins, cv2.BORDER_REFLECT_101), np.uint8
            )
        return part

    def truth(self, depth: FloatArray) -> FloatArray:
        """Read the part of true depth (H, W), 0 where there is none, divided by `factor`."""
        part = resize_truth(depth, self.size)[self.window.slices]
        above, below, before, after = self.margins
        part = np.pad(part, ((above, below), (before, after)))
        return part if self.factor == 1 else part / part.dtype.type(self.factor)


def trained_view(camera: Camera, config: DepthFormerConfig) -> View:
    """Find the view of a network with crop `view`: the field of view of its training images.

    Args:
        camera: The camera.
        config: The network, with a focal length and a size of its training images.

    Raises:
        DepthFormerError: The camera's intrinsics are absurd.
    """
    focal, height, width = config.focal_length, config.image_height, config.image_width
    if focal is None or height is None or width is None:
        raise DepthFormerError(
            "the network must know focal_length, image_height and image_width, got "
            f"{focal}, {height} and {width}"
        )
    size = fitted_size(camera, focal)
    zoom = view_zoom(size, height=height, width=width)
    size = round(size[0] * zoom), round(size[1] * zoom)
    window, margins = view_window(camera.resized(*size), height=height, width=width)
    # Where a border is near enough to be taken for that of the training images, the part is a
    # little larger or smaller than they are.
    rows = _fit(size[0], (margins.top, window.top, window.height, margins.bottom), height)
    columns = _fit(size[1], (margins.left, window.left, window.width, margins.right), width)
    factor = zoom * math.sqrt(rows.size / size[0] * (columns.size / size[1]))
    return View(
        (rows.size, columns.size),
        Window(rows.first, columns.first, rows.count, columns.count),
        Margins(rows.before, rows.after, columns.before, columns.after),
        factor,
    )


@dataclass(frozen=True)
class _Axis:
    """A part of an axis of an image: pixels of the whole, its first one, its length, margins."""

    size: int
    first: int
    count: int
    before: int
    after: int


def _fit(size: int, part: tuple[int, int, int, int], length: int) -> _Axis:
    """Resize an axis of an image so that a part of it and its margins have a length.

    Args:
        size: Pixels of the whole axis.
        part: Margin before the part, its first pixel, its pixels, margin after it.
        length: Pixels of the part with its margins, afterwards.
    """
    before, first, count, after = part
    scale = length / (before + count + after)
    if scale == 1:
        return _Axis(size, first, count, before, after)
    size, first = max(1, round(size * scale)), round(first * scale)
    before, after = round(before * scale), round(after * scale)
    count = min(size - first, length - before - after)
    # What rounding leaves.
    return _Axis(size, first, count, length - count - after, after)
