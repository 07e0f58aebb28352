"""Disparity of stereo cameras, `stereo_msgs/DisparityImage`, as depth."""

import math

import numpy as np

from depthformer_core.bags.conversion import ConversionError, shown
from depthformer_core.bags.image_messages import Layout, read_samples
from depthformer_core.bags.message_types import DisparityMessage
from depthformer_core.types import FloatArray

_LAYOUT = Layout(1, "f4")


def disparity_to_depth(message: DisparityMessage) -> FloatArray:
    """Turn disparity into depth: focal length times baseline over disparity.

    Args:
        message: `stereo_msgs/msg/DisparityImage`, its image `32FC1`. Pixels outside of
            `min_disparity` to `max_disparity` were not matched.

    Returns:
        (H, W), metres along the optical axis of the left camera; NaN where there is none.

    Raises:
        ConversionError: Focal length or baseline make no sense, or the image is no `32FC1`.
    """
    # ROS 1 writes the name in capitals.
    baseline = float(message.t if hasattr(message, "t") else message.T)
    focal = float(message.f)
    for name, value in (("f", focal), ("t", baseline)):
        if not (math.isfinite(value) and value > 0):
            raise ConversionError(name, f"of a disparity image must be positive, got {value}")
    image = message.image
    if image.encoding != "32FC1":
        raise ConversionError(
            "encoding", f"of a disparity image must be 32FC1, got {shown(image.encoding)}"
        )
    disparity = np.asarray(read_samples(image, _LAYOUT), np.float32)
    matched = np.isfinite(disparity) & (disparity > 0) & (disparity >= message.min_disparity)
    # Many drivers leave the largest at 0.
    if message.max_disparity > message.min_disparity:
        matched &= disparity <= message.max_disparity
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = np.float32(focal * baseline) / disparity
    return np.where(matched, depth, np.float32(np.nan))
