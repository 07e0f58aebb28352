"""Pure functions between ROS messages and arrays."""

import array
import math
import struct
import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depthformer_core.camera import IDENTITY, Calibration, Camera, Matrix3

Rgb = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.float32]

MAX_PIXELS = 64 * 2**20
"""Largest image that is accepted: more is a damaged message or a decompression bomb."""


class ConversionError(ValueError):
    """A message that cannot be used; the text names the field and its value."""


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


def image_to_rgb(message: Image) -> Rgb:
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
            f"encoding {message.encoding!r} is not supported; known are {', '.join(_LAYOUTS)}"
        )
    row = width * layout.channels * layout.depth
    if message.step < row:
        raise ConversionError(
            f"step {message.step} is less than the {row} bytes of a row of {width} pixels "
            f"{message.encoding}"
        )
    if len(message.data) != message.step * height:
        raise ConversionError(
            f"data has {len(message.data)} bytes, step {message.step} and height {height} "
            f"make {message.step * height}"
        )
    if layout.depth == 2 and message.is_bigendian not in (0, 1):
        raise ConversionError(f"is_bigendian must be 0 or 1, got {message.is_bigendian}")
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
            f"encoding {message.encoding} has no image of width {width} and height {height}"
        ) from error
    return np.asarray(rgb, np.uint8)


def compressed_to_rgb(message: CompressedImage) -> Rgb:
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
            f"data of format {message.format!r} is neither JPEG nor PNG: "
            f"it starts with {data[:8].hex(' ') or 'nothing'}"
        )
    _check_size(width, height)
    if not complete:
        raise ConversionError(f"data is cut off: {len(data)} bytes have no end mark")
    # The camera's calibration holds for the pixels as stored, whatever the file says of turning.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ConversionError(f"data of {len(data)} bytes is damaged: {error.err}") from error
    if decoded is None:
        raise ConversionError(f"data of {len(data)} bytes is damaged: it cannot be decoded")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _check_size(width: int, height: int) -> None:
    for name, value in (("width", width), ("height", height)):
        if value == 0:
            raise ConversionError(f"{name} is 0")
    if width * height > MAX_PIXELS:
        raise ConversionError(f"width {width} and height {height} make more than {MAX_PIXELS}")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from the frame header of a JPEG file."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        # Start of frame, in all its kinds; C4, C8 and CC lie between them and are not.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    raise ConversionError(f"data of {len(data)} bytes is no JPEG: it has no frame header")


def _png_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG file."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise ConversionError(f"data of {len(data)} bytes is no PNG: it has no header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


_DISTORTION_TERMS = {"": 0, "plumb_bob": 5, "rational_polynomial": 8}


def calibration_from_info(info: CameraInfo) -> Calibration:
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
        if not all(map(math.isfinite, values)):
            raise ConversionError(f"{name} has a value that is not finite: {values}")
    if not any(p):
        p = (*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0)
    for name, focal in (("k[0]", k[0]), ("k[4]", k[4]), ("p[0]", p[0]), ("p[5]", p[5])):
        if focal <= 0:
            raise ConversionError(f"focal length {name} must be positive, got {focal}")
    roi = info.roi
    width, height = (roi.width or info.width), (roi.height or info.height)
    if roi.x_offset + width > info.width or roi.y_offset + height > info.height:
        raise ConversionError(
            f"roi of {width}x{height} at ({roi.x_offset}, {roi.y_offset}) leaves the image of "
            f"{info.width}x{info.height}"
        )
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    if width < across or height < down:
        raise ConversionError(
            f"nothing is left of {width}x{height} with binning_x {across} and binning_y {down}"
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


def _distortion(info: CameraInfo) -> tuple[float, ...]:
    terms = tuple(map(float, info.d))
    wanted = _DISTORTION_TERMS.get(info.distortion_model)
    if wanted is None:
        raise ConversionError(
            f"distortion_model {info.distortion_model!r} is not supported; "
            "known are plumb_bob and rational_polynomial"
        )
    if len(terms) not in (0, wanted):
        raise ConversionError(
            f"d must have {wanted} terms for distortion_model {info.distortion_model!r}, "
            f"got {len(terms)}: {terms}"
        )
    return terms


def _rotation(r: tuple[float, ...]) -> Matrix3:
    if not any(r):
        return IDENTITY
    matrix = np.reshape(r, (3, 3))
    if not np.allclose(matrix @ matrix.T, np.eye(3), rtol=0, atol=1e-3):
        raise ConversionError(f"r is no rotation: {r}")
    return (r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8])


def mark_range(depth: Depth, *, max_depth: float) -> Depth:
    """Mark what is no depth as REP 117 wants it.

    Args:
        depth: (H, W), metres; anything not finite or not positive is no estimate.
        max_depth: Farthest depth that counts, metres.

    Returns:
        (H, W), metres; quiet NaN where there is no estimate, +Inf beyond `max_depth`.
    """
    known = np.isfinite(depth) & (depth > 0)
    marked = np.where(known, depth, np.float32(np.nan))
    marked[known & (depth > max_depth)] = np.inf
    return marked.astype(np.float32, copy=False)


def depth_to_image(depth: Depth, header: Header, *, encoding: str) -> Image:
    """Write a depth image (REP 118).

    Args:
        depth: (H, W), metres, as from `mark_range`.
        header: Header of the image the depth belongs to.
        encoding: `32FC1` for metres, `16UC1` for millimetres: 0 for NaN, infinity and above
            65.535 m.

    Raises:
        ConversionError: The encoding is another one.
    """
    if encoding == "32FC1":
        return _image(depth.astype(np.float32, copy=False), header, encoding)
    if encoding == "16UC1":
        millimetres = np.rint(depth * np.float32(1000.0))
        # Comparisons with NaN are false.
        millimetres = np.where(millimetres <= np.iinfo(np.uint16).max, millimetres, 0)
        return _image(millimetres.astype(np.uint16), header, encoding)
    raise ConversionError(f"depth encoding must be 32FC1 or 16UC1, got {encoding!r}")


def rgb_to_image(rgb: Rgb, header: Header) -> Image:
    """Write a colour image (H, W, 3)."""
    return _image(rgb, header, "rgb8")


def _image(pixels: npt.NDArray[Any], header: Header, encoding: str) -> Image:
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.strides[0] if pixels.flags.c_contiguous else pixels[0].nbytes
    message.is_bigendian = int(sys.byteorder == "big")
    message.data = _bytes(pixels)
    return message


def _bytes(values: npt.NDArray[Any]) -> "array.array[int]":
    """Copy to what a `uint8[]` field takes without looking at every element."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return data


def camera_info_of(camera: Camera, header: Header) -> CameraInfo:
    """Describe a rectified image of `camera`: its own size, no distortion, no offset."""
    info = CameraInfo(header=header, width=camera.width, height=camera.height)
    info.distortion_model = "plumb_bob"
    info.d = [0.0] * 5
    info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    info.r = list(IDENTITY)
    info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def points_to_cloud(points: Depth, rgb: Rgb, header: Header) -> PointCloud2:
    """Write an organised cloud: row and column of a point are those of its pixel.

    Args:
        points: (H, W, 3), metres in the optical frame; NaN where there is none.
        rgb: (H, W, 3), the colours.
        header: Header of the image the points come from.

    Raises:
        ConversionError: Points and colours are not of one size.
    """
    if points.shape != rgb.shape or points.ndim != 3 or points.shape[2] != 3:
        raise ConversionError(f"points have shape {points.shape}, their colours {rgb.shape}")
    height, width = points.shape[:2]
    values = np.empty((height, width, 4), np.float32)
    values[..., :3] = points
    # By convention the colour is the bits 0x00RRGGBB, called a float32.
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    values.view(np.uint32)[..., 3] = red << 16 | green << 8 | blue
    message = PointCloud2(header=header, height=height, width=width, is_dense=False)
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    message.is_bigendian = sys.byteorder == "big"
    message.point_step = values.itemsize * 4
    message.row_step = message.point_step * width
    message.data = _bytes(values)
    return message
