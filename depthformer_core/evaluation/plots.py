"""Plots of an evaluation, as PNG files."""

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from depthformer_core.evaluation.pool import Density, DistanceErrors

_INK = "#1f2933"
_FAINT = "#9aa5b1"
_BLUE = "#2b6cb0"
_ORANGE = "#c05621"
_DOTS_PER_INCH = 160


def plot_distances(errors: Sequence[DistanceErrors]) -> bytes:
    """Bars of relative and absolute error for each range of true depth."""
    figure = _figure(7.6, 3.0)
    names = [f"{error.near:g}-{error.far:g} m" for error in errors]
    total = sum(error.pixels for error in errors)
    shares = [
        f"{name}\n{error.pixels / total:.0%}" for name, error in zip(names, errors, strict=True)
    ]
    panels = (
        ("mean |error| / truth", _BLUE, "{:.1%}", [error.abs_rel for error in errors]),
        ("root mean square error, m", _ORANGE, "{:.2f}", [error.rmse for error in errors]),
    )
    for place, (title, colour, form, values) in enumerate(panels, start=1):
        axes = _axes(figure, (1, 2, place), title=title)
        heights = [0.0 if math.isnan(value) else value for value in values]
        bars = axes.bar(range(len(errors)), heights, color=colour, width=0.62)
        labels = ["no truth" if math.isnan(value) else form.format(value) for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=8, color=_INK)
        axes.set_xticks(range(len(errors)), shares)
        axes.margins(y=0.15)
        axes.grid(visible=False, axis="x")
    return _png(figure)


def plot_histogram(errors: Sequence[float], *, mean: float) -> bytes:
    """Histogram of the relative error of images.

    Args:
        errors: One value an image; at least one, none NaN.
        mean: Their mean, which is marked.
    """
    figure = _figure(3.8, 3.2)
    axes = _axes(figure, (1, 1, 1), title="images by mean |error| / truth")
    bins = min(40, max(6, round(2 * math.sqrt(len(errors)))))
    axes.hist(errors, bins=bins, color=_BLUE, edgecolor="white", linewidth=0.5)
    axes.axvline(mean, color=_ORANGE, linewidth=1.5)
    axes.annotate(
        f"mean {mean:.1%}",
        (mean, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -10),
        textcoords="offset points",
        color=_ORANGE,
        fontsize=8,
    )
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("images")
    return _png(figure)


def plot_density(density: Density) -> bytes:
    """True against estimated depth of all pixels, which must be at least one."""
    figure = _figure(3.8, 3.2)
    axes = _axes(figure, (1, 1, 1), title="all pixels: estimate against truth")
    edges, counts = density.edges, density.counts
    # NaN is left white.
    shown = np.where(counts > 0, counts, np.nan).T
    norm = LogNorm(1, max(2, counts.max()))
    mesh = axes.pcolormesh(edges, edges, shown, norm=norm, cmap="viridis_r", rasterized=True)
    used = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    near, far = edges[used[0]], edges[used[-1] + 1]
    axes.set(xscale="log", yscale="log", xlim=(near, far), ylim=(near, far))
    for factor, style in ((1.0, "-"), (1.25, ":"), (1 / 1.25, ":")):
        axes.plot((near, far), (near * factor, far * factor), style, color=_INK, linewidth=0.8)
    for axis, name in ((axes.xaxis, "truth, m"), (axes.yaxis, "estimate, m")):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_label_text(name)
    axes.set_aspect("equal")
    bar = figure.colorbar(mesh, ax=axes, pad=0.03)
    bar.ax.tick_params(labelsize=7, colors=_INK)
    bar.ax.set_title("pixels", fontsize=7, color=_INK)
    bar.outline.set_visible(False)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, place: tuple[int, int, int], *, title: str) -> Axes:
    axes = figure.add_subplot(*place)
    axes.set_title(title, fontsize=9, color=_INK, loc="left")
    axes.tick_params(labelsize=8, colors=_INK, color=_FAINT)
    axes.xaxis.label.set(fontsize=8, color=_INK)
    axes.yaxis.label.set(fontsize=8, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
