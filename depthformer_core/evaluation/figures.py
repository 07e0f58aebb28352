"""Figures of one size of text and one set of colours, as PNG files."""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

INK = "#1f2933"
FAINT = "#9aa5b1"
BLUE = "#2b6cb0"
ORANGE = "#c05621"

_DOTS_PER_INCH = 160


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_axes(
    figure: FigureBase, place: tuple[int, int, int | tuple[int, int]], *, title: str
) -> Axes:
    """Add axes with a title.

    Args:
        figure: The figure, or a part of it.
        place: Rows and columns of a grid, and the cell of it, from 1, or the first and the last.
        title: Its text, above the left end.
    """
    axes = figure.add_subplot(*place)
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.tick_params(labelsize=8, colors=INK, color=FAINT)
    axes.xaxis.label.set(fontsize=8, color=INK)
    axes.yaxis.label.set(fontsize=8, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def to_png(figure: Figure) -> bytes:
    """Draw a figure as a PNG file."""
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
