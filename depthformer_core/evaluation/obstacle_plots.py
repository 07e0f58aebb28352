"""Plots of the obstacles of a drive, as PNG files."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from depthformer_core.evaluation.figures import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    add_axes,
    new_figure,
    to_png,
)
from depthformer_core.evaluation.obstacle_grid import ObstacleOptions
from depthformer_core.evaluation.obstacle_tally import ObstacleCounts
from depthformer_core.evaluation.obstacles import Cell, FrameObstacles

_RED = "#c53030"
_YELLOW = "#d69e2e"
_NAMES = {
    Cell.DETECTED: ("detected", INK),
    Cell.MISSED: ("missed", _RED),
    Cell.PHANTOM: ("phantom", _YELLOW),
    Cell.UNPREDICTED: ("no prediction", FAINT),
}


def plot_birds_eye(frame: FrameObstacles, options: ObstacleOptions) -> bytes:
    """Plot the obstacles of a frame from above, with the driving corridor.

    Args:
        frame: The frame.
        options: With which it was compared.
    """
    figure = new_figure(7.6, 4.2)
    axes = add_axes(figure, (1, 1, 1), title="obstacles from above")
    rows, columns = options.shape
    reach = rows * options.cell
    corridor = Rectangle(
        (-options.corridor / 2, 0), options.corridor, reach, color=BLUE, alpha=0.12, linewidth=0
    )
    axes.add_patch(corridor)
    angle = np.linspace(0, np.pi, 91)
    for ring in options.ranges[1:]:
        axes.plot(ring * np.cos(angle), ring * np.sin(angle), color=FAINT, linewidth=0.5)
        axes.annotate(f"{ring:g} m", (0, ring), color=FAINT, fontsize=7, ha="center", va="bottom")
    colours = ListedColormap([colour for _, colour in _NAMES.values()])
    axes.imshow(
        np.where(frame.grid == Cell.FREE, np.nan, frame.grid),
        cmap=colours,
        vmin=Cell.DETECTED,
        vmax=Cell.UNPREDICTED,
        origin="lower",
        extent=(-columns * options.cell / 2, columns * options.cell / 2, 0, reach),
        interpolation="nearest",
        zorder=3,
    )
    handles: list[Artist] = [
        Patch(color=colour, label=name)
        for kind, (name, colour) in _NAMES.items()
        if (frame.grid == kind).any()
    ]
    # The wider one is seen where both are the same.
    for name, distance, colour, width in (
        ("nearest ahead: truth", frame.nearest, INK, 3.0),
        ("nearest ahead: prediction", frame.nearest_predicted, ORANGE, 2.0),
    ):
        if distance is not None:
            half = width * options.corridor / 2
            ends = (-half, half), (distance, distance)
            handles += axes.plot(*ends, color=colour, linewidth=1.5, label=name, zorder=4)
    axes.plot(0, 0, "^", color=BLUE, markersize=7, clip_on=False, zorder=5)
    axes.legend(
        handles=handles,
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        loc="upper right",
    )
    axes.set(xlim=(-reach, reach), ylim=(0, 1.06 * reach), xlabel="metres to the right")
    axes.set_ylabel("metres ahead")
    axes.set_aspect("equal")
    axes.grid(visible=False)
    return to_png(figure)


def plot_obstacle_counts(counts: Sequence[ObstacleCounts], *, frames: int) -> bytes:
    """Plot bars of missed and of phantom obstacles for each range of distance.

    Args:
        counts: Of each range, nearest first.
        frames: Number of frames, at least one.
    """
    figure = new_figure(7.6, 2.8)
    names = [f"{count.near:g}-{count.far:g} m" for count in counts]
    of_true = [f"{name}\nof {count.obstacles}" for name, count in zip(names, counts, strict=True)]
    axes = add_axes(figure, (1, 2, 1), title="missed obstacles, share of the true ones")
    shares = [count.missed / count.obstacles if count.obstacles else 0.0 for count in counts]
    labels = [
        f"{count.missed / count.obstacles:.1%}" if count.obstacles else "none" for count in counts
    ]
    _bars(axes, shares, labels, of_true, colour=_RED)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes = add_axes(figure, (1, 2, 2), title="phantom obstacles a frame")
    rates = [count.phantoms / frames for count in counts]
    _bars(axes, rates, [f"{rate:.2f}" for rate in rates], names, colour=_YELLOW)
    return to_png(figure)


def plot_nearest(
    truth: Sequence[float], prediction: Sequence[float], *, times: Sequence[float] | None
) -> bytes:
    """Plot the distance to the nearest obstacle in the driving corridor, in the frames' order.

    Args:
        truth: One value a frame, metres; NaN where the corridor is free.
        prediction: Likewise.
        times: Seconds of each, or none to count the frames instead.
    """
    figure = new_figure(7.6, 2.6)
    axes = add_axes(figure, (1, 1, 1), title="nearest obstacle in the driving corridor, m")
    places = range(1, len(truth) + 1) if times is None else times
    for name, colour, values in (("truth", INK, truth), ("prediction", ORANGE, prediction)):
        axes.plot(places, values, ".-", color=colour, markersize=3, linewidth=0.8, label=name)
    axes.set_xlabel("image" if times is None else "seconds from the first image")
    if times is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Also where it is free in both.
    axes.plot((places[0], places[-1]), (0, 0), alpha=0)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return to_png(figure)


def _bars(
    axes: Axes,
    heights: Sequence[float],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    colour: str,
) -> None:
    bars = axes.bar(range(len(heights)), heights, color=colour, width=0.62)
    axes.bar_label(bars, labels, padding=2, fontsize=8, color=INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.2 * max(heights) or 1)
    axes.grid(visible=False, axis="x")
