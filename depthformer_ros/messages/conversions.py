"""Pure functions between arrays and ROS messages, and the stamp of a serialized one."""

import struct
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.bags.compressed_messages import compress_rgb
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.depth_messages import (
    DepthCompression,
    DepthEncoding,
    compress_depth,
    to_millimetres,
)
from depthformer_core.bags.errors import ReplayError
from depthformer_core.geometry.camera import IDENTITY, Camera
from depthformer_core.types import Rgb

Depth = npt.NDArray[np.float32]


def mark_range(depth: Depth, *, min_depth: float, max_depth: float) -> Depth:
    """Mark pixels without depth as in REP 117.

    Args:
        depth: (H, W), metres; anything not finite or not positive is no prediction.
        min_depth: Nearest depth that counts, metres.
        max_depth: Farthest depth that counts, metres; finite.

    Returns:
        (H, W), metres; quiet NaN where there is no prediction, -Inf below `min_depth`, +Inf beyond
        `max_depth`. `depth` itself if there is nothing to mark.
    """
    nearest, farthest = depth.min(), depth.max()
    # Comparisons with NaN are false.
    if nearest > 0 and min_depth <= nearest and farthest <= max_depth:
        return depth
    inside = (depth > 0) & (depth >= min_depth) & (depth <= max_depth)
    others = depth[~inside]
    others[~((others > 0) & (others < np.inf))] = np.nan
    others[others < min_depth] = -np.inf
    others[others > max_depth] = np.inf
    marked = depth.copy()
    marked[~inside] = others
    return marked


def depth_to_image(depth: Depth, header: Header, *, encoding: str) -> Image:
    """Write a depth image (REP 118).

    Args:
        depth: (H, W), metres, as from `mark_range`.
        header: Header of the image the depth belongs to.
        encoding: `32FC1` for metres, `16UC1` for millimetres: 0 for NaN, both infinities and
            above 65.535 m.

    Raises:
        ConversionError: The encoding is another one.
    """
    if encoding == "32FC1":
        return _image(depth.astype(np.float32, copy=False), header, encoding)
    if encoding == "16UC1":
        return _image(to_millimetres(depth), header, encoding)
    raise ConversionError("encoding", f"of depth must be 32FC1 or 16UC1, got {encoding!r}")


def rgb_to_image(rgb: Rgb, header: Header) -> Image:
    """Write a colour image (H, W, 3)."""
    return _image(rgb, header, "rgb8")


def depth_to_compressed(
    depth: Depth,
    header: Header,
    *,
    encoding: DepthEncoding,
    compression: DepthCompression,
    max_depth: float,
) -> CompressedImage:
    """Write a depth image as compressed_depth_image_transport does; see `compress_depth`."""
    form, data = compress_depth(
        depth, encoding=encoding, compression=compression, max_depth=max_depth
    )
    return _compressed(form, data, header)


def rgb_to_compressed(rgb: Rgb, header: Header) -> CompressedImage:
    """Write a colour image (H, W, 3) as JPEG."""
    form, data = compress_rgb(rgb)
    return _compressed(form, data, header)


def _compressed(form: str, data: bytes, header: Header) -> CompressedImage:
    message = CompressedImage(header=header, format=form)
    # Not assigned, as in `_image`.
    message.data.frombytes(data)
    return message


def _image(pixels: npt.NDArray[Any], header: Header, encoding: str) -> Image:
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.strides[0] if pixels.flags.c_contiguous else pixels[0].nbytes
    message.is_bigendian = int(sys.byteorder == "big")
    # Into the message's own array: an assigned one would be copied, or checked byte by byte.
    message.data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return message


def camera_info_of(camera: Camera, header: Header) -> CameraInfo:
    """Describe a rectified image of `camera`: its own size, no distortion, no offset."""
    info = CameraInfo(header=header, width=camera.width, height=camera.height)
    info.distortion_model = "plumb_bob"
    info.d = [0.0] * 5
    info.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    info.r = list(IDENTITY)
    info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def cdr_stamp(data: bytes) -> int:
    """Return the stamp of a message in CDR that starts with a header, nanoseconds.

    Args:
        data: The serialized message.

    Raises:
        ReplayError: The data is shorter than a header.
    """
    if len(data) < 12:
        raise ReplayError(f"message of {len(data)} bytes has no header")
    # The second byte of the encapsulation is the byte order.
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)
