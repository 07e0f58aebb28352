"""Tables and a picture of the results."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import FigureBase

from depthformer_core.evaluation.figures import (
    BLUE,
    INK,
    ORANGE,
    add_axes,
    new_figure,
    to_png,
)
from depthformer_core.studies.closed_loop.conditions import CONDITIONS, Views
from depthformer_core.studies.closed_loop.drive import PERIOD, Perception
from depthformer_core.studies.closed_loop.results import Result
from depthformer_core.studies.closed_loop.scenario import (
    BLOCKED,
    CORRIDOR_MARGIN,
    KINDS,
    Kind,
)
from depthformer_core.types import FloatingArray

Results = Sequence[Sequence[Result]]
"""The results of each seed."""

_EXACT, _NETWORK = CONDITIONS[0], CONDITIONS[2]
# Of the obstacle layer in the picture, metres ahead of the front bumper and to each side.
_AHEAD, _ASIDE = 18.0, 6.0


def format_tables(results: Results, *, checkpoint: str) -> str:
    """Format results as two Markdown tables: of all drives, and of each kind of drive."""
    blocked, drives = _count(results, BLOCKED), _count(results, KINDS)
    rows = [
        f"| depth | collisions, of {blocked} | their mean speed, m/s "
        f"| braked needlessly, of {drives} | stood on, of {drives} | distance kept, m |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for condition in CONDITIONS:
        of = [[row for row in seed if row.condition == condition.name] for seed in results]
        hits = [row.outcome.collision for seed in of for row in seed]
        speeds = [speed for speed in hits if speed is not None]
        kept = [[d for row in seed if (d := row.outcome.kept) is not None] for seed in of]
        medians = [statistics.median(seed) for seed in kept if seed]
        rows.append(
            f"| {_name(condition.name, checkpoint)} | {_counts(of, _collided)} "
            f"| {f'{statistics.mean(speeds):.1f}' if speeds else '-'} "
            f"| {_counts(of, _braked)} | {_counts(of, _stuck)} | {_spread(medians, '.1f')} |"
        )
    return "\n".join([*rows, "", *_kinds(results, checkpoint)])


def _kinds(results: Results, checkpoint: str) -> list[str]:
    everything = [row for seed in results for row in seed]
    heads = [f"collisions: {kind}" for kind in BLOCKED] + [f"needless: {kind}" for kind in KINDS]
    rows = [
        f"| depth | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(heads)}",
    ]
    for condition in CONDITIONS:
        of = [row for row in everything if row.condition == condition.name]
        cells = [sum(_collided(row) for row in of if row.kind == kind) for kind in BLOCKED]
        cells += [sum(_needless(row) for row in of if row.kind == kind) for kind in KINDS]
        numbers = " | ".join(str(cell) for cell in cells)
        rows.append(f"| {_name(condition.name, checkpoint)} | {numbers} |")
    return rows


def plot_results(results: Results, *, checkpoint: str, drives: Mapping[Kind, Views]) -> bytes:
    """Plot three drives and the shares of collisions and of needless stops, as a PNG file.

    Args:
        results: Results of each seed.
        checkpoint: Name of the network.
        drives: What the camera sees on a drive of each kind with an obstacle.
    """
    figure = new_figure(9.6, 8.0)
    parts = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.15))
    above, below = (figure.add_subfigure(parts[row]) for row in range(2))
    for place, kind in enumerate(BLOCKED, start=1):
        _plot_drive(above, place, kind, drives[kind])
    names = [condition.name.replace("network", checkpoint) for condition in CONDITIONS]
    panels: tuple[tuple[str, str, Callable[[Result], bool], Sequence[Kind]], ...] = (
        ("collisions, % of drives with an obstacle", ORANGE, _collided, BLOCKED),
        ("braked or stood needlessly, % of all drives", BLUE, _needless, KINDS),
    )
    for place, (title, colour, counted, kinds) in enumerate(panels, start=1):
        axes = add_axes(below, (1, 2, place), title=title)
        for row, condition in enumerate(CONDITIONS):
            shares = [
                100 * statistics.mean(counted(r) for r in _rows(seed, condition.name, kinds))
                for seed in results
            ]
            axes.barh(row, statistics.mean(shares), color=colour, height=0.62)
            axes.plot(shares, [row] * len(shares), ".", color=INK, markersize=3, clip_on=False)
        axes.set_yticks(range(len(names)), names if place == 1 else [""] * len(names))
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
    return to_png(figure)


def _plot_drive(figure: FigureBase, place: int, kind: Kind, views: Views) -> None:
    """Plot what the camera sees as the brake begins, and the obstacle layer from above."""
    scenario = views.scenario
    layers = [Perception(scenario, views, condition) for condition in (_EXACT, _NETWORK)]
    s, time = 0.0, 0.0
    while all(layer.look(s, time) is None for layer in layers) and s < scenario.end:
        s, time = s + PERIOD * scenario.speed, time + PERIOD
    image = add_axes(figure, (2, 3, place), title=kind)
    image.imshow(views.picture(s, time))
    image.set_axis_off()
    axes = add_axes(figure, (2, 3, 3 + place), title="")
    course = scenario.course
    vehicle = course.vehicle
    bumper = course.pose(s).ahead(vehicle.front)

    def around(places: FloatingArray) -> tuple[FloatingArray, FloatingArray]:
        """Return how far ahead of the bumper and to its right places (N, 2) are."""
        x, z = places[:, 0] - bumper.x, places[:, 1] - bumper.z
        sine, cosine = np.sin(bumper.yaw), np.cos(bumper.yaw)
        return sine * x + cosine * z, cosine * x - sine * z

    for layer, name, colour, side in zip(
        layers, ("exact", "predicted"), (INK, ORANGE), (2.4, 1.4), strict=True
    ):
        places = around(layer.layer.obstacles())
        axes.plot(*places, "s", color=colour, markersize=side, markeredgewidth=0, label=name)
    ahead = course.at(s + vehicle.front + np.linspace(0, scenario.reach, 40))
    middle = around(ahead[:, :2])
    half = vehicle.width / 2 + CORRIDOR_MARGIN
    axes.fill_between(middle[0], middle[1] - half, middle[1] + half, color=BLUE, alpha=0.15, lw=0)
    axes.set(xlim=(0, _AHEAD), ylim=(_ASIDE, -_ASIDE), xlabel="metres ahead of the bumper")
    axes.set_aspect("equal")
    if place == 1:
        axes.set_ylabel("metres to the right")
        axes.legend(fontsize=7, frameon=False, labelcolor=INK, loc="upper right", markerscale=2)


def _rows(seed: Sequence[Result], condition: str, kinds: Sequence[Kind]) -> list[Result]:
    return [row for row in seed if row.condition == condition and row.kind in kinds]


def _count(results: Results, kinds: Sequence[Kind]) -> int:
    return len(_rows(results[0], CONDITIONS[0].name, kinds))


def _collided(row: Result) -> bool:
    return row.outcome.collision is not None


def _braked(row: Result) -> bool:
    return row.outcome.braked


def _stuck(row: Result) -> bool:
    return row.outcome.stuck


def _needless(row: Result) -> bool:
    return row.outcome.braked or row.outcome.stuck


def _counts(seeds: Results, counted: Callable[[Result], bool]) -> str:
    return _spread([float(sum(counted(row) for row in seed)) for seed in seeds], "g")


def _spread(values: Sequence[float], form: str) -> str:
    """Format the mean of the seeds, with the range."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.1f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):{form}} to {max(values):{form}})"


def _name(condition: str, checkpoint: str) -> str:
    return condition.replace("network", f"`{checkpoint}`")
