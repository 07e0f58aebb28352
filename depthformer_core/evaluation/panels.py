"""Pictures of one compared image, each on the image's own pixels."""

import cv2
import matplotlib as mpl
import numpy as np

from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.types import FloatingArray, Rgb
from depthformer_core.visualize import colorize

_REACH = 3  # side of the square that one true pixel is shown as


def truth_panel(comparison: Comparison, *, near: float, far: float) -> Rgb:
    """Colour the truth as `colorize` does; enlarge points where nothing is in their way."""
    truth = comparison.truth
    known = np.isfinite(truth) & (truth > 0)
    closeness = np.zeros(truth.shape, np.float32)
    closeness[known] = 1 / truth[known]
    # The nearest of several points wins, as it would hide the others.
    spread = cv2.dilate(closeness, np.ones((_REACH, _REACH), np.uint8))
    depth = np.full(truth.shape, np.nan, np.float32)
    np.divide(1, spread, out=depth, where=spread > 0)
    depth[known] = truth[known]
    return colorize(depth, near=near, far=far)


def prediction_panel(comparison: Comparison, *, near: float, far: float) -> Rgb:
    """Colour the prediction as `colorize` does."""
    return colorize(comparison.prediction, near=near, far=far)


def error_panel(comparison: Comparison) -> Rgb:
    """Colour prediction over truth: blue half as far or less, white right, red double or more.

    Points are enlarged, the largest error first; black where nothing is compared.
    """
    scored = comparison.scored
    error = np.zeros(scored.shape, np.float32)
    error[scored] = np.log2(comparison.prediction[scored] / comparison.truth[scored])
    square = np.ones((_REACH, _REACH), np.uint8)
    over, under = (cv2.dilate(np.maximum(sign * error, 0), square) for sign in (1, -1))
    spread = np.where(over >= under, over, -under)
    picture = _error_colours(np.where(scored, error, spread))
    picture[cv2.dilate(scored.astype(np.uint8), square) == 0] = 0
    return picture


def depth_legend(*, near: float, far: float, count: int) -> Rgb:
    """Colour depth from near to far in equal ratios, (1, count, 3)."""
    depth: FloatingArray = np.geomspace(near, far, count)[None]
    return colorize(depth, near=near, far=far)


def error_legend(*, count: int) -> Rgb:
    """Colour prediction over truth from half to double in equal ratios, (1, count, 3)."""
    return _error_colours(np.linspace(-1, 1, count)[None])


def _error_colours(logarithm: FloatingArray) -> Rgb:
    """Colour the binary logarithm of prediction over truth, (..., 3)."""
    colours = mpl.colormaps["RdBu_r"]((np.clip(logarithm, -1, 1) + 1) / 2, bytes=True)
    return np.array(colours[..., :3], np.uint8)
