"""Messages of cameras turned into pictures and calibrations, checked first.

The functions read the fields of `sensor_msgs` alone, so the message objects of a running ROS 2
and those of bags are alike to them.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.camera import IDENTITY, Calibration, Camera, Matrix3

Rgb = npt.NDArray[np.uint8]

MAX_PIXELS = 64 * 2**20
"""Largest image that is accepted: more is a damaged message or a decompression bomb."""

_SHOWN = 40  # characters of a text that an error shows


class ConversionError(ValueError):
    """A message that cannot be used.

    Args:
        field: The field that is wrong.
        problem: What is wrong with it and its value; the text is both.

    Attributes:
        field: As given.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


@dataclass(frozen=True)
class _Layout:
    channels: int
    depth: int = 1  # bytes of one channel
    code: int | None = None  # OpenCV's conversion to RGB


# OpenCV names a Bayer pattern after the second row and column, ROS after the first: RGGB is BG.
_LAYOUTS = {
    "mono8": _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    "rgb8": _Layout(3, 1),
    "rgb16": _Layout(3, 2),
    "bgr8": _Layout(3, 1, cv2.COLOR_BGR2RGB),
    "bgr16": _Layout(3, 2, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, 1, cv2.COLOR_RGBA2RGB),
    "rgba16": _Layout(4, 2, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    "bgra16": _Layout(4, 2, cv2.COLOR_BGRA2RGB),
    # Without a colour order in the name, OpenCV's own is meant.
    "8UC1": _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout(3, 1, cv2.COLOR_BGR2RGB),
    "8UC4": _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": _Layout(1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _Layout(1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _Layout(1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _Layout(1, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": _Layout(1, 2, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": _Layout(1, 2, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": _Layout(1, 2, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": _Layout(1, 2, cv2.COLOR_BayerGB2RGB),
    "yuv422": _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
}


def image_to_rgb(message: Any) -> Rgb:
    """Read an image of any colour, mono or Bayer encoding.

    Of 16-bit channels the upper 8 bits are kept.

    Args:
        message: `sensor_msgs/msg/Image`; rows may be padded.

    Returns:
        (H, W, 3) RGB; may share the message's memory.

    Raises:
        ConversionError: The encoding is unknown, or size, step and data do not fit together.
    """
    height, width = message.height, message.width
    _check_size(width, height)
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ConversionError(
            "encoding",
            f"{_shown(message.encoding)} is not supported; known are {', '.join(_LAYOUTS)}",
        )
    row = width * layout.channels * layout.depth
    if message.step < row:
        raise ConversionError(
            "step",
            f"{message.step} is less than the {row} bytes of a row of {width} pixels "
            f"{message.encoding}",
        )
    if len(message.data) != message.step * height:
        raise ConversionError(
            "data",
            f"has {len(message.data)} bytes, step {message.step} and height {height} "
            f"make {message.step * height}",
        )
    if layout.depth == 2 and message.is_bigendian not in (0, 1):
        raise ConversionError("is_bigendian", f"must be 0 or 1, got {message.is_bigendian}")
    samples = np.frombuffer(message.data, np.uint8).reshape(height, message.step)[:, :row]
    if layout.depth == 2:
        samples = samples[:, (0 if message.is_bigendian else 1) :: 2]
    pixels = np.ascontiguousarray(samples).reshape(height, width, layout.channels)
    if layout.code is None:
        return pixels
    try:
        rgb = cv2.cvtColor(pixels, layout.code)
    except cv2.error as error:
        raise ConversionError(
            "encoding", f"{message.encoding} has no image of width {width} and height {height}"
        ) from error
    return np.asarray(rgb, np.uint8)


def compressed_to_rgb(message: Any) -> Rgb:
    """Decode a JPEG or PNG image.

    Args:
        message: `sensor_msgs/msg/CompressedImage`; the data tells its kind, `format` is not used.

    Returns:
        (H, W, 3) RGB.

    Raises:
        ConversionError: The data is neither JPEG nor PNG, is cut off, too large or damaged.
    """
    data = bytes(message.data)
    if data.startswith(b"\xff\xd8"):
        width, height = _jpeg_size(data)
        # Some cameras pad their buffers with zeros.
        complete = data.rstrip(b"\0").endswith(b"\xff\xd9")
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = _png_size(data)
        complete = data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
    else:
        raise ConversionError(
            "data",
            f"of format {_shown(message.format)} is neither JPEG nor PNG: "
            f"it starts with {data[:8].hex(' ') or 'nothing'}",
        )
    _check_size(width, height)
    if not complete:
        raise ConversionError("data", f"is cut off: {len(data)} bytes have no end mark")
    # The camera's calibration holds for the pixels as stored, whatever the file says of turning.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ConversionError("data", f"of {len(data)} bytes is damaged: {error.err}") from error
    if decoded is None:
        raise ConversionError("data", f"of {len(data)} bytes is damaged: it cannot be decoded")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _check_size(width: int, height: int) -> None:
    for name, value in (("width", width), ("height", height)):
        if value == 0:
            raise ConversionError(name, "is 0")
    if width * height > MAX_PIXELS:
        raise ConversionError(
            "width", f"{width} and height {height} make more than {MAX_PIXELS} pixels"
        )


def _shown(text: str) -> str:
    """A field's text for a line of a log, however long it is."""
    return repr(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from the frame header of a JPEG file."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        # Markers without a length, over which decoders go differently: what follows could hide the
        # frame header from us and show it to them. No camera sends any here.
        if marker <= 0x01 or 0xD0 <= marker <= 0xD9:
            raise ConversionError(
                "data",
                f"of {len(data)} bytes is no JPEG: marker {marker:#04x} before its frame header",
            )
        # Start of frame, in all its kinds; C4, C8 and CC lie between them and are not.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    raise ConversionError("data", f"of {len(data)} bytes is no JPEG: it has no frame header")


def _png_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG file."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ConversionError("data", f"of {len(data)} bytes is no PNG: it has no header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


_DISTORTION_TERMS = {"": 0, "plumb_bob": 5, "rational_polynomial": 8}


def calibration_from_info(info: Any) -> Calibration:
    """Read how images that come with this message are rectified.

    A region of interest and binning are applied to K and P. Without a P (all zeros) the
    rectified image keeps K, without an R (all zeros) it keeps the orientation.

    Args:
        info: `sensor_msgs/msg/CameraInfo` (REP 104).

    Raises:
        ConversionError: The camera is not calibrated, or a field makes no sense.
    """
    k, p, r = (tuple(map(float, values)) for values in (info.k, info.p, info.r))
    for name, values in (("k", k), ("p", p), ("r", r), ("d", tuple(map(float, info.d)))):
        for index, value in enumerate(values):
            if not math.isfinite(value):
                raise ConversionError(name, f"has a value that is not finite: {value} at {index}")
    if not any(p):
        p = (*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0)
    for name, focal in (("k[0]", k[0]), ("k[4]", k[4]), ("p[0]", p[0]), ("p[5]", p[5])):
        if focal <= 0:
            raise ConversionError(f"focal length {name}", f"must be positive, got {focal}")
    roi = info.roi
    width, height = (roi.width or info.width), (roi.height or info.height)
    if roi.x_offset + width > info.width or roi.y_offset + height > info.height:
        raise ConversionError(
            "roi",
            f"of {width}x{height} at ({roi.x_offset}, {roi.y_offset}) leaves the image of "
            f"{info.width}x{info.height}",
        )
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    if width < across or height < down:
        raise ConversionError(
            "binning_x", f"{across} and binning_y {down} leave nothing of {width}x{height}"
        )
    left, top = roi.x_offset, roi.y_offset
    raw: Matrix3 = (
        k[0] / across,
        k[1] / across,
        (k[2] - left) / across,
        0.0,
        k[4] / down,
        (k[5] - top) / down,
        0.0,
        0.0,
        1.0,
    )
    camera = Camera(
        width // across,
        height // down,
        fx=p[0] / across,
        fy=p[5] / down,
        cx=(p[2] - left) / across,
        cy=(p[6] - top) / down,
    )
    return Calibration(camera, raw, _distortion(info), _rotation(r))


def _distortion(info: Any) -> tuple[float, ...]:
    terms = tuple(map(float, info.d))
    wanted = _DISTORTION_TERMS.get(info.distortion_model)
    if wanted is None:
        raise ConversionError(
            "distortion_model",
            f"{_shown(info.distortion_model)} is not supported; "
            "known are plumb_bob and rational_polynomial",
        )
    if len(terms) not in (0, wanted):
        raise ConversionError(
            "d",
            f"must have {wanted} terms for distortion_model {info.distortion_model!r}, "
            f"got {len(terms)}",
        )
    return terms


def _rotation(r: tuple[float, ...]) -> Matrix3:
    if not any(r):
        return IDENTITY
    matrix = np.reshape(r, (3, 3))
    if not np.allclose(matrix @ matrix.T, np.eye(3), rtol=0, atol=1e-3):
        raise ConversionError("r", f"is no rotation: {r}")
    return (r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8])


def named_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images are rectified, as `/camera/image_rect` does."""
    return "rect" in topic.removesuffix("/compressed").rpartition("/")[2]
