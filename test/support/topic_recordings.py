"""Messages and bags for tests of `find_topics`."""

import numpy as np

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    header,
    image_message,
    scan_message,
)
from depthformer_core.bags.topics import find_topics
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(4, 2, 3.0, 3.0, 2.0, 1.0)


def image():
    return image_message(np.zeros((2, 4, 3), np.uint8), stamp=1, frame_id="eye")


def compressed(text="jpeg"):
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header(stamp=1, frame_id="eye"), text, np.zeros(8, np.uint8)
    )


def depth(encoding="32FC1"):
    message = depth_message(np.zeros((2, 4), np.float32), stamp=1, frame_id="eye")
    message.encoding = encoding
    return message


def info():
    return camera_info_message(CAMERA, stamp=1, frame_id="eye")


def cloud():
    return scan_message(np.zeros((5, 4), np.float32), stamp=1, frame_id="laser")


def find(tmp_path, messages, **options):
    """Topics of a bag with these messages; a list stands for as many."""
    with BagWriter(tmp_path / "bag") as writer:
        for topic, item in messages.items():
            for message in item if isinstance(item, list) else [item]:
                writer.write(topic, message, stamp=1)
    with BagReader(tmp_path / "bag") as reader:
        return find_topics(reader, **options)
