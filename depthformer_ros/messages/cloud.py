"""Point clouds of depth images."""

import array
import math
import sys
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from depthformer_core.bags.conversion import ConversionError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.cloud import CloudOptions, cloud_depth
from depthformer_core.types import FloatArray, Rgb

# Rows at a time: their results stay in the cache.
_BAND = 64
_EVERY_PIXEL = CloudOptions()


def depth_to_cloud(
    depth: FloatArray,
    rgb: Rgb,
    camera: Camera,
    header: Header,
    options: CloudOptions = _EVERY_PIXEL,
    *,
    max_depth: float = math.inf,
    uncertainty: FloatArray | None = None,
    last: PointCloud2 | None = None,
) -> PointCloud2:
    """Write an organised cloud: row and column of a point are those of its pixel.

    Args:
        depth: (H, W), metres along the optical axis, as for `cloud_depth`.
        rgb: (H, W, 3), the colours.
        camera: Camera of both.
        header: Header of the image the points come from.
        options: Selection of the pixels; the others have NaN for a point.
        max_depth: As of `cloud_depth`.
        uncertainty: As of `cloud_depth`.
        last: A cloud that is no longer needed; one of the same size is filled again and returned,
            since new memory of that size takes longer to get than to fill.

    Raises:
        ConversionError: Depth, colours and camera are not of one size.
        DepthFormerError: The options need another maximum depth or uncertainty.
    """
    if not depth.shape == rgb.shape[:2] == (camera.height, camera.width) or rgb.ndim != 3:
        raise ConversionError(
            "points",
            f"of depth of shape {depth.shape} need colours and a camera of that size, got "
            f"{rgb.shape} and {camera.height, camera.width}",
        )
    stride = options.stride
    depth = cloud_depth(depth, options, max_depth=max_depth, uncertainty=uncertainty)
    kept = slice(None, None, stride), slice(None, None, stride)
    depth, rgb = depth[kept], rgb[kept]
    height, width = depth.shape
    message = _cloud(height, width, header, last=last)
    # Filled in place: a message copies assigned data.
    values = np.frombuffer(message.data, np.float32).reshape(height, width, 4)
    across, down = camera.slopes(stride=stride)
    for top in range(0, height, _BAND):
        rows = slice(top, top + _BAND)
        z = depth[rows]
        # OpenCV interleaves many times as fast as an assignment to some of the columns.
        cv2.merge((z * across, z * down[rows, None], z, _packed(rgb[rows])), values[rows])
    return message


def _packed(rgb: Rgb) -> npt.NDArray[Any]:
    """Pack colours (H, W) by convention: the bits 0x00RRGGBB as float32."""
    colours = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    return colours.astype(np.uint32, copy=False).view(np.float32)


def _cloud(height: int, width: int, header: Header, *, last: PointCloud2 | None) -> PointCloud2:
    """Describe a cloud, in the memory of the last one if it fits."""
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
    return message
