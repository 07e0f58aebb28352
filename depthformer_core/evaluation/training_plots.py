"""Plots of a training run, as PNG files."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from depthformer_core.evaluation.curves import LossCurve, TrainingCurves
from depthformer_core.evaluation.figures import BLUE, INK, ORANGE, add_axes, new_figure, to_png

# Ratios of the largest to the smallest value: above the first an axis is logarithmic, above the
# second it has labels at powers of ten alone.
_WIDE_RATIO = 10.0
_MANY_LABELS = 200.0
_FEW_POINTS = 60  # which have a dot each
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g}%")


def plot_loss(curve: LossCurve) -> bytes:
    """Plot loss and learning rate over the iterations."""
    figure = new_figure(7.6, 3.8)
    wide = _is_wide(curve.low, curve.high)
    axes = add_axes(figure, (3, 1, (1, 2)), title="loss, logarithmic" if wide else "loss")
    line = ".-" if len(curve.iterations) <= _FEW_POINTS else "-"
    if curve.size == 1:
        axes.plot(
            curve.iterations,
            curve.low,
            line,
            color=BLUE,
            markersize=3,
            linewidth=0.5,
            label="each iteration",
        )
    else:
        axes.fill_between(
            curve.iterations,
            curve.low,
            curve.high,
            color=BLUE,
            alpha=0.4,
            linewidth=0.5,
            label=f"lowest to highest of each {curve.size:,} iterations",
        )
    if curve.window > 1:
        label = f"mean of {curve.window:,} iterations"
        axes.plot(curve.iterations, curve.mean, color=ORANGE, linewidth=1.5, label=label)
        # Beside the title, where no curve is.
        axes.legend(
            fontsize=8,
            frameon=False,
            labelcolor=INK,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0,
            ncols=2,
        )
    if wide:
        _make_logarithmic(axes, curve.low, curve.high)
    axes.yaxis.set_major_formatter(_PLAIN)
    axes.tick_params(labelbottom=False)
    below = add_axes(figure, (3, 1, 3), title="learning rate")
    below.plot(curve.iterations, curve.learning_rate, line, color=INK, markersize=3, linewidth=1)
    below.set_ylim(bottom=0)
    below.yaxis.set_major_locator(MaxNLocator(3, steps=(1, 2, 5, 10)))
    below.yaxis.set_major_formatter(_PLAIN)
    for part in (axes, below):
        part.margins(x=0.01)
        _count_iterations(part)
    below.set_xlabel("iteration")
    return to_png(figure)


def plot_evaluations(curves: TrainingCurves) -> bytes:
    """Plot `abs_rel` and `a1` of each evaluation, of which at least one has an `abs_rel`."""
    best = curves.best()
    assert best is not None, "there is an evaluation"
    errors = curves.metrics["abs_rel"]
    wide = _is_wide(errors, errors)
    title = "mean |error| / truth (abs_rel)"
    panels = [(f"{title}, logarithmic" if wide else title, errors)]
    if "a1" in curves.metrics:
        panels.append(("pixels within a factor of 1.25 of the truth (a1)", curves.metrics["a1"]))
    figure = new_figure(7.6, 2.8)
    for place, (title, values) in enumerate(panels, start=1):
        axes = add_axes(figure, (1, len(panels), place), title=title)
        axes.plot(curves.evaluated, values, ".-", color=BLUE, markersize=4, linewidth=0.8)
        if values is errors and wide:
            _make_logarithmic(axes, values, values)
        axes.yaxis.set_major_formatter(_PERCENT)
        _count_iterations(axes)
        axes.set_xlabel("iteration")
        axes.margins(x=0.06, y=0.2)
        if not np.isnan(values[best]):
            _mark(axes, curves.evaluated, values, index=best, below=values is errors)
    return to_png(figure)


def _mark(
    axes: Axes,
    iterations: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    *,
    index: int,
    below: bool,
) -> None:
    """Mark a point, with its value below or above it."""
    place = (iterations[index], values[index])
    axes.plot(*place, "o", color=ORANGE, markersize=5)
    share = (place[0] - iterations[0]) / max(1, iterations[-1] - iterations[0])
    # The text stays within the axes.
    side = "center" if 0.1 < share < 0.9 or len(iterations) == 1 else "left"
    if share >= 0.9:
        side = "right"
    axes.annotate(
        f"{values[index]:.1%}",
        place,
        xytext=(0, -6 if below else 6),
        textcoords="offset points",
        horizontalalignment=side,
        verticalalignment="top" if below else "bottom",
        color=ORANGE,
        fontsize=8,
        # The curve may run there.
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )


def _is_wide(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> bool:
    """Return whether values differ so much that only a logarithmic axis shows them all."""
    return bool(0 < np.nanmin(low) < np.nanmax(high) / _WIDE_RATIO)


def _make_logarithmic(
    axes: Axes, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> None:
    """Make the axis of y logarithmic, with few labels."""
    many = np.nanmax(high) > _MANY_LABELS * np.nanmin(low)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if many else (1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())


def _count_iterations(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
