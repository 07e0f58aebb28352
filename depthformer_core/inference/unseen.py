"""Pixels of an image that its camera never saw.

Rectification makes them black. They differ from all that a camera records: they are exactly
black, they begin at the image's border, and they end in a smooth line, where shadows fray.
"""

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.types import BoolArray, Rgb

# Pixels: the border of a smaller region is too short to judge.
_SMALLEST = 16
# More regions than this at the border of an image are noise.
_MOST = 12
# Side of the square that separates a smooth line from teeth and gaps, in pixels and as a share of
# the image: in a small image, corners and bows of a smooth line are as small as others' teeth.
_SQUARE = (3, 9)
_SQUARE_SHARE = 1 / 50
# Pixels in teeth and gaps, of each along the line: smooth ones have up to 0.07, shadows mostly more
# than 0.5.
_ROUGHEST = 0.1


def unseen_pixels(rgb: Rgb) -> BoolArray | None:
    """Find the pixels of an image that its camera never saw: black borders, or a black image whole.

    Args:
        rgb: uint8 (H, W, C) or (H, W).

    Returns:
        (H, W), or None where the camera saw every pixel.
    """
    rgb = np.atleast_3d(rgb)
    borders = (rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1])
    if all(border.any(axis=-1).all() for border in borders):
        return None
    _, labels = cv2.connectedComponents(black_pixels(rgb), connectivity=4)
    outer = np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    areas = np.bincount(labels.ravel())
    # 0 is what is not black.
    found = np.unique(outer[outer > 0])
    found = found[areas[found] >= _SMALLEST]
    unseen = np.zeros(labels.shape, np.bool_)
    for label in found[np.argsort(-areas[found])][:_MOST]:
        region = labels == label
        if _ends_smoothly(region):
            unseen |= region
    return unseen if unseen.any() else None


def black_pixels(image: npt.NDArray[np.uint8], *, below: int = 1) -> npt.NDArray[np.uint8]:
    """Mark the pixels below a value in all channels of an image, as in `unseen_pixels`.

    Returns:
        uint8 (H, W), 255 or 0.
    """
    image = np.ascontiguousarray(np.atleast_3d(image))
    channels = image.shape[2]
    mask = cv2.inRange(image, np.zeros(channels), np.full(channels, below - 1.0))
    return np.asarray(mask, np.uint8)


def _ends_smoothly(region: BoolArray) -> bool:
    """Return whether a region, (H, W), has a smooth border and surrounds one other at most."""
    height, width = region.shape
    smallest, largest = _SQUARE
    # An odd number.
    side = min(max(round(min(height, width) * _SQUARE_SHARE) | 1, smallest), largest)
    mask = region.view(np.uint8)
    left, top, across, down = cv2.boundingRect(mask)
    rows = slice(max(top - side, 0), top + down + side)
    columns = slice(max(left - side, 0), left + across + side)
    # What touches the image's border goes on beyond it.
    mask = np.pad(mask[rows, columns], side, mode="edge")
    square = np.ones((side, side), np.uint8)
    edge = cv2.BORDER_REPLICATE
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, square, borderType=edge)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, square, borderType=edge)
    line = cv2.absdiff(cv2.dilate(mask, np.ones((3, 3), np.uint8)), mask)
    if cv2.countNonZero(cv2.absdiff(closed, opened)) > _ROUGHEST * cv2.countNonZero(line):
        return False
    _, hierarchy = cv2.findContours(closed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    # Contours of holes have that of the region around them as their parent.
    return int((hierarchy[0][:, 3] >= 0).sum()) <= 1
