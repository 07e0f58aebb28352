"""Compressed images, `sensor_msgs/CompressedImage`, checked and turned into pictures.

As with raw images, the fields of a message alone are read.
"""

import re
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.bags.conversion import ConversionError, shown
from depthformer_core.bags.image_messages import check_size, is_bayer, mosaic_to_rgb, upper_bits
from depthformer_core.bags.message_types import CompressedImageMessage
from depthformer_core.types import Rgb

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"

# Quality of JPEG, compressed_image_transport's default.
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95)
# Channels of a PNG file by its type of colour; a palette is of colours.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
# Pixels hold 0xFF only before 0x00 and before the marks of restarts.
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START_OF_IMAGE, _END_OF_IMAGE = 0xD8, 0xD9


@dataclass(frozen=True)
class Picture:
    """A JPEG or PNG file of a size that is accepted, and that is not cut off.

    Attributes:
        data: Its bytes, and those behind its end.
        channels: Channels of its pixels, as stored.
    """

    data: bytes
    channels: int

    def decode(self, flags: int) -> npt.NDArray[Any]:
        """Decode the pixels as stored, without EXIF rotation: calibrations hold for these.

        Args:
            flags: OpenCV's flags of reading.

        Raises:
            ConversionError: The data is damaged.
        """
        size = len(self.data)
        try:
            pixels = cv2.imdecode(
                np.frombuffer(self.data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION
            )
        except cv2.error as error:
            raise ConversionError("data", f"of {size} bytes is damaged: {error.err}") from error
        if pixels is None:
            raise ConversionError("data", f"of {size} bytes is damaged: it cannot be decoded")
        return pixels


def compressed_to_rgb(message: CompressedImageMessage) -> Rgb:
    """Decode a JPEG or PNG image.

    The data's first bytes define its kind. `format` defines, as for ROS's own subscriber, whether
    a grey picture is a Bayer mosaic and whether red and blue are swapped. Of 16-bit channels
    the upper 8 bits are kept.

    Args:
        message: `sensor_msgs/msg/CompressedImage`.

    Returns:
        (H, W, 3) RGB.

    Raises:
        ConversionError: The data is neither JPEG nor PNG, is cut off, too large or damaged.
    """
    picture = open_picture(bytes(message.data), message_format=message.format)
    encoding, target = original_encoding(message.format), _target(message.format)
    # Newer publishers of JPEG convert a mosaic to grey first, and name that:
    # "bayer_rggb8; jpeg compressed mono8".
    if picture.channels == 1 and is_bayer(encoding) and not target.startswith("mono"):
        mosaic = picture.decode(cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        return mosaic_to_rgb(upper_bits(mosaic), encoding)
    pixels = np.asarray(picture.decode(cv2.IMREAD_COLOR), np.uint8)
    # The order is that of the encoder's input, which OpenCV takes for BGR.
    if encoding.startswith(("rgb", "bgr")) and target.startswith("rgb"):
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def compress_rgb(rgb: Rgb) -> tuple[str, bytes]:
    """Compress an image (H, W, 3) to JPEG, as compressed_image_transport does with `rgb8`.

    Returns:
        Format and data of a `sensor_msgs/CompressedImage`.
    """
    # Named after the order of OpenCV's input, as the transport does.
    data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _QUALITY)[1]
    return "rgb8; jpeg compressed bgr8", data.tobytes()


def open_picture(data: bytes, *, message_format: str) -> Picture:
    """Check a JPEG or PNG file before it is decoded; bytes behind its end are of no account.

    Args:
        data: The file.
        message_format: The message's format, for the error.

    Raises:
        ConversionError: The data is neither JPEG nor PNG, is cut off or too large.
    """
    if data.startswith(JPEG_START):
        width, height, channels, position = _jpeg_header(data)
        complete = _jpeg_ends(data, position)
    elif data.startswith(PNG_START):
        width, height, channels = _png_header(data)
        complete = _png_ends(data)
    else:
        raise ConversionError(
            "data",
            f"of format {shown(message_format)} is neither JPEG nor PNG: "
            f"it starts with {data[:8].hex(' ') or 'nothing'}",
        )
    check_size(width, height)
    if not complete:
        raise ConversionError("data", f"is cut off or damaged: {len(data)} bytes have no end mark")
    return Picture(data, channels)


def original_encoding(message_format: str) -> str:
    """Return the original encoding, in lower case: `bgr8` of `bgr8; jpeg compressed bgr8`.

    Where the format names the file alone, as `jpeg` does, this is that name.
    """
    return message_format.partition(";")[0].strip().lower()


def _target(message_format: str) -> str:
    """Return the encoding that was compressed, in lower case; empty if the format has none."""
    return message_format.partition(";")[2].lower().partition("compressed")[2].strip()


def _jpeg_header(data: bytes) -> tuple[int, int, int, int]:
    """Return width, height, channels and the position behind the frame header."""
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        # Markers without a length, over which decoders go differently: what follows could hide the
        # frame header from us and show it to them. No camera sends any here.
        if marker <= 0x01 or 0xD0 <= marker <= _END_OF_IMAGE:
            raise ConversionError(
                "data",
                f"of {len(data)} bytes is no JPEG: marker {marker:#04x} before its frame header",
            )
        (length,) = struct.unpack_from(">H", data, position + 2)
        # Start of frame, in all its kinds; C4, C8 and CC lie between them and are not.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack_from(">HHB", data, position + 5)
            return width, height, channels, position + 2 + length
        position += 2 + length
    raise ConversionError("data", f"of {len(data)} bytes is no JPEG: it has no frame header")


def _jpeg_ends(data: bytes, position: int) -> bool:
    """Return whether a JPEG file has its end mark behind its frame header."""
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, position = data[found.start() + 1], found.end()
        if marker == _END_OF_IMAGE:
            return True
        if marker == _START_OF_IMAGE:
            return False  # another picture behind one that is cut off
        # Between the scans of a progressive file lie tables, with bytes that may resemble marks.
        if marker >= 0xC0 and position + 2 <= len(data):
            position += int.from_bytes(data[position : position + 2], "big")
    return False


def _png_header(data: bytes) -> tuple[int, int, int]:
    """Return width, height and channels of a PNG file."""
    if len(data) < 26 or data[12:16] != b"IHDR":
        raise ConversionError("data", f"of {len(data)} bytes is no PNG: it has no header")
    width, height, _, colours = struct.unpack_from(">IIBB", data, 16)
    return width, height, _PNG_CHANNELS.get(colours, 0)


def _png_ends(data: bytes) -> bool:
    """Return whether a PNG file has its last chunk."""
    position = len(PNG_START)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return True
        position += 12 + length
    return False
