"""Selection of the pixels of a depth image that become points of a cloud."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.flying_pixels import flying_pixels
from depthformer_core.types import BoolArray, FloatArray

# Rows at a time: they stay in the cache.
_BAND = 32
_NAN = np.float32(np.nan)
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class CloudOptions:
    """Selection of the pixels that become points.

    Attributes:
        stride: Every `stride`-th row and column does.
        edge_filter: As `jump` of `flying_pixels`, which it removes; 0 keeps them.
        clearing: Whether rays that hit nothing up to the maximum depth get a point there. A
            costmap clears the cells along the ray of each point, up to that point; its
            `obstacle_max_range` must be below the maximum depth, or it takes these points for
            obstacles.
        max_uncertainty: Largest uncertainty of a point, as a share of its depth; 0 for any.
    """

    stride: int = 1
    edge_filter: float = 0.0
    clearing: bool = False
    max_uncertainty: float = 0.0


def cloud_depth(
    depth: FloatArray,
    options: CloudOptions,
    *,
    max_depth: float,
    uncertainty: FloatArray | None = None,
) -> FloatArray:
    """Select the pixels that become points, before the stride.

    A ray hits nothing where the depth is larger than `max_depth`, +Inf included. With
    `options.clearing` it gets a point at `max_depth`, except beside a surface that is nearer by
    more than the edge filter allows. No point, for clearing neither, get pixels without depth
    (NaN), nearer than the minimum (-Inf), in flight between two surfaces, or too uncertain.

    Args:
        depth: (H, W), metres along the optical axis; what is not positive or not finite is no
            depth.
        options: Selection of the pixels; the stride is ignored.
        max_depth: Largest depth of a point, metres; infinity for no limit, but not with
            `options.clearing`.
        uncertainty: (H, W), metres, NaN where it is unknown. Needed with
            `options.max_uncertainty`; compared with the depth as it is given, so that a ray into
            the distance may be as uncertain as what it sees there.

    Returns:
        (H, W), metres, NaN where a pixel gives no point; `depth` itself if all stay as they are.

    Raises:
        DepthFormerError: The depth is no image, the maximum depth is not positive, or infinite
            with `options.clearing`, or the uncertainty is missing or of another size.
    """
    _check(depth, options, max_depth=max_depth, uncertainty=uncertainty)
    limit = np.float32(min(max_depth, _LARGEST))
    selected = depth
    # Comparisons with NaN are false.
    if not (depth.min() > 0 and depth.max() <= limit):
        selected = depth.copy()
        _set(selected, ~((depth > 0) & (depth <= limit)), _NAN)
    removed = _removed(depth, selected, options, uncertainty)
    misses = None
    if options.clearing and selected is not depth:
        misses = _misses(depth, selected, options, limit, uncertainty)
    if removed is not None:
        if selected is depth:
            selected = depth.copy()
        _set(selected, removed, _NAN)
    if misses is not None:
        _set(selected, misses, limit)
    return selected


def _removed(
    depth: FloatArray,
    selected: FloatArray,
    options: CloudOptions,
    uncertainty: FloatArray | None,
) -> BoolArray | None:
    """Find the pixels with a hit that give no point nevertheless."""
    removed = None
    if options.edge_filter:
        removed = flying_pixels(selected, jump=options.edge_filter)
    if options.max_uncertainty and uncertainty is not None:
        uncertain = _uncertain(depth, uncertainty, options.max_uncertainty)
        removed = uncertain if removed is None else removed | uncertain
    return removed if removed is not None and removed.any() else None


def _misses(
    depth: FloatArray,
    selected: FloatArray,
    options: CloudOptions,
    limit: np.float32,
    uncertainty: FloatArray | None,
) -> BoolArray | None:
    """Find the rays without a hit that get a point; none if there are none."""
    misses = depth > limit
    if not misses.any():
        return None
    if options.edge_filter:
        # What the edge between a surface and the distance blurs.
        ends = selected.copy()
        _set(ends, misses, limit)
        misses &= ~flying_pixels(ends, jump=options.edge_filter)
    if options.max_uncertainty and uncertainty is not None:
        misses &= ~_uncertain(depth, uncertainty, options.max_uncertainty)
    return misses


def _uncertain(depth: FloatArray, uncertainty: FloatArray, share: float) -> BoolArray:
    # Unknown uncertainty is too large: comparisons with NaN are false.
    return ~(uncertainty <= np.float32(share) * depth)


def _set(depth: FloatArray, pixels: BoolArray, value: np.float32) -> None:
    # OpenCV is many times as fast as NumPy's masks.
    values = np.full((_BAND, depth.shape[1]), value, np.float32)
    for top in range(0, depth.shape[0], _BAND):
        band = depth[top : top + _BAND]
        cv2.copyTo(values[: len(band)], pixels[top : top + _BAND].view(np.uint8), band)


def _check(
    depth: FloatArray,
    options: CloudOptions,
    *,
    max_depth: float,
    uncertainty: FloatArray | None,
) -> None:
    if depth.ndim != 2:
        raise DepthFormerError(f"depth must have shape (H, W), got {depth.shape}")
    if not max_depth > 0:
        raise DepthFormerError(f"the maximum depth must be positive, got {max_depth}")
    if options.clearing and max_depth == math.inf:
        raise DepthFormerError("clearing needs a maximum depth, got infinity")
    if not options.max_uncertainty:
        return
    if uncertainty is None:
        raise DepthFormerError(
            f"max_uncertainty {options.max_uncertainty:g} needs an uncertainty, got none"
        )
    if uncertainty.shape != depth.shape:
        raise DepthFormerError(
            f"uncertainty must have the depth's shape {depth.shape}, got {uncertainty.shape}"
        )
