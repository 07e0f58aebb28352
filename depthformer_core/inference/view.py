"""View of a network: the part of a camera's image that it reads, and its resizing."""

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
    return View(size, window, margins, zoom)
