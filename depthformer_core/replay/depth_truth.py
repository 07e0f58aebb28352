"""True depth from the depth images of a bag."""

from typing import Any

import numpy as np

from depthformer_core.bags.depth_messages import compressed_to_depth, image_to_depth
from depthformer_core.geometry.camera import FloatArray


def depth_truth(message: Any) -> FloatArray:
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
    depth = compressed_to_depth(message) if hasattr(message, "format") else image_to_depth(message)
    # Comparisons with NaN are false.
    return np.where(depth > 0, depth, np.float32(0))
