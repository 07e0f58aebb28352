"""Pictures and headers of camera messages."""

from typing import Any

import cv2
import numpy as np

from depthformer_core.bags import TYPESTORE
from depthformer_core.bags.messages import header

BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


HEADER = header(stamp=7, frame_id="eye")


def image_of(
    data: bytes, encoding: str, *, width: int, height: int, step: int, bigendian: int = 0
) -> Any:
    """Image message as bags hold it: read-only, its bytes a part of the bag's."""
    return TYPESTORE.types["sensor_msgs/msg/Image"](
        header=HEADER,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
        step=step,
        data=np.frombuffer(data, np.uint8),
    )


def picture(height: int = 8, width: int = 10) -> Any:
    """Smooth colours, so that demosaicing and chroma subsampling lose little."""
    down, across = np.mgrid[0:height, 0:width]
    across, down = across / width, down / height
    channels = (40 + 100 * across, 200 - 60 * down, 60 + 50 * across + 50 * down)
    return np.stack(channels, axis=-1).astype(np.uint8)


def studio_yuv(rgb: Any) -> Any:
    """Luma and both chromas, BT.601 with the studio range that video encodings use."""
    r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return (np.clip(plane.round(), 0, 255).astype(np.uint8) for plane in (y, u, v))


def encode(rgb: Any, encoding: str) -> Any:
    """Samples (H, bytes of a row) of a picture in an encoding of 8 bits a channel."""
    height = rgb.shape[0]
    if encoding in ("mono8", "8UC1"):
        samples = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    elif encoding.startswith("bayer"):
        letters = BAYER[encoding[6:10]]
        samples = np.empty(rgb.shape[:2], np.uint8)
        for place, letter in enumerate(letters):
            down, across = divmod(place, 2)
            samples[down::2, across::2] = rgb[down::2, across::2, "RGB".index(letter)]
    elif encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        luma, u, v = studio_yuv(rgb)
        chroma = np.stack((u[:, 0::2], v[:, 0::2]), axis=-1).reshape(luma.shape)
        order = (chroma, luma) if encoding in ("yuv422", "uyvy") else (luma, chroma)
        samples = np.stack(order, axis=-1)
    else:
        orders = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA"}
        order = {"8UC3": "BGR", "8UC4": "BGRA"}.get(encoding) or orders[encoding]
        whole = np.concatenate((rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)), axis=-1)
        samples = whole[..., ["RGBA".index(letter) for letter in order]]
    return np.ascontiguousarray(samples).reshape(height, -1)


def message(
    samples: Any, encoding: str, *, width: int, padding: int = 0, bigendian: int = 0
) -> Any:
    rows = samples.view(np.uint8).reshape(samples.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    height, step = rows.shape
    return image_of(
        rows.tobytes(), encoding, width=width, height=height, step=step, bigendian=bigendian
    )


def compressed_message(data: bytes, name: str = "bgr8; jpeg compressed bgr8") -> Any:
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header=HEADER, format=name, data=np.frombuffer(data, np.uint8)
    )
