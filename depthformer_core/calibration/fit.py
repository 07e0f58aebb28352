"""Fit of a correction to pairs of predicted and true depth."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.samples import Array, Samples

Kind = Literal["factor", "line", "curve"]

_ITERATIONS = 30
_CONVERGED = 1e-4
# Errors below this count as squares; that smooths the median, by less than matters.
_SMALL = 0.01
# Of a knot in one iteration.
_LARGEST_STEP = 1.5
# A curve must be this steep, as a share of the steepness of the ratio of the whole.
_FLATTEST = 0.1
# Share of the samples that lie before the first knot, and beyond the last.
_OUTSIDE = 0.01
# An offset shows from this ratio of the farthest to the nearest distance on.
_RANGE = 1.5


@dataclass(frozen=True)
class Shape:
    """Shape of a correction to fit.

    Attributes:
        kind: `factor`; `line`, factor and offset, fitted as predicted over true depth and turned
            around: the truth is exact and the prediction is not, so that noise leaves it as it is;
            `curve`, fitted as true over predicted depth, which is the best guess from a prediction,
            and flatter the more noise there is.
        knots: Depth of the knots, metres, rising; true for a line, predicted for a curve.
    """

    kind: Kind
    knots: tuple[float, ...] = ()


def fit_correction(samples: Samples, shape: Shape) -> DepthCorrection | None:
    """Fit a correction to samples, robust to outliers.

    The mean absolute difference of the logarithms of corrected and true depth is minimized, which
    is the relative error with too near and too far counted alike: one factor is the median of the
    ratios. (The relative error itself is smallest for depth that is too near.)

    Args:
        samples: The samples.
        shape: Number and place of its knots, and what is fitted.

    Returns:
        The correction; None where it would not rise, or hardly.
    """
    ratio = median_ratio(samples)
    knots = np.array(shape.knots)
    if shape.kind == "factor":
        return DepthCorrection.factor(ratio)
    if shape.kind == "line":
        values = _fit(samples.true, samples.predicted, samples.weight, knots, knots / ratio)
        # As steep as this, noise would be taken for depth.
        rises = (np.diff(values) > _FLATTEST * np.diff(knots) / ratio).all()
        corrected, predicted = knots, values
    else:
        values = _fit(samples.predicted, samples.true, samples.weight, knots, knots * ratio)
        rises = (np.diff(values) > _FLATTEST * np.diff(knots) * ratio).all()
        predicted, corrected = knots, values
    if not rises:
        return None
    return DepthCorrection(tuple(predicted.tolist()), tuple(corrected.tolist()))


def _fit(given: Array, wanted: Array, weight: Array, knots: Array, start: Array) -> Array:
    """Fit a curve of wanted over given depth.

    Args:
        given: (N,), metres.
        wanted: (N,), metres.
        weight: (N,).
        knots: Given depth of the knots, (K,), metres.
        start: First guess of their wanted depth, (K,).

    Returns:
        Their wanted depth, (K,), metres.
    """
    columns = _columns(given, knots)
    logarithm = np.log(wanted)
    values = start
    for _ in range(_ITERATIONS):
        fitted = columns @ values
        error = logarithm - np.log(fitted)
        # Least squares of the linearized logarithm, weighted so that they are absolute values.
        weights = weight / np.maximum(np.abs(error), _SMALL)
        slope = columns / fitted[:, None]
        normal = slope.T @ (slope * weights[:, None])
        # A knot without samples keeps its value.
        normal[np.diag_indices_from(normal)] += 1e-9 * normal.trace()
        step = np.linalg.solve(normal, slope.T @ (weights * error))
        moved = np.clip(values + step, values / _LARGEST_STEP, values * _LARGEST_STEP)
        change = np.abs(moved / values - 1).max()
        values = moved
        if change < _CONVERGED:
            break
    return values


def shapes(samples: Samples, *, knots: int = 5) -> dict[str, Shape]:
    """Return the shapes to try by their names, the simplest first, over the samples' distances.

    Args:
        samples: The samples.
        knots: Number of knots of the curve, in equal ratios.
    """
    ends = (_OUTSIDE, 1 - _OUTSIDE)
    near, far = quantiles(samples.true, samples.weight, ends)
    nearest, farthest = quantiles(samples.predicted, samples.weight, ends)
    found = {"one factor": Shape("factor")}
    if far > _RANGE * near and farthest > _RANGE * nearest:
        found["factor and offset"] = Shape("line", (float(near), float(far)))
        between = np.geomspace(nearest, farthest, knots)
        found["curve"] = Shape("curve", tuple(between.tolist()))
    return found


def median_ratio(samples: Samples) -> float:
    """Return the weighted median of true over predicted depth."""
    return float(quantiles(samples.true / samples.predicted, samples.weight, (0.5,))[0])


def quantiles(values: Array, weights: Array, shares: tuple[float, ...]) -> Array:
    """Return weighted quantiles.

    Args:
        values: (N,).
        weights: (N,), positive.
        shares: The shares of the weight that lie below them.

    Returns:
        One for each share.
    """
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    middle = total - weights[order] / 2
    found: Array = np.interp(np.array(shares) * total[-1], middle, values[order])
    return found


def _columns(depth: Array, knots: Array) -> Array:
    """Return what each knot's value counts at each depth, (N, K); see `DepthCorrection`."""
    inside = np.clip(depth, knots[0], knots[-1])
    columns = np.stack([np.interp(inside, knots, row) for row in np.eye(len(knots))], axis=1)
    columns *= (depth / inside)[:, None]
    return columns
