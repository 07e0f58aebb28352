"""Pure functions from arrays to ROS messages."""

import array
import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depthformer_core.camera import IDENTITY, Camera
from depthformer_core.data.camera_messages import ConversionError, Rgb

Depth = npt.NDArray[np.float32]


def mark_range(depth: Depth, *, min_depth: float, max_depth: float) -> Depth:
    """Mark what is no depth as REP 117 wants it.

    Args:
        depth: (H, W), metres; anything not finite or not positive is no estimate.
        min_depth: Nearest depth that counts, metres.
        max_depth: Farthest depth that counts, metres.

    Returns:
        (H, W), metres; quiet NaN where there is no estimate, -Inf below `min_depth`, +Inf beyond
        `max_depth`.
    """
    known = (depth > 0) & (depth < np.inf)
    marked = np.where(known, depth, np.float32(np.nan))
    # Comparisons with NaN are false.
    np.putmask(marked, marked < min_depth, -np.inf)
    np.putmask(marked, marked > max_depth, np.inf)
    return marked.astype(np.float32, copy=False)


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
        millimetres = np.rint(depth * np.float32(1000.0))
        # Comparisons with NaN are false.
        fits = (millimetres >= 0) & (millimetres <= np.iinfo(np.uint16).max)
        millimetres = np.where(fits, millimetres, 0)
        return _image(millimetres.astype(np.uint16), header, encoding)
    raise ConversionError("encoding", f"of depth must be 32FC1 or 16UC1, got {encoding!r}")


def rgb_to_image(rgb: Rgb, header: Header) -> Image:
    """Write a colour image (H, W, 3)."""
    return _image(rgb, header, "rgb8")


def _image(pixels: npt.NDArray[Any], header: Header, encoding: str) -> Image:
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.strides[0] if pixels.flags.c_contiguous else pixels[0].nbytes
    message.is_bigendian = int(sys.byteorder == "big")
    # Into the array that is there: one that is given would be copied, or looked at byte by byte.
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


def points_to_cloud(
    points: Depth, rgb: Rgb, header: Header, *, last: PointCloud2 | None = None
) -> PointCloud2:
    """Write an organised cloud: row and column of a point are those of its pixel.

    Args:
        points: (H, W, 3), metres in the optical frame; NaN where there is none.
        rgb: (H, W, 3), the colours.
        header: Header of the image the points come from.
        last: A cloud that nobody needs any more; one of the same size is filled anew and returned,
            since new memory of that size takes longer to get than to fill.

    Raises:
        ConversionError: Points and colours are not of one size.
    """
    if points.shape != rgb.shape or points.ndim != 3 or points.shape[2] != 3:
        raise ConversionError("points", f"have shape {points.shape}, their colours {rgb.shape}")
    height, width = points.shape[:2]
    # By convention the colour is the bits 0x00RRGGBB, called a float32.
    colours = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    colours = colours.astype(np.uint32, copy=False).view(np.float32)
    message, size = last, 16 * height * width
    if message is None or len(message.data) != size:
        message = PointCloud2(data=array.array("B", bytes(size)))
    message.header, message.height, message.width = header, height, width
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    message.is_bigendian = sys.byteorder == "big"
    message.point_step = 16
    message.row_step = message.point_step * width
    message.is_dense = False
    # Filled where it is: to be given data, a message copies them. OpenCV interleaves ten times as
    # fast as an assignment to some of the columns.
    values = np.frombuffer(message.data, np.float32).reshape(height, width, 4)
    cv2.mixChannels([points, colours], [values], [0, 0, 1, 1, 2, 2, 3, 3])
    return message
