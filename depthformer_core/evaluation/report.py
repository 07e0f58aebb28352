"""One HTML page about an evaluation, with everything inside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.curves import TrainingCurves, loss_curve
from depthformer_core.evaluation.evaluate import Evaluation, Row
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.metrics import (
    KITTI_BENCHMARK_METRICS,
    METRIC_MEANINGS,
    METRICS,
    better_direction,
)
from depthformer_core.evaluation.page import picture_uri, png_uri, render_page
from depthformer_core.evaluation.panels import (
    depth_legend,
    error_legend,
    error_panel,
    prediction_panel,
    truth_panel,
)
from depthformer_core.evaluation.plots import (
    plot_calibration,
    plot_course,
    plot_density,
    plot_depths,
    plot_distances,
    plot_histogram,
    plot_latency_course,
    plot_latency_histogram,
    plot_predicted,
    plot_rows,
    plot_sparsification,
    seconds_since_first,
)
from depthformer_core.evaluation.training_plots import plot_evaluations, plot_loss
from depthformer_core.evaluation.uncertainty import TABLE_COLUMNS, Uncertainty
from depthformer_core.visualize import depth_range, depth_ticks

if TYPE_CHECKING:
    from depthformer_core.evaluation.cloud_view import CloudView

_TEMPLATE = "report.html.j2"
_SHADES = 256


@dataclass(frozen=True)
class _Metric:
    name: str
    value: float
    interval: Interval
    better: str
    meaning: str


@dataclass(frozen=True)
class Plot:
    """A picture as a data URI, and its caption; `wide` ones take two columns."""

    caption: str
    uri: str
    wide: bool = False


@dataclass(frozen=True)
class TableRow:
    """A line of a table.

    Attributes:
        name: Name of the figure.
        values: Its value for each column; NaN where there is none.
        meaning: What it means.
        best: Columns of the best values, from 0, which are marked.
    """

    name: str
    values: Sequence[float]
    meaning: str
    best: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A table of a page, with pictures below it.

    Attributes:
        title: Its heading.
        columns: Names of the columns of values.
        rows: The lines.
        lead: A sentence below the table.
        plots: The pictures.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[TableRow]
    lead: str = ""
    plots: Sequence[Plot] = ()


@dataclass(frozen=True)
class _Legend:
    """Colour bar as a data URI, and where along it, in percent, which labels stand."""

    bar: str
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Exhibit:
    """Pictures of one image: label and data URI of each, and the legends of their colours."""

    file: str
    row: Row
    pictures: list[tuple[str, str]]
    legends: list[_Legend]


def render_report(
    evaluation: Evaluation,
    *,
    about: Mapping[str, str],
    warnings: Sequence[str],
    latency: Latency | None = None,
    curves: TrainingCurves | None = None,
    sections: Sequence[Section] = (),
    cloud: "CloudView | None" = None,
) -> str:
    """Write a page that needs no other file and no network.

    Args:
        evaluation: The evaluation; its worst and best images, or its first, are pictured.
        about: Names of model, data and settings of the evaluation.
        warnings: Sentences on why the numbers may mislead.
        latency: Times of the predictions of a node.
        curves: Curves of the run that trained the network.
        sections: Further tables.
        cloud: View of the clouds of one image, by `cloud_view`; the worst is meant.

    Returns:
        HTML.
    """
    rows = {row["file"]: row for row in evaluation.per_image}
    uncertainty = evaluation.uncertainty
    worst = evaluation.worst
    shown = {comparison.file for comparison in worst}
    # With few images the best are among the worst.
    best = [comparison for comparison in evaluation.best if comparison.file not in shown]
    groups = (("Worst images", worst), ("Best images", best), ("First images", evaluation.first))
    return render_page(
        _TEMPLATE,
        about=about,
        warnings=warnings,
        protocol=evaluation.protocol.describe(),
        images=len(evaluation.per_image),
        compared=any(row["pixels"] for row in evaluation.per_image),
        mean=evaluation.mean,
        interval=evaluation.interval,
        scale=evaluation.scale,
        coverage=evaluation.coverage,
        seconds=evaluation.seconds,
        training_plots=[] if curves is None else _training_plots(curves),
        metrics=_metrics(evaluation.mean, evaluation.interval),
        kitti_benchmark=_metrics(evaluation.kitti_benchmark or {}, evaluation.interval),
        plots=_plots(evaluation),
        uncertainty=[] if uncertainty is None else uncertainty.table(),
        uncertainty_columns=TABLE_COLUMNS,
        uncertainty_plots=[] if uncertainty is None else _uncertainty_plots(uncertainty),
        sections=sections,
        latency=None if latency is None else latency.summary(),
        latency_meaning="" if latency is None else latency.meaning,
        latency_plots=[] if latency is None else _latency_plots(latency),
        groups=[
            (title, [_exhibit(comparison, rows[comparison.file]) for comparison in comparisons])
            for title, comparisons in groups
            if comparisons
        ],
        cloud=cloud,
        columns=_columns(evaluation),
        rows=evaluation.per_image,
    )


def _columns(evaluation: Evaluation) -> list[str]:
    """List the names of the numbers of each image, in the order of the means."""
    servers = KITTI_BENCHMARK_METRICS if evaluation.kitti_benchmark is not None else ()
    others = [name for name in servers if name not in METRICS]
    return [*METRICS, *others, "scale", "coverage", "pixels"]


def _metrics(values: Mapping[str, float], intervals: Mapping[str, Interval]) -> list[_Metric]:
    return [
        _Metric(
            name=name,
            value=value,
            interval=intervals[name],
            better=better_direction(name),
            meaning=METRIC_MEANINGS[name],
        )
        for name, value in values.items()
    ]


def _plots(evaluation: Evaluation) -> list[Plot]:
    """Plot the errors; return no plots where nothing was compared."""
    rows = evaluation.per_image
    errors = [row["abs_rel"] for row in rows]
    known = [error for error in errors if not math.isnan(error)]
    if not known:
        return []
    mean, interval = evaluation.mean["abs_rel"], evaluation.interval["abs_rel"]
    course = plot_course(
        errors,
        times=seconds_since_first([row["file"] for row in rows]),
        mean=mean,
        interval=interval,
    )
    return [
        Plot(
            "Error by true distance, over the pixels of all images. Under each range: its share of "
            "the compared pixels.",
            png_uri(plot_distances(evaluation.by_distance)),
            wide=True,
        ),
        Plot(
            "Error of each image, in their order. The line is the mean, the band its "
            "95 % interval.",
            png_uri(course),
            wide=True,
        ),
        Plot(
            "Error by height in the evaluated part of the image, over the pixels of all images.",
            png_uri(plot_rows(evaluation.by_row)),
        ),
        Plot("Number of images by error.", png_uri(plot_histogram(known, mean=mean))),
        Plot(
            "Prediction against truth. Solid line: both agree; dotted lines: a factor "
            "of 1.25 apart.",
            png_uri(plot_density(evaluation.density)),
        ),
        Plot(
            "How often each depth occurs in the truth and in the predictions, at the same pixels.",
            png_uri(plot_depths(evaluation.density)),
        ),
    ]


def _training_plots(curves: TrainingCurves) -> list[Plot]:
    """Plot the loss and the evaluations; only what the run has."""
    plots = []
    loss = loss_curve(curves)
    if loss is not None:
        caption = "Loss of each iteration"
        if loss.size > 1:
            caption = f"Loss: the lowest to the highest of each {loss.size:,} iterations"
        if loss.window > 1:
            caption += f", and the mean over the {loss.window:,} iterations around each point"
        caption += ". Below: the learning rate."
        if len(curves.skipped):
            caption += (
                " Iterations skipped, because loss or gradient was not finite: "
                f"{len(curves.skipped):,}."
            )
        plots.append(Plot(caption, png_uri(plot_loss(loss)), wide=True))
    best = curves.best()
    if best is not None:
        caption = (
            "Evaluations during the training: abs_rel (lower is better) and a1 (higher is "
            "better). Marked: the evaluation with the lowest abs_rel, "
            f"{curves.metrics['abs_rel'][best]:.4f}, after iteration {curves.evaluated[best]:,}."
        )
        plots.append(Plot(caption, png_uri(plot_evaluations(curves)), wide=True))
    return plots


def _uncertainty_plots(uncertainty: Uncertainty) -> list[Plot]:
    return [
        Plot(
            "Calibration: share of the truth within k scales of the prediction. Below the dashed "
            "line the network is too sure, above it too careful.",
            png_uri(plot_calibration(uncertainty)),
        ),
        Plot(
            "Sparsification: error of what remains when the most uncertain pixels of each image "
            "are left out. The nearer to the dashed line, the better.",
            png_uri(plot_sparsification(uncertainty)),
        ),
    ]


def _latency_plots(latency: Latency) -> list[Plot]:
    """Plot the prediction times; only the drops where there is no prediction."""
    plots = []
    if latency.durations:
        plots += [
            Plot(
                "Time from sending each image to its prediction; marks at the foot are images "
                "without prediction.",
                png_uri(plot_latency_course(latency)),
                wide=True,
            ),
            Plot(
                "Distribution of the prediction times, with the times within which 50, 95 and "
                "99 % came.",
                png_uri(plot_latency_histogram(latency)),
            ),
        ]
    if latency.sent:
        plots.append(
            Plot(
                "Shares of the images sent at each time with and without prediction.",
                png_uri(plot_predicted(latency)),
            )
        )
    return plots


def _exhibit(comparison: Comparison, row: Row) -> Exhibit:
    """Return the pictures of an image of one source."""
    return exhibit({"": comparison}, row)


def exhibit(comparisons: Mapping[str, Comparison], row: Row) -> Exhibit:
    """Return the pictures of an image; truth and errors only where there are any.

    Args:
        comparisons: The same image of each source, by the source's name.
        row: Its metrics.
    """
    first = next(iter(comparisons.values()))
    known = (np.isfinite(first.truth) & (first.truth > 0)).any()
    near, far = depth_range(first.truth if known else first.prediction)
    pictures = [("Image", first.rgb)]
    legends = [
        _Legend(
            picture_uri(depth_legend(near=near, far=far, count=_SHADES)),
            [
                (100 * math.log(tick / near) / math.log(far / near), f"{tick:g} m")
                for tick in depth_ticks(near, far, steps=(1, 2, 5))
            ],
        )
    ]
    if known:
        pictures.append(("Truth", truth_panel(first, near=near, far=far)))
    compared = False
    for name, comparison in comparisons.items():
        of = f" of {name}" if name else ""
        pictures.append((f"Prediction{of}", prediction_panel(comparison, near=near, far=far)))
        if comparison.scored.any():
            compared = True
            label = f"Prediction{of} / truth: blue is too near, red too far"
            pictures.append((label, error_panel(comparison)))
    if compared:
        ratios = ((0.5, "0.5"), (0.8, "0.8"), (1.0, "1"), (1.25, "1.25"), (2.0, "2"))
        legends.append(
            _Legend(
                picture_uri(error_legend(count=_SHADES)),
                [(50 + 50 * math.log2(ratio), text) for ratio, text in ratios],
            )
        )
    return Exhibit(
        file=first.file,
        row=row,
        pictures=[(label, picture_uri(picture)) for label, picture in pictures],
        legends=legends,
    )
