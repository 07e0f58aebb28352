"""Plots of the stability of depth over time, as PNG files."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from depthformer_core.evaluation.consistency import Consistency
from depthformer_core.evaluation.delay import Delay
from depthformer_core.evaluation.figures import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    add_axes,
    new_figure,
    to_png,
)
from depthformer_core.evaluation.ground_scale import GroundScale
from depthformer_core.evaluation.stability import Stability
from depthformer_core.geometry.scale_watch import OFF


def plot_scale(stability: Stability) -> bytes:
    """Plot the scale of each frame, the fitted drift, and the flicker as a band around it."""
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="prediction / truth of each frame")
    seconds, line = np.array(stability.seconds), np.array(stability.drift_line)
    axes.axhline(1, color=FAINT, linewidth=1)
    if not math.isnan(stability.flicker):
        low, high = line * math.exp(-stability.flicker), line * math.exp(stability.flicker)
        label = f"flicker {stability.flicker:.1%}"
        axes.fill_between(seconds, low, high, color=ORANGE, alpha=0.15, linewidth=0, label=label)
    if not math.isnan(stability.drift):
        label = f"drift {stability.drift:+.1%} a minute"
        axes.plot(seconds, line, color=ORANGE, linewidth=1.2, label=label)
    axes.plot(seconds, stability.scales, ".-", color=BLUE, markersize=3, linewidth=0.5)
    axes.set_xlabel("seconds from the first image")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, ncols=2)
    return to_png(figure)


def plot_ground_scale(ground: GroundScale, truth: Sequence[float] | None) -> bytes:
    """Plot the scale of each frame by the ground, and beside it that by truth.

    Args:
        ground: The scale by the ground.
        truth: Prediction / truth of the same frames, NaN where there is none; None without any.
    """
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="camera's height over the predicted ground / true")
    axes.axhline(1, color=FAINT, linewidth=1)
    axes.axhspan(1 / OFF, OFF, color=FAINT, alpha=0.15, linewidth=0)
    seconds = ground.seconds
    if truth is not None and any(not math.isnan(scale) for scale in truth):
        axes.plot(seconds, truth, ".-", color=BLUE, markersize=3, linewidth=0.5, label="by truth")
    axes.plot(seconds, ground.scales, ".", color=ORANGE, markersize=3, label="by the ground")
    axes.plot(seconds, ground.watched, color=ORANGE, linewidth=1.2)
    axes.set_xlabel("seconds from the first image")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, ncols=2)
    return to_png(figure)


def plot_delay(delay: Delay) -> bytes:
    """Plot how alike the changes of predictions and truth are at each lag, and the delay."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="correlation of changes with the truth before")
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.plot(delay.lags, delay.similarity, ".-", color=BLUE, markersize=4, linewidth=1)
    if not math.isnan(delay.seconds):
        axes.axvspan(*delay.interval, color=ORANGE, alpha=0.15, linewidth=0)
        label = f"delay {1000 * delay.seconds:.0f} ms"
        axes.axvline(delay.seconds, color=ORANGE, linewidth=1.2, label=label)
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    axes.set_xlabel("lag, s")
    return to_png(figure)


def plot_consistency(consistency: Consistency) -> bytes:
    """Plot how much each prediction differs from the one before, moved by the motion."""
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="difference from the prediction before, moved")
    seconds = consistency.seconds
    axes.plot(seconds, consistency.errors, ".-", color=BLUE, markersize=3, linewidth=0.5)
    if not math.isnan(consistency.interval[0]):
        axes.axhspan(*consistency.interval, color=ORANGE, alpha=0.15, linewidth=0)
    if not math.isnan(consistency.inconsistency):
        axes.axhline(consistency.inconsistency, color=ORANGE, linewidth=1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds from the first image")
    return to_png(figure)
