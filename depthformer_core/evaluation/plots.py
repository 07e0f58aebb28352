"""Plots of an evaluation, as PNG files."""

import math
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.figures import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    add_axes,
    new_figure,
    to_png,
)
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.pixel_errors import Density, DistanceErrors, RowErrors
from depthformer_core.evaluation.uncertainty import Uncertainty, laplace_within

_TIME_BINS = 30
_STAMP = re.compile(r"(\d+)\.(\d{9})")


def plot_distances(errors: Sequence[DistanceErrors]) -> bytes:
    """Plot bars of relative and absolute error for each range of true depth."""
    figure = new_figure(7.6, 3.0)
    names = [f"{error.near:g}-{error.far:g} m" for error in errors]
    total = sum(error.pixels for error in errors)
    shares = [
        f"{name}\n{error.pixels / total:.0%}" for name, error in zip(names, errors, strict=True)
    ]
    panels = (
        ("mean |error| / truth", BLUE, "{:.1%}", [error.abs_rel for error in errors]),
        ("root mean square error, m", ORANGE, "{:.2f}", [error.rmse for error in errors]),
    )
    for place, (title, colour, form, values) in enumerate(panels, start=1):
        axes = add_axes(figure, (1, 2, place), title=title)
        heights = [0.0 if math.isnan(value) else value for value in values]
        bars = axes.bar(range(len(errors)), heights, color=colour, width=0.62)
        labels = ["no truth" if math.isnan(value) else form.format(value) for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=8, color=INK)
        axes.set_xticks(range(len(errors)), shares)
        axes.margins(y=0.15)
        axes.grid(visible=False, axis="x")
    return to_png(figure)


def plot_rows(errors: Sequence[RowErrors]) -> bytes:
    """Plot bars of relative error for each band of image rows, as they lie in the image."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="mean |error| / truth by image row")
    middles = [(error.top + error.bottom) / 2 for error in errors]
    heights = [0.86 * (error.bottom - error.top) for error in errors]
    lengths = [0.0 if math.isnan(error.abs_rel) else error.abs_rel for error in errors]
    bars = axes.barh(middles, lengths, heights, color=BLUE)
    total = sum(error.pixels for error in errors)
    labels = [f"{error.pixels / total:.0%} of pixels" if error.pixels else "" for error in errors]
    axes.bar_label(bars, labels, padding=3, fontsize=6, color=INK)
    axes.set_ylim(1, 0)
    axes.set_yticks([0, 0.5, 1], ["top", "middle", "bottom"])
    axes.margins(x=0.3)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=False, axis="y")
    return to_png(figure)


def plot_histogram(errors: Sequence[float], *, mean: float) -> bytes:
    """Plot a histogram of the relative error of images.

    Args:
        errors: One value an image; at least one, none NaN.
        mean: Their mean, which is marked.
    """
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="images by mean |error| / truth")
    bins = min(40, max(6, round(2 * math.sqrt(len(errors)))))
    axes.hist(errors, bins=bins, color=BLUE, edgecolor="white", linewidth=0.5)
    axes.axvline(mean, color=ORANGE, linewidth=1.5)
    axes.annotate(
        f"mean {mean:.1%}",
        (mean, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -10),
        textcoords="offset points",
        color=ORANGE,
        fontsize=8,
    )
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("images")
    return to_png(figure)


def plot_density(density: Density) -> bytes:
    """Plot true against predicted depth of all pixels, which must be at least one."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="all pixels: prediction against truth")
    edges, counts = density.edges, density.counts
    # NaN is left white.
    shown = np.where(counts > 0, counts, np.nan).T
    norm = LogNorm(1, max(2, counts.max()))
    mesh = axes.pcolormesh(edges, edges, shown, norm=norm, cmap="viridis_r", rasterized=True)
    used = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    near, far = edges[used[0]], edges[used[-1] + 1]
    axes.set(xscale="log", yscale="log", xlim=(near, far), ylim=(near, far))
    for factor, style in ((1.0, "-"), (1.25, ":"), (1 / 1.25, ":")):
        axes.plot((near, far), (near * factor, far * factor), style, color=INK, linewidth=0.8)
    for axis, name in ((axes.xaxis, "truth, m"), (axes.yaxis, "prediction, m")):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_label_text(name)
    axes.set_aspect("equal")
    bar = figure.colorbar(mesh, ax=axes, pad=0.03)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.ax.set_title("pixels", fontsize=7, color=INK)
    bar.outline.set_visible(False)
    return to_png(figure)


def plot_depths(density: Density) -> bytes:
    """Plot how often each depth occurs in truth and prediction; at least one pixel."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="share of pixels by depth")
    total = density.counts.sum()
    for name, colour, axis in (("truth", INK, 1), ("prediction", ORANGE, 0)):
        shares = density.counts.sum(axis=axis) / total
        axes.stairs(shares, density.edges, color=colour, linewidth=1.2, label=name)
    used = np.flatnonzero(density.counts.any(axis=0) | density.counts.any(axis=1))
    axes.set(xscale="log", xlim=(density.edges[used[0]], density.edges[used[-1] + 1]))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("depth, m")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return to_png(figure)


def plot_course(
    errors: Sequence[float], *, times: Sequence[float] | None, mean: float, interval: Interval
) -> bytes:
    """Plot the relative error of each image, in their order.

    Args:
        errors: One value an image, NaN where it has none.
        times: Seconds of each, or none to count the images instead.
        mean: Mean of the errors, which is marked.
        interval: Its confidence interval.
    """
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="mean |error| / truth of each image")
    _dots(axes, times, errors)
    if not math.isnan(interval[0]):
        axes.axhspan(*interval, color=ORANGE, alpha=0.15, linewidth=0)
    axes.axhline(mean, color=ORANGE, linewidth=1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(bottom=0)
    return to_png(figure)


def plot_differences(
    differences: Sequence[float],
    *,
    times: Sequence[float] | None,
    mean: float,
    interval: Interval,
) -> bytes:
    """Plot the difference of each image's relative error between two runs, in their order.

    Args:
        differences: One value an image, NaN where it has none.
        times: Seconds of each, or none to count the images instead.
        mean: Mean of the differences, which is marked.
        interval: Its confidence interval.
    """
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="abs_rel of each image: B - A")
    _dots(axes, times, differences)
    axes.axhline(0, color=INK, linewidth=1)
    if not math.isnan(interval[0]):
        axes.axhspan(*interval, color=ORANGE, alpha=0.15, linewidth=0)
    axes.axhline(mean, color=ORANGE, linewidth=1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return to_png(figure)


def plot_pairs(first: Sequence[float], second: Sequence[float]) -> bytes:
    """Plot the relative error of each image in two runs against each other; at least one image."""
    figure = new_figure(3.8, 3.4)
    axes = add_axes(figure, (1, 1, 1), title="abs_rel of each image")
    axes.plot(first, second, ".", color=BLUE, markersize=4, alpha=0.6)
    end = 1.05 * max(*first, *second) or 1.0
    axes.plot((0, end), (0, end), color=INK, linewidth=0.8)
    axes.set(xlim=(0, end), ylim=(0, end), xlabel="A", ylabel="B")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
        axis.set_major_locator(MaxNLocator(5))
    axes.set_aspect("equal")
    return to_png(figure)


def plot_changes(
    names: Sequence[str], changes: Sequence[float], intervals: Sequence[Interval]
) -> bytes:
    """Plot the relative change of the mean of each metric, with its interval.

    Args:
        names: The metrics.
        changes: Change of each as a share of its old value; NaN where there is none.
        intervals: Confidence intervals of the changes.
    """
    figure = new_figure(3.8, 3.4)
    axes = add_axes(figure, (1, 1, 1), title="change of each mean from A to B")
    places = np.arange(len(names))
    axes.hlines(places, *zip(*intervals, strict=True), color=ORANGE, linewidth=2.5, alpha=0.6)
    axes.plot(changes, places, "o", color=ORANGE, markersize=4)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return to_png(figure)


def plot_calibration(uncertainty: Uncertainty) -> bytes:
    """Plot the share of the truth within so many scales, beside a Laplace distribution's."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="share of the truth within k scales")
    scales = uncertainty.scales
    axes.plot(scales, laplace_within(scales), "--", color=INK, linewidth=1, label="Laplace")
    axes.plot(scales, uncertainty.within, color=BLUE, linewidth=1.5, label="predictions")
    axes.set(xlim=(0, scales[-1]), ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("k")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right")
    return to_png(figure)


def plot_sparsification(uncertainty: Uncertainty) -> bytes:
    """Plot relative error without the most uncertain pixels, beside the best order and none."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="mean |error| / truth of what remains")
    removed = uncertainty.removed
    axes.axhline(uncertainty.abs_rel[0], color=FAINT, linewidth=1, linestyle=":", label="random")
    axes.plot(removed, uncertainty.abs_rel, color=BLUE, linewidth=1.5, label="by uncertainty")
    axes.plot(removed, uncertainty.oracle, "--", color=INK, linewidth=1, label="by true error")
    axes.set(xlim=(0, removed[-1]))
    axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("pixels left out")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return to_png(figure)


def plot_latency_histogram(latency: Latency) -> bytes:
    """Plot a histogram of the time to a prediction; at least one prediction."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="predictions by time, s")
    durations = latency.durations
    bins = min(60, max(8, round(2 * math.sqrt(len(durations)))))
    axes.hist(durations, bins=bins, color=BLUE, edgecolor="white", linewidth=0.5)
    for share, style in ((50, "-"), (95, "--"), (99, ":")):
        time = latency.percentile(share)
        axes.axvline(
            time, color=ORANGE, linewidth=1.2, linestyle=style, label=f"{share} %: {time:.3f} s"
        )
    axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("images")
    return to_png(figure)


def plot_predicted(latency: Latency) -> bytes:
    """Plot the shares of images with and without prediction over time; at least one image."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="share of the images sent")
    predicted = np.array([time is not None for time in latency.seconds])
    sent = np.array(latency.sent)
    bins = min(_TIME_BINS, math.ceil(len(sent) / 10))
    edges = np.linspace(0, sent.max() or 1.0, bins + 1)
    total, _ = np.histogram(sent, edges)
    below = np.zeros(bins)
    for name, colour, chosen in (("predicted", BLUE, predicted), ("dropped", ORANGE, ~predicted)):
        counts, _ = np.histogram(sent[chosen], edges)
        shares = counts / np.maximum(total, 1)
        axes.bar(edges[:-1], shares, np.diff(edges), below, align="edge", color=colour, label=name)
        below = below + shares
    axes.set_ylim(0, 1.2)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, ncols=2, loc="upper left")
    axes.set_xlabel("sent after, s")
    return to_png(figure)


def plot_latency_course(latency: Latency) -> bytes:
    """Plot the time to each image's prediction, and the dropped images; at least one prediction."""
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="time to the prediction of each image, s")
    pairs = list(zip(latency.sent, latency.seconds, strict=True))
    times = [math.nan if seconds is None else seconds for _, seconds in pairs]
    _dots(axes, latency.sent, times)
    axes.set_ylim(bottom=0)
    if dropped := [sent for sent, seconds in pairs if seconds is None]:
        axes.plot(
            dropped,
            np.zeros(len(dropped)),
            "|",
            color=ORANGE,
            markersize=10,
            clip_on=False,
            label="dropped",
        )
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="upper right")
    axes.set_xlabel("sent after, s")
    return to_png(figure)


def seconds_since_first(files: Sequence[str]) -> list[float] | None:
    """Read when images were taken from their names.

    Args:
        files: Names of images, such as `1700000000.100000000` for a stamp in seconds.

    Returns:
        Seconds since the earliest of them; None without files, or where a name is no stamp.
    """
    matches = [_STAMP.fullmatch(file) for file in files]
    # Integers, because a double cannot hold nanoseconds since 1970.
    stamps = [int(match[1]) * 10**9 + int(match[2]) for match in matches if match is not None]
    if not stamps or len(stamps) < len(files):
        return None
    first = min(stamps)
    return [(stamp - first) / 1e9 for stamp in stamps]


def _dots(axes: Axes, times: Sequence[float] | None, values: Sequence[float]) -> None:
    """Plot dots joined by a thin line, over seconds or the number of the image."""
    places = range(1, len(values) + 1) if times is None else times
    axes.plot(places, values, ".-", color=BLUE, markersize=3, linewidth=0.5)
    axes.set_xlabel("image" if times is None else "seconds from the first image")
    if times is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
