"""True depth from the depth images of a bag."""

from typing import Any

import numpy as np

from depthformer_core.camera import FloatArray
from depthformer_core.data.messages import image_array
from depthformer_core.replay.topics import DEPTH_ENCODINGS


def depth_truth(message: Any) -> FloatArray:
    """Read a depth image (REP 118) as truth.

    Args:
        message: `sensor_msgs/msg/Image`: `32FC1` in metres or `16UC1` in millimetres.

    Returns:
        (H, W), metres, 0 where there is no truth; infinity where all that is known is that it is
        far (REP 117, `32FC1` only).

    Raises:
        ValueError: The encoding is another one, or size, step and data do not fit together.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise ValueError(
            f"encoding of a depth image must be {' or '.join(DEPTH_ENCODINGS)}, "
            f"got {message.encoding!r}"
        )
    values = image_array(message)
    if message.encoding == "16UC1":
        return values.astype(np.float32) / np.float32(1000)
    # Comparisons with NaN are false.
    return np.where(values > 0, values, np.float32(0))
