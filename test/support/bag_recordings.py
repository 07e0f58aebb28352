"""Messages and bags for tests of `BagFrames`."""

import numpy as np

from depthformer_core.bags import TYPESTORE, BagWriter
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    header,
    image_message,
    scan_message,
    transforms_message,
)
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(16, 8, 20.0, 20.0, 7.5, 3.5)


START = 1_700_000_000_000_000_000


MS = 1_000_000


# Takes points of the laser (x forward, y left, z up) to the camera that it stands on.
LASER_TO_EYE = np.array([[0, -1.0, 0, 0], [0, 0, -1.0, 0.1], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)


def image(ms, *, rgb=None, frame_id="eye"):
    rgb = picture() if rgb is None else rgb
    return image_message(rgb, stamp=START + ms * MS, frame_id=frame_id)


def compressed(ms, data):
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header(stamp=START + ms * MS, frame_id="eye"), "jpeg", np.frombuffer(data, np.uint8)
    )


def info(ms, *, camera=CAMERA, **fields):
    message = camera_info_message(camera, stamp=START + ms * MS, frame_id="eye")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def depth(ms, values, *, encoding="32FC1"):
    values = np.asarray(values, np.float32)
    message = depth_message(values, stamp=START + ms * MS, frame_id="eye")
    if encoding == "16UC1":
        message.encoding, message.step = encoding, 2 * values.shape[1]
        message.data = values.astype("<u2").view(np.uint8).reshape(-1)
    return message


def cloud(ms, *, distance=5.0, frame_id="laser"):
    """A wall across the camera's view."""
    across, up = np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-1, 1, 20))
    points = np.stack((np.full_like(up, distance), across, up, up), -1).reshape(-1, 4)
    return scan_message(points.astype(np.float32), stamp=START + ms * MS, frame_id=frame_id)


def transforms(*, parent="laser", child="eye"):
    matrix = np.linalg.inv(LASER_TO_EYE)
    return transforms_message([(parent, child, matrix)], stamp=START)


def bag_of(path, events, *, storage="mcap"):
    """Bag of (topic, message) or (topic, message, ms of recording)."""
    with BagWriter(path, storage=storage) as writer:
        for topic, message, *recorded in events:
            stamp = message.header.stamp if hasattr(message, "header") else None
            time = START if stamp is None else stamp.sec * 10**9 + stamp.nanosec
            time = START + recorded[0] * MS if recorded else time
            writer.write(topic, message, stamp=time, latched="tf_static" in topic)
    return path
