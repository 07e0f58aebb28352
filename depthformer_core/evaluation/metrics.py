"""Errors of one depth image, and their mean over images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import BoolArray, FloatingArray

METRICS = ("a1", "a2", "a3", "abs_rel", "rmse", "log_10", "rmse_log", "silog", "sq_rel")
KITTI_BENCHMARK_METRICS = ("silog", "sq_error_rel", "abs_error_rel", "irmse")

METRIC_MEANINGS = {
    "a1": "share of pixels within a factor of 1.25 of the truth",
    "a2": "within a factor of 1.25² = 1.56",
    "a3": "within a factor of 1.25³ = 1.95",
    "abs_rel": "mean of |error| / truth",
    "rmse": "root mean square error, metres",
    "log_10": "mean of |log10 prediction - log10 truth|",
    "rmse_log": "root mean square of ln prediction - ln truth",
    "silog": "100 times the standard deviation of ln prediction - ln truth; blind to scale",
    "sq_rel": "mean of error² / truth, metres",
    "sq_error_rel": "mean of (error / truth)², percent",
    "abs_error_rel": "mean of |error| / truth, percent",
    "irmse": "root mean square error of inverse depth, 1/km",
}

_HIGHER_IS_BETTER = ("a1", "a2", "a3")


def depth_metrics(
    prediction: FloatingArray, truth: FloatingArray, *, valid: BoolArray
) -> dict[str, float]:
    """Compute the nine usual errors of one depth image.

    Args:
        prediction: (H, W), metres; positive and finite where `valid`.
        truth: (H, W), metres; positive and finite where `valid`.
        valid: (H, W), the pixels that count.

    Returns:
        `METRICS` by name: shares in 0 to 1 (`a1`, `a2`, `a3`: within a factor of 1.25, 1.25^2,
        1.25^3), `abs_rel` a ratio, `rmse` and `sq_rel` in metres, `silog` times 100. All NaN
        where no pixel counts.

    Raises:
        DepthFormerError: The shapes differ, or a depth that counts is not positive and finite.
    """
    predicted, true = _select(prediction, truth, valid)
    if not true.size:
        return dict.fromkeys(METRICS, math.nan)
    difference = predicted - true
    logarithm = np.log(predicted) - np.log(true)
    factor = np.maximum(predicted / true, true / predicted)
    values = (
        *(np.mean(factor < 1.25**power) for power in (1, 2, 3)),
        np.mean(np.abs(difference) / true),
        np.sqrt(np.mean(difference**2)),
        np.mean(np.abs(logarithm)) / math.log(10),
        np.sqrt(np.mean(logarithm**2)),
        _silog(logarithm),
        np.mean(difference**2 / true),
    )
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def kitti_benchmark_metrics(
    prediction: FloatingArray, truth: FloatingArray, *, valid: BoolArray
) -> dict[str, float]:
    """Compute the four errors by which KITTI's depth prediction server ranks.

    Uhrig et al., "Sparsity Invariant CNNs", 3DV 2017, and the benchmark's page.

    Args:
        prediction: As in `depth_metrics`.
        truth: As in `depth_metrics`.
        valid: As in `depth_metrics`.

    Returns:
        `KITTI_BENCHMARK_METRICS` by name: `silog` times 100, `sq_error_rel` and `abs_error_rel`
        in percent, `irmse` in 1/km. All NaN where no pixel counts.

    Raises:
        DepthFormerError: As in `depth_metrics`.
    """
    predicted, true = _select(prediction, truth, valid)
    if not true.size:
        return dict.fromkeys(KITTI_BENCHMARK_METRICS, math.nan)
    relative = (predicted - true) / true
    values = (
        _silog(np.log(predicted) - np.log(true)),
        100 * np.mean(relative**2),
        100 * np.mean(np.abs(relative)),
        np.sqrt(np.mean((1000 / predicted - 1000 / true) ** 2)),
    )
    return {name: float(v) for name, v in zip(KITTI_BENCHMARK_METRICS, values, strict=True)}


def better_direction(metric: str) -> str:
    """Return whether `higher` or `lower` values of a metric are better."""
    return "higher" if metric in _HIGHER_IS_BETTER else "lower"


def mean_over_images(
    rows: Sequence[Mapping[str, Any]], *, names: Sequence[str] = METRICS
) -> dict[str, float]:
    """Average each metric over images; skip images without a value.

    Args:
        rows: Metrics of each image by name, NaN where an image has none.
        names: The metrics to average.

    Returns:
        Mean by name; NaN where no image has a value.
    """
    means = {}
    for name in names:
        values = [value for row in rows if not math.isnan(value := row[name])]
        means[name] = math.fsum(values) / len(values) if values else math.nan
    return means


def _select(
    prediction: FloatingArray, truth: FloatingArray, valid: BoolArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if not prediction.shape == truth.shape == valid.shape:
        raise DepthFormerError(
            "prediction, truth and valid must have one shape, "
            f"got {prediction.shape}, {truth.shape} and {valid.shape}"
        )
    selected = []
    for name, depth in (("prediction", prediction), ("truth", truth)):
        values = depth[valid].astype(np.float64)
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            raise DepthFormerError(f"{name} must be positive and finite, got {values[wrong][0]}")
        selected.append(values)
    predicted, true = selected
    return predicted, true


def _silog(logarithm: npt.NDArray[np.float64]) -> float:
    # Rounding may take the variance of equal values below zero.
    variance = max(0.0, float(np.mean(logarithm**2) - np.mean(logarithm) ** 2))
    return 100 * math.sqrt(variance)
