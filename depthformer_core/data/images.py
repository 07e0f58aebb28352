"""Image files: colour pictures and 16-bit depth."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.files import replacing
from depthformer_core.types import FloatArray, FloatingArray

LARGEST_STEP = 65535
"""Largest value of a 16-bit depth file."""

_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class ImageError(DepthFormerError):
    """An image file that cannot be read or written; the message names it."""


def read_rgb(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read any picture OpenCV knows as (H, W, 3) RGB, its pixels as stored.

    Depth files and intrinsics are of these, without EXIF rotation.

    Raises:
        ImageError: The file is missing or no picture.
    """
    return _to_rgb(_read(Path(path), _AS_STORED))


def read_photo(path: str | Path) -> tuple[npt.NDArray[np.uint8], bool]:
    """Read any picture OpenCV knows upright, with its EXIF rotation applied.

    Returns:
        (H, W, 3) RGB, and whether these are other pixels than those of `read_rgb`, so that
        intrinsics of the camera do not hold for them.

    Raises:
        ImageError: The file is missing or no picture.
    """
    path = Path(path)
    data = _contents(path)
    # OpenCV alone knows the EXIF rotation of each kind of file.
    upright, stored = _decode(path, data, cv2.IMREAD_COLOR), _decode(path, data, _AS_STORED)
    return _to_rgb(upright), not np.array_equal(upright, stored)


def write_png(path: str | Path, rgb: npt.NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB as a PNG file.

    Raises:
        ImageError: The array is no picture.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(f"cannot write {path}: no RGB picture, got {rgb.dtype} {rgb.shape}")
    _write(Path(path), rgb[..., ::-1])


def read_depth_png(path: str | Path, *, scale: float) -> FloatArray:
    """Read 16-bit depth.

    Args:
        path: A PNG file with one channel of 16 bits.
        scale: Steps per metre: 256 for KITTI, 1000 for millimetres.

    Returns:
        (H, W), metres, 0 where there is no value.

    Raises:
        ImageError: The file is missing or holds something else, or the scale is not positive.
    """
    _check_scale(path, scale)
    steps = _read(Path(path), cv2.IMREAD_UNCHANGED)
    if steps.ndim != 2 or steps.dtype != np.uint16:
        raise ImageError(f"{path} is no 16-bit depth image, it holds {steps.dtype} {steps.shape}")
    return steps.astype(np.float32) / np.float32(scale)


def write_depth_png(path: str | Path, depth: FloatingArray, *, scale: float) -> None:
    """Write depth as a 16-bit PNG file.

    Args:
        path: The file; replaced if it exists.
        depth: (H, W), metres. What is not finite, negative or beyond 65535 / `scale` becomes 0,
            "no value".
        scale: Steps per metre: 256 for KITTI, 1000 for millimetres.

    Raises:
        ImageError: The depth is no floating-point image, or the scale is not positive.
    """
    _check_scale(path, scale)
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise ImageError(f"cannot write {path}: no depth image, got {depth.dtype} {depth.shape}")
    steps = np.rint(depth.astype(np.float64) * scale)
    fits = np.isfinite(steps) & (steps >= 0) & (steps <= LARGEST_STEP)
    _write(Path(path), np.where(fits, steps, 0).astype(np.uint16))


def _check_scale(path: str | Path, scale: float) -> None:
    if not 0 < scale < np.inf:
        raise ImageError(f"scale of {path} must be positive, got {scale}")


def _to_rgb(bgr: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _read(path: Path, flags: int) -> npt.NDArray[Any]:
    return _decode(path, _contents(path), flags)


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error


def _decode(path: Path, data: bytes, flags: int) -> npt.NDArray[Any]:
    # OpenCV raises for no bytes and for too many pixels, and returns None for all else it cannot
    # read.
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise ImageError(f"cannot read image {path}: {error.err}") from error
    if pixels is None:
        raise ImageError(f"cannot read image {path}: no picture, or a damaged one")
    return pixels


def _write(path: Path, pixels: npt.NDArray[Any]) -> None:
    encoded, data = cv2.imencode(".png", pixels)
    assert encoded, "PNG takes every image of 8 or 16 bits"
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
