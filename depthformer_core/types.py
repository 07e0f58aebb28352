"""Types of arrays that several packages share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
"""Image (H, W, 3), RGB, 0 to 255."""

FloatArray = npt.NDArray[np.float32]
"""Depth, points or other single-precision values."""

BoolArray = npt.NDArray[np.bool_]
"""Mask."""

FloatingArray = npt.NDArray[np.floating[Any]]
"""Floating-point values of any precision."""
