"""Adaptation of images to the focal length of a network.

A network trained at one focal length judges distance by size in pixels: seen through a lens of
half that focal length, everything seems twice as far. Resized to the focal length it knows, an
image has true sizes again.
"""

import cv2
import numpy as np

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatArray, Rgb

# KITTI's own cameras differ by 2 %. What is closer than this is not worth resampling.
_TOLERANCE = 0.03
# No sensible camera makes more pixels of its image than this.
_MOST_PIXELS = 2**24


def assumed_camera(config: DepthFormerConfig, *, height: int, width: int) -> Camera | None:
    """Return the camera to assume for an image of which only the size is known.

    It is taken to have the horizontal field of view of the images the network was trained on.

    Args:
        config: The network.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        The camera, or None where the training images of the network are unknown.
    """
    if config.focal_length is None or config.image_width is None:
        return None
    focal = config.focal_length * width / config.image_width
    return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def fitted_size(camera: Camera, focal_length: float) -> tuple[int, int]:
    """Return height and width at which a camera's image has a focal length.

    A focal length within 3 % of it is taken as equal.

    Raises:
        DepthFormerError: The image would become absurdly large.
    """
    if all(abs(focal / focal_length - 1) <= _TOLERANCE for focal in (camera.fx, camera.fy)):
        return camera.height, camera.width
    height = camera.height * focal_length / camera.fy
    width = camera.width * focal_length / camera.fx
    if height * width > _MOST_PIXELS:
        raise DepthFormerError(
            f"an image of {camera.width}x{camera.height} pixels with focal lengths "
            f"{camera.fx:g} and {camera.fy:g} would become one of {width:.0f}x{height:.0f} at the "
            f"network's {focal_length:g}: the camera's intrinsics must be wrong"
        )
    return max(1, round(height)), max(1, round(width))


def resize_image(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    """Resize an image (H, W, 3) to a height and width, without aliasing."""
    if rgb.shape[:2] == size:
        return rgb
    # Down to half an image's size, bilinear weights use every pixel, in a quarter of the time.
    skips = 2 * size[0] < rgb.shape[0] or 2 * size[1] < rgb.shape[1]
    method = cv2.INTER_AREA if skips else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=method), np.uint8)


def resize_truth(depth: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize true depth (H, W), 0 where there is none, to a height and width.

    Depth is never blended, and no pixel that holds any truth is left without: each true value
    moves to the pixel it falls into. Of several in one pixel the last, row by row, stays.
    """
    if depth.shape == size:
        return depth
    rows, columns = (
        np.arange(before) * after // before for before, after in zip(depth.shape, size, strict=True)
    )
    # With one number for each pixel, dense depth takes a quarter of the time of two.
    targets = (rows[:, None] * size[1] + columns).ravel()
    known = np.flatnonzero(depth > 0)
    resized = np.zeros(size, depth.dtype)
    resized.ravel()[targets[known]] = depth.ravel()[known]
    return resized
