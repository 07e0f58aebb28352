"""Plots of several sources of depth side by side, as PNG files."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from depthformer_core.evaluation.figures import INK, add_axes, new_figure, to_png
from depthformer_core.evaluation.pixel_errors import DistanceErrors, RowErrors


def source_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each source, in their order; ten, then from the start again."""
    palette = mpl.color_sequences["tab10"]
    return {
        name: mpl.colors.to_hex(palette[place % len(palette)]) for place, name in enumerate(names)
    }


def plot_source_distances(errors: Mapping[str, Sequence[DistanceErrors]]) -> bytes:
    """Plot the relative error of each source by range of true depth.

    Args:
        errors: The same ranges of every source by its name.
    """
    figure = new_figure(7.6, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="mean |error| / truth by true distance")
    colours = source_colours(list(errors))
    width = 0.8 / len(errors)
    for place, (name, ranges) in enumerate(errors.items()):
        heights = [0.0 if math.isnan(item.abs_rel) else item.abs_rel for item in ranges]
        offset = (place - (len(errors) - 1) / 2) * width
        axes.bar(
            np.arange(len(ranges)) + offset, heights, 0.92 * width, color=colours[name], label=name
        )
    ranges = next(iter(errors.values()))
    axes.set_xticks(range(len(ranges)), [f"{item.near:g}-{item.far:g} m" for item in ranges])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(visible=False, axis="x")
    _add_legend(axes)
    return to_png(figure)


def plot_source_rows(errors: Mapping[str, Sequence[RowErrors]]) -> bytes:
    """Plot the relative error of each source by band of image rows, as they lie in the image."""
    figure = new_figure(3.8, 3.2)
    axes = add_axes(figure, (1, 1, 1), title="mean |error| / truth by image row")
    colours = source_colours(list(errors))
    for name, bands in errors.items():
        middles = [(band.top + band.bottom) / 2 for band in bands]
        axes.plot(
            [band.abs_rel for band in bands], middles, "o-", color=colours[name], markersize=3,
            linewidth=1,
        )  # fmt: skip
    axes.set_ylim(1, 0)
    axes.set_yticks([0, 0.5, 1], ["top", "middle", "bottom"])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    return to_png(figure)


def plot_source_courses(
    values: Mapping[str, Sequence[float]],
    *,
    times: Sequence[float] | None,
    title: str,
    is_share: bool = True,
) -> bytes:
    """Plot a value of each image of each source, in their order.

    Args:
        values: One value an image of every source by its name; NaN where it has none.
        times: Seconds of each, or none to count the images instead.
        title: What the values are.
        is_share: Whether they are shares, which are shown in percent from 0.
    """
    figure = new_figure(7.6, 2.8)
    axes = add_axes(figure, (1, 1, 1), title=title)
    colours = source_colours(list(values))
    for name, course in values.items():
        places = range(1, len(course) + 1) if times is None else times
        axes.plot(places, course, ".-", color=colours[name], markersize=3, linewidth=0.7,
                  label=name)  # fmt: skip
    axes.set_xlabel("image" if times is None else "seconds from the first image")
    if is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(bottom=0)
    _add_legend(axes)
    return to_png(figure)


def _add_legend(axes: Axes) -> None:
    """Name the sources beside the axes, where they hide nothing."""
    axes.legend(
        fontsize=7,
        frameon=False,
        labelcolor=INK,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0,
    )
