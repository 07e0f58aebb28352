"""Depth images (REP 118) of messages, raw and compressed."""

import struct
from typing import Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.bags.compressed_messages import (
    JPEG_START,
    PNG_START,
    open_picture,
    original_encoding,
)
from depthformer_core.bags.conversion import ConversionError, shown
from depthformer_core.bags.image_messages import (
    Layout,
    check_size,
    read_samples,
)
from depthformer_core.bags.message_types import CompressedImageMessage, ImageMessage
from depthformer_core.bags.rvl import RvlError, decode_rvl, encode_rvl
from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatArray

DepthEncoding = Literal["32FC1", "16UC1"]

DepthCompression = Literal["png", "rvl"]

DEPTH_ENCODINGS: tuple[DepthEncoding, ...] = ("32FC1", "16UC1")
"""Encodings of depth images: metres, and millimetres."""

DEPTH_COMPRESSIONS: tuple[DepthCompression, ...] = ("png", "rvl")
"""Codes of compressed depth images."""

_LAYOUTS = {"32FC1": Layout(1, "f4"), "16UC1": Layout(1, "u2")}
_MILLIMETRES = np.float32(1000)
_QUANTIZATION = struct.Struct("<iff")  # of compressed_depth_image_transport, before its data
_INVERSE = 0  # the transport's number of its only kind of quantization
_RVL_SIZE = struct.Struct("<II")
# The transport's default: the depth, metres, at which neighbouring steps are a metre apart.
_ONE_METRE = 100.0
_FEWEST, _MOST = 1, 65535
_PNG_LEVEL = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def image_to_depth(message: ImageMessage) -> FloatArray:
    """Read a depth image.

    Args:
        message: `sensor_msgs/msg/Image`: `32FC1` in metres or `16UC1` in millimetres; rows may be
            padded.

    Returns:
        (H, W), metres. `32FC1` as it is, and may share the message's memory; NaN where `16UC1` is
        0.

    Raises:
        ConversionError: The encoding is another one, or size, step and data do not fit together.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise ConversionError(
            "encoding", f"of a depth image must be {_known()}, got {shown(message.encoding)}"
        )
    samples = read_samples(message, layout)
    if message.encoding == "16UC1":
        return _from_millimetres(samples)
    return np.ascontiguousarray(samples, np.float32)


def compressed_to_depth(message: CompressedImageMessage) -> FloatArray:
    """Decode a depth image of compressed_depth_image_transport, or a PNG file of millimetres.

    Args:
        message: `sensor_msgs/msg/CompressedImage`, of a format such as `16UC1; compressedDepth
            png`, `32FC1; compressedDepth rvl` or `16UC1; png compressed `. A format `png` does
            not describe the content and is taken for the last.

    Returns:
        (H, W), metres, NaN where there is no value.

    Raises:
        ConversionError: The format or the data is of something else, or the data is cut off, too
            large or damaged.
    """
    encoding = depth_encoding(message)
    if encoding is None and original_encoding(message.format) != "png":
        raise ConversionError(
            "format", f"of a depth image must begin with {_known()}, got {shown(message.format)}"
        )
    data = bytes(message.data)
    if data.startswith((PNG_START, JPEG_START)):
        if encoding == "32FC1":
            raise ConversionError(
                "format", f"{shown(message.format)} makes no sense: such files hold no metres"
            )
        return _from_millimetres(_steps_of_picture(data, message.format))
    if encoding is None or len(data) <= _QUANTIZATION.size:
        raise ConversionError(
            "data", f"of format {shown(message.format)} and {len(data)} bytes holds no depth"
        )
    _, scale, offset = _QUANTIZATION.unpack_from(data)
    coded = data[_QUANTIZATION.size :]
    # Without a name it is PNG, the older of the two.
    if "rvl" in message.format.partition(";")[2].lower():
        steps = _steps_of_rvl(coded)
    else:
        steps = _steps_of_picture(coded, message.format)
    if encoding == "16UC1":
        return _from_millimetres(steps)
    return _from_inverse(steps, scale=scale, offset=offset)


def compress_depth(
    depth: FloatArray,
    *,
    encoding: DepthEncoding,
    compression: DepthCompression,
    max_depth: float,
) -> tuple[str, bytes]:
    """Compress a depth image as compressed_depth_image_transport does.

    `16UC1` keeps millimetres, see `to_millimetres`. `32FC1` keeps inverse depth in steps: a
    decoded depth of d metres is off by up to d * d / 20,000 m (5 mm at 10 m, 32 cm at 80 m); what
    is nearer than 0.16 m may become 0.15 m.

    Args:
        depth: (H, W), metres; what is not finite or not positive has no value for the receiver.
        encoding: Of the image.
        compression: `png`, or `rvl`, which is faster; subscribers of ROS 2 Humble and Iron know
            `png` alone.
        max_depth: Largest depth, metres; of `32FC1`, what is beyond has no value.

    Returns:
        Format and data of a `sensor_msgs/CompressedImage`.

    Raises:
        DepthFormerError: The maximum depth is not positive.
    """
    if not max_depth > 0:
        raise DepthFormerError(f"the maximum depth must be positive, got {max_depth}")
    scale = offset = 0.0
    if encoding == "16UC1":
        steps = to_millimetres(depth)
    else:
        scale = _ONE_METRE * (_ONE_METRE + 1)
        offset = 1 - scale / max_depth
        steps = _to_inverse(depth, scale=scale, offset=offset, max_depth=max_depth)
    if compression == "rvl":
        height, width = steps.shape
        coded = _RVL_SIZE.pack(width, height) + encode_rvl(steps)
    else:
        coded = cv2.imencode(".png", steps, _PNG_LEVEL)[1].tobytes()
    data = _QUANTIZATION.pack(_INVERSE, scale, offset) + coded
    return f"{encoding}; compressedDepth {compression}", data


def to_millimetres(depth: FloatArray) -> npt.NDArray[np.uint16]:
    """Convert depth (H, W), metres, as for `16UC1`: 0 for NaN, infinity and above 65.535 m."""
    with np.errstate(over="ignore"):  # infinity, which is too large
        millimetres = np.rint(depth * _MILLIMETRES)
    # Comparisons with NaN are false.
    fits = (millimetres >= 0) & (millimetres <= np.iinfo(np.uint16).max)
    return np.where(fits, millimetres, 0).astype(np.uint16)


def depth_truth(message: ImageMessage | CompressedImageMessage) -> FloatArray:
    """Read a depth image (REP 118) as truth.

    Args:
        message: `sensor_msgs/msg/Image`, as for `image_to_depth`, or
            `sensor_msgs/msg/CompressedImage`, as for `compressed_to_depth`.

    Returns:
        (H, W), metres, 0 where there is no truth; infinity where all that is known is that it is
        far (REP 117).

    Raises:
        ConversionError: The message holds no depth, or is cut off, too large or damaged.
    """
    if hasattr(message, "format"):
        depth = compressed_to_depth(cast(CompressedImageMessage, message))
    else:
        depth = image_to_depth(message)
    # Comparisons with NaN are false.
    return np.where(depth > 0, depth, np.float32(0))


def depth_encoding(message: CompressedImageMessage) -> DepthEncoding | None:
    """Return the depth encoding that a compressed image's format names, or none.

    Args:
        message: `sensor_msgs/msg/CompressedImage`.
    """
    wanted = original_encoding(message.format)
    return next((name for name in DEPTH_ENCODINGS if name.lower() == wanted), None)


def _known() -> str:
    return " or ".join(DEPTH_ENCODINGS)


def _steps_of_picture(data: bytes, message_format: str) -> npt.NDArray[np.uint16]:
    """Decode the 16-bit pixels (H, W) of a file."""
    pixels = open_picture(data, message_format=message_format).decode(cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype != np.uint16:
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        raise ConversionError(
            "data",
            f"of format {shown(message_format)} must have one channel of 16 bits to be depth, "
            f"got {channels} of {8 * pixels.itemsize}",
        )
    return np.asarray(pixels, np.uint16)


def _steps_of_rvl(data: bytes) -> npt.NDArray[np.uint16]:
    """Decode the pixels (H, W) of RVL data that starts with their size."""
    if len(data) < 8:
        raise ConversionError("data", f"of RVL is cut off: {len(data)} bytes hold no size")
    width, height = _RVL_SIZE.unpack_from(data)
    check_size(width, height)
    try:
        return decode_rvl(data[8:], width=width, height=height)
    except RvlError as error:
        raise ConversionError("data", f"of RVL is cut off or damaged: {error}") from error


def _from_millimetres(steps: npt.NDArray[np.unsignedinteger]) -> FloatArray:
    depth = steps.astype(np.float32) / _MILLIMETRES
    depth[steps == 0] = np.nan
    return depth


def _to_inverse(
    depth: FloatArray, *, scale: float, offset: float, max_depth: float
) -> npt.NDArray[np.uint16]:
    """Convert depth, metres, to quantized inverse depth: 0 for no value."""
    known = (depth > 0) & (depth <= max_depth)
    depth = np.where(known, depth, np.float32(1))
    with np.errstate(over="ignore"):  # what is nearer than any camera sees is nearest
        # Rounded, where the transport itself cuts off, which makes all a little farther.
        steps = np.rint(np.float32(scale) / depth + np.float32(offset))
    return np.where(known, np.clip(steps, _FEWEST, _MOST), 0).astype(np.uint16)


def _from_inverse(steps: npt.NDArray[np.uint16], *, scale: float, offset: float) -> FloatArray:
    """Convert quantized inverse depth to depth, metres."""
    if not (np.isfinite(scale) and scale > 0 and np.isfinite(offset)):
        raise ConversionError("data", f"has a quantization of no meaning: {scale}, {offset}")
    with np.errstate(divide="ignore", over="ignore"):  # a step of no inverse is infinitely far
        depth = np.float32(scale) / (steps.astype(np.float32) - np.float32(offset))
    depth[steps == 0] = np.nan
    return depth
