"""Types that several packages share."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Rgb: TypeAlias = npt.NDArray[np.uint8]
"""Image (H, W, 3), RGB."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
"""Depth (H, W), metres, or other values in single precision."""

FloatingArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""Floating-point values of any precision."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""Mask (H, W)."""

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""A value of JSON."""
