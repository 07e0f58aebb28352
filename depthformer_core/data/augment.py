"""The training augmentation of the official release, step by step and number by number.

Only `photometric` is not the release's; while it is 0 it draws nothing.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.data.photometric import photometric
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.crop import crop_window
from depthformer_core.types import FloatArray

Border = Literal["kitti", "nyu", "none"]

_NYU_BORDER = (slice(45, 472), slice(43, 608))


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Augmentation of one training sample; the defaults are the official release's for KITTI."""

    border: Border
    """Part of the image that training sees: the bottom 352 rows and middle 1216 columns (kitti),
    rows 45 to 471 and columns 43 to 607 (nyu), or everything (none)."""
    size: tuple[int, int]
    """Height and width of the random crop, pixels."""
    off: bool = False
    """Crop at random, and do nothing else."""
    rotate: float = 0.5
    """Probability that an image is turned."""
    degrees: float = 2.5
    """Largest angle, to either side."""
    flip: float = 0.5
    """Probability that an image is mirrored."""
    photometric: float = 0.0
    """Probability that camera and light of an image are changed, see
    `photometric`; for networks that are trained on rendered images. Not in the official release."""
    color: float = 0.5
    """Probability that an image's colours are changed."""
    gamma: tuple[float, float] = (0.9, 1.1)
    """Range of the power of the values from 0 to 255."""
    brightness: tuple[float, float] = (0.9, 1.1)
    """Range of the factor on all channels; the official release has 0.75 to 1.25 for NYU."""
    channels: tuple[float, float] = (0.9, 1.1)
    """Range of a factor on each channel."""

    def __post_init__(self) -> None:
        """Reject invalid values."""
        if self.border not in get_args(Border):
            raise DepthFormerError(f"border must be one of {get_args(Border)}, got {self.border!r}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise DepthFormerError(f"size must be a positive height and width, got {self.size}")
        for name in ("rotate", "flip", "photometric", "color"):
            if not 0 <= getattr(self, name) <= 1:
                raise DepthFormerError(f"{name} must be a probability, got {getattr(self, name)}")
        if not 0 <= self.degrees <= 180:
            raise DepthFormerError(f"degrees must be 0 to 180, got {self.degrees}")
        for name in ("gamma", "brightness", "channels"):
            limits = getattr(self, name)
            if len(limits) != 2 or not 0 < limits[0] <= limits[1] < np.inf:
                raise DepthFormerError(
                    f"{name} must be two positive numbers, the lower first, got {limits}"
                )


def augment(
    rgb: npt.NDArray[np.uint8],
    depth: FloatArray,
    *,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Crop the border, rotate, flip, crop at random and change the colours of a sample.

    Args:
        rgb: (H, W, 3), RGB, 0 to 255.
        depth: (H, W), metres, 0 where there is no truth.
        augmentation: The settings.
        rng: Source of all randomness; its draws have the official order.

    Returns:
        Image (h, w, 3) in RGB, 0 to 255, not normalized, and depth (h, w), metres, 0 where there
        is no truth, of the augmentation's size. Neither shares memory with the input.

    Raises:
        DepthFormerError: The arrays are no image and depth of one size, or too small for the crop.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise DepthFormerError(f"rgb must be uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
    if depth.shape != rgb.shape[:2] or depth.dtype != np.float32:
        raise DepthFormerError(
            f"depth must be float32 {rgb.shape[:2]} like its image, got {depth.dtype} {depth.shape}"
        )
    inside = _border(augmentation.border, *rgb.shape[:2])
    full, rgb, depth = rgb.shape, rgb[inside], depth[inside]
    height, width = augmentation.size
    if rgb.shape[0] < height or rgb.shape[1] < width:
        raise DepthFormerError(
            f"image of {full[1]}x{full[0]} pixels keeps {rgb.shape[1]}x{rgb.shape[0]} with "
            f"border {augmentation.border!r}, less than the crop of {width}x{height}: "
            "train with a smaller size, or on larger images"
        )
    changed = not augmentation.off
    # The official release draws the angle of images that stay upright too.
    rotated = rng.random() < augmentation.rotate
    degrees = rng.uniform(-augmentation.degrees, augmentation.degrees)
    if changed and rotated:
        rgb, depth = _rotate(rgb, depth, degrees)
    if rng.random() < augmentation.flip and changed:
        rgb, depth = (
            np.asarray(cv2.flip(rgb, 1), np.uint8),
            np.asarray(cv2.flip(depth, 1), np.float32),
        )
    top = int(rng.integers(0, rgb.shape[0] - height + 1))
    left = int(rng.integers(0, rgb.shape[1] - width + 1))
    window = slice(top, top + height), slice(left, left + width)
    rgb, depth = rgb[window], depth[window]
    if changed and augmentation.photometric > 0 and rng.random() < augmentation.photometric:
        rgb = photometric(rgb, rng)
    if rng.random() < augmentation.color and changed:
        return _recolour(rgb, augmentation, rng), np.array(depth, order="C")
    return rgb.astype(np.float32), np.array(depth, order="C")


def _border(border: Border, height: int, width: int) -> tuple[slice, slice]:
    if border == "nyu":
        return _NYU_BORDER
    return crop_window(border, height=height, width=width).slices


def _rotate(
    rgb: npt.NDArray[np.uint8], depth: FloatArray, degrees: float
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Turn clockwise about the middle; what comes from outside is black and without truth."""
    height, width = depth.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    turned = cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR)
    turned_depth = cv2.warpAffine(depth, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(turned, np.uint8), np.asarray(turned_depth, np.float32)


def _recolour(
    rgb: npt.NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> FloatArray:
    gamma = rng.uniform(*augmentation.gamma)
    brightness = rng.uniform(*augmentation.brightness)
    factors = rng.uniform(*augmentation.channels, size=3)[::-1]  # drawn for blue, green, red
    # A pixel has only 256 values, so there are only 256 powers.
    table = np.arange(256)[:, None] ** gamma * brightness * factors
    table = np.minimum(table, 255).astype(np.float32)
    return np.asarray(cv2.LUT(np.ascontiguousarray(rgb), table[None]), np.float32)
