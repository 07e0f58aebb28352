"""Images of cameras, `sensor_msgs/Image`, checked and turned into pictures.

The functions read the fields of a message alone, so the message objects of a running ROS 2 and
those of bags are alike to them.

cv_bridge, which ROS has for this, is not used: bags are read where there is no ROS, and its
compiled part is bound to one version of NumPy. A test compares the two where it is installed.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.bags.conversion import ConversionError, shown
from depthformer_core.bags.message_types import ImageMessage
from depthformer_core.types import Rgb

MAX_PIXELS = 64 * 2**20
"""Largest image that is accepted: more is a damaged message or a decompression bomb."""


@dataclass(frozen=True)
class Chroma:
    """Planes of chroma that lie behind the rows of a picture.

    Attributes:
        rows: Number of their rows, in halves of the picture's rows.
        row: Length of such a row, in halves of a row of the picture.
    """

    rows: int
    row: int


@dataclass(frozen=True)
class Layout:
    """Memory layout of an encoding's pixels in a message's data.

    Attributes:
        channels: Interleaved samples of a pixel.
        kind: NumPy's name of a sample, without byte order.
        code: OpenCV's conversion to RGB; none where the samples are RGB or no colours.
        chroma: Planes behind the picture's rows, where there are any.
    """

    channels: int
    kind: str = "u1"
    code: int | None = None
    chroma: Chroma | None = None


_NV12 = Chroma(rows=1, row=2)  # U and V interleaved, for two by two pixels
_I420 = Chroma(rows=2, row=1)  # U, then V, each for two by two pixels
_NV24 = Chroma(rows=2, row=4)  # U and V interleaved, for every pixel

# OpenCV names a Bayer pattern after the second row and column, ROS after the first: RGGB is BG.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_COLOURS = {
    "mono8": Layout(1, "u1", cv2.COLOR_GRAY2RGB),
    "mono16": Layout(1, "u2", cv2.COLOR_GRAY2RGB),
    "rgb8": Layout(3, "u1"),
    "rgb16": Layout(3, "u2"),
    "bgr8": Layout(3, "u1", cv2.COLOR_BGR2RGB),
    "bgr16": Layout(3, "u2", cv2.COLOR_BGR2RGB),
    "rgba8": Layout(4, "u1", cv2.COLOR_RGBA2RGB),
    "rgba16": Layout(4, "u2", cv2.COLOR_RGBA2RGB),
    "bgra8": Layout(4, "u1", cv2.COLOR_BGRA2RGB),
    "bgra16": Layout(4, "u2", cv2.COLOR_BGRA2RGB),
    # Without a colour order in the name, OpenCV's own is meant. One channel of 16 bits is depth.
    "8UC1": Layout(1, "u1", cv2.COLOR_GRAY2RGB),
    "8UC3": Layout(3, "u1", cv2.COLOR_BGR2RGB),
    "8UC4": Layout(4, "u1", cv2.COLOR_BGRA2RGB),
    "16UC3": Layout(3, "u2", cv2.COLOR_BGR2RGB),
    "16UC4": Layout(4, "u2", cv2.COLOR_BGRA2RGB),
    **{f"{name}8": Layout(1, "u1", code) for name, code in _BAYER.items()},
    **{f"{name}16": Layout(1, "u2", code) for name, code in _BAYER.items()},
    "yuv422": Layout(2, "u1", cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Layout(2, "u1", cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Layout(2, "u1", cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Layout(2, "u1", cv2.COLOR_YUV2RGB_YUY2),
    # ROS names NV12, NV21 and NV24; the others are drivers' names.
    "nv12": Layout(1, "u1", cv2.COLOR_YUV2RGB_NV12, _NV12),
    "nv21": Layout(1, "u1", cv2.COLOR_YUV2RGB_NV21, _NV12),
    "i420": Layout(1, "u1", cv2.COLOR_YUV2RGB_I420, _I420),
    "yuv420": Layout(1, "u1", cv2.COLOR_YUV2RGB_I420, _I420),
    # OpenCV knows no NV24: its chroma and luma are packed first.
    "nv24": Layout(1, "u1", chroma=_NV24),
}


def image_to_rgb(message: ImageMessage) -> Rgb:
    """Read an image of any colour, mono or Bayer encoding.

    Of 16-bit channels the upper 8 bits are kept. YUV is taken for BT.601 of limited range, as
    OpenCV and ROS take it.

    Args:
        message: `sensor_msgs/msg/Image`; rows may be padded.

    Returns:
        (H, W, 3) RGB; may share the message's memory.

    Raises:
        ConversionError: The encoding is unknown, or size, step and data do not fit together.
    """
    layout = _COLOURS.get(message.encoding)
    if layout is None:
        raise ConversionError(
            "encoding",
            f"{shown(message.encoding)} is not supported; known are {', '.join(_COLOURS)}",
        )
    samples = read_samples(message, layout)
    height, width = message.height, message.width
    if layout.chroma == _NV24:
        return _nv24_to_rgb(samples, width=width, height=height)
    pixels = upper_bits(samples).reshape(-1, width, layout.channels)
    return _convert(pixels, layout.code, message.encoding)


def mosaic_to_rgb(mosaic: npt.NDArray[np.uint8], encoding: str) -> Rgb:
    """Interpolate the colours of a Bayer mosaic.

    Args:
        mosaic: (H, W).
        encoding: Its encoding, one for which `is_bayer` holds.

    Raises:
        ConversionError: The mosaic is too small.
    """
    return _convert(mosaic, _COLOURS[encoding].code, encoding)


def is_bayer(encoding: str) -> bool:
    """Return whether an encoding is a Bayer mosaic that can be interpolated."""
    return encoding in _COLOURS and _COLOURS[encoding].code in _BAYER.values()


def read_samples(message: ImageMessage, layout: Layout) -> npt.NDArray[Any]:
    """Check the fields of an image against each other and take the padding from its data.

    Args:
        message: `sensor_msgs/msg/Image`.
        layout: That of its encoding.

    Returns:
        (H, W * channels), or (N,) where planes of chroma follow those; may be of foreign byte order
        and may share the message's memory.

    Raises:
        ConversionError: Size, step and data do not fit together.
    """
    height, width, step = message.height, message.width, message.step
    check_size(width, height)
    kind = np.dtype(layout.kind)
    row = width * layout.channels * kind.itemsize
    if step < row:
        raise ConversionError(
            "step",
            f"{step} is less than the {row} bytes of a row of {width} pixels {message.encoding}",
        )
    chroma = layout.chroma
    if chroma is not None:
        _check_even(message, chroma)
    planes = 0 if chroma is None else step * height * chroma.rows * chroma.row // 4
    wanted = step * height + planes
    if len(message.data) != wanted:
        raise ConversionError(
            "data",
            f"has {len(message.data)} bytes, step {step} and height {height} make {wanted} "
            f"for {message.encoding}",
        )
    if kind.itemsize > 1 and message.is_bigendian not in (0, 1):
        raise ConversionError("is_bigendian", f"must be 0 or 1, got {message.is_bigendian}")
    kind = kind.newbyteorder(">" if message.is_bigendian else "<")
    rows = _rows(message.data, (height, width * layout.channels), kind, step=step)
    if chroma is None:
        return rows
    if step == row:
        return np.frombuffer(message.data, np.uint8)
    shape = (height * chroma.rows // 2, row * chroma.row // 2)
    behind = _rows(message.data, shape, kind, step=step * chroma.row // 2, offset=step * height)
    return np.concatenate((rows.ravel(), behind.ravel()))


def upper_bits(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the upper 8 bits of unsigned samples of 8 or 16 bits."""
    return (samples if samples.dtype.itemsize == 1 else samples >> 8).astype(np.uint8, copy=False)


def check_size(width: int, height: int) -> None:
    """Refuse a size that no camera has.

    Raises:
        ConversionError: There are no pixels, or more than `MAX_PIXELS`.
    """
    for name, value in (("width", width), ("height", height)):
        if value == 0:
            raise ConversionError(name, "is 0")
    if width * height > MAX_PIXELS:
        raise ConversionError(
            "width", f"{width} and height {height} make more than {MAX_PIXELS} pixels"
        )


def _rows(
    data: bytes | npt.NDArray[np.uint8],
    shape: tuple[int, int],
    kind: np.dtype[Any],
    *,
    step: int,
    offset: int = 0,
) -> npt.NDArray[Any]:
    """Return rows that begin `step` bytes after each other, without their padding."""
    return np.ndarray(shape, kind, data, offset, (step, kind.itemsize))


def _check_even(message: ImageMessage, chroma: Chroma) -> None:
    """Refuse a size with half a sample of chroma."""
    names = ["width", "height"] if 1 in (chroma.rows, chroma.row) else []
    if chroma.row == 1:
        names.append("step")
    for name in names:
        value = getattr(message, name)
        if value % 2:
            raise ConversionError(name, f"must be even for {message.encoding}, got {value}")


def _convert(pixels: npt.NDArray[np.uint8], code: int | None, encoding: str) -> Rgb:
    """Convert pixels (H, W) or (H, W, channels) to RGB; planes lie below each other."""
    if code is None:
        return np.ascontiguousarray(pixels)
    try:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise ConversionError(
            "encoding", f"{encoding} has no image of width {width} and height {height}"
        ) from error


def _nv24_to_rgb(samples: npt.NDArray[Any], *, width: int, height: int) -> Rgb:
    """Convert a luma and a chroma plane to RGB with the arithmetic of the other YUV encodings.

    Every pixel is taken for two that share its chroma, as those of UYVY do.
    """
    luma = samples[: width * height].reshape(height, width)
    chroma = samples[width * height :].reshape(height, width, 2)
    pairs = np.empty((height, 2 * width, 2), np.uint8)
    pairs[..., 0] = chroma.reshape(height, 2 * width)
    pairs[:, 0::2, 1] = pairs[:, 1::2, 1] = luma
    return np.ascontiguousarray(_convert(pairs, cv2.COLOR_YUV2RGB_UYVY, "nv24")[:, ::2])
