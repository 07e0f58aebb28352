"""One HTML page about an evaluation, with everything inside it."""

import base64
import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import jinja2

from depthformer_core.evaluation.comparison import Comparison, Rgb
from depthformer_core.evaluation.evaluate import Evaluation, Row
from depthformer_core.evaluation.metrics import KITTI_BENCHMARK_METRICS, METRICS
from depthformer_core.evaluation.panels import (
    depth_legend,
    error_legend,
    error_panel,
    prediction_panel,
    truth_panel,
)
from depthformer_core.evaluation.plots import plot_density, plot_distances, plot_histogram
from depthformer_core.visualize import depth_range

_TEMPLATE = "report.html.j2"
_QUALITY = 88  # of JPEG
_SHADES = 256
_MEANINGS = {
    "a1": "share of pixels within a factor of 1.25 of the truth",
    "a2": "within a factor of 1.25² = 1.56",
    "a3": "within a factor of 1.25³ = 1.95",
    "abs_rel": "mean of |error| / truth",
    "rmse": "root mean square error, metres",
    "log_10": "mean of |log10 estimate - log10 truth|",
    "rmse_log": "root mean square of ln estimate - ln truth",
    "silog": "100 times the standard deviation of ln estimate - ln truth; blind to scale",
    "sq_rel": "mean of error² / truth, metres",
    "sq_error_rel": "mean of (error / truth)², percent",
    "abs_error_rel": "mean of |error| / truth, percent",
    "irmse": "root mean square error of inverse depth, 1/km",
}
_HIGHER_IS_BETTER = ("a1", "a2", "a3")


@dataclass(frozen=True)
class _Metric:
    name: str
    value: str
    better: str
    meaning: str


@dataclass(frozen=True)
class _Legend:
    """Colour bar as a data URI, and where along it, in percent, which words stand."""

    bar: str
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class _Exhibit:
    file: str
    row: Row
    pictures: list[tuple[str, str]]
    legends: list[_Legend]


def render_report(
    evaluation: Evaluation, *, about: Mapping[str, str], warnings: Sequence[str]
) -> str:
    """Write a page that needs no other file and asks for none.

    Args:
        evaluation: What to show; its worst and best images are pictured.
        about: What was evaluated and with what, by name.
        warnings: Why the numbers may mislead, in sentences.

    Returns:
        HTML.
    """
    source = importlib.resources.files("depthformer_core.evaluation").joinpath(_TEMPLATE)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "percent": _percent}
    rows = {row["file"]: row for row in evaluation.per_image}
    worst = evaluation.worst
    shown = {comparison.file for comparison in worst}
    # With few images the best are among the worst.
    best = [comparison for comparison in evaluation.best if comparison.file not in shown]
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        about=about,
        warnings=warnings,
        protocol=evaluation.protocol.describe(),
        images=len(evaluation.per_image),
        mean=evaluation.mean,
        scale=evaluation.scale,
        coverage=evaluation.coverage,
        seconds=evaluation.seconds,
        metrics=_metrics(evaluation.mean),
        kitti_benchmark=_metrics(evaluation.kitti_benchmark or {}),
        plots=_plots(evaluation),
        groups=[
            (title, [_exhibit(comparison, rows[comparison.file]) for comparison in comparisons])
            for title, comparisons in (("Worst images", worst), ("Best images", best))
            if comparisons
        ],
        columns=_columns(evaluation),
        rows=evaluation.per_image,
    )


def _columns(evaluation: Evaluation) -> list[str]:
    """Names of the numbers of each image, in the order of the means."""
    servers = KITTI_BENCHMARK_METRICS if evaluation.kitti_benchmark is not None else ()
    others = [name for name in servers if name not in METRICS]
    return [*METRICS, *others, "scale", "coverage", "pixels"]


def _metrics(values: Mapping[str, float]) -> list[_Metric]:
    return [
        _Metric(
            name=name,
            value=_number(value),
            better="higher" if name in _HIGHER_IS_BETTER else "lower",
            meaning=_MEANINGS[name],
        )
        for name, value in values.items()
    ]


def _plots(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Words and data URI of each plot; none where nothing was compared."""
    errors = [row["abs_rel"] for row in evaluation.per_image if row["pixels"]]
    if not errors:
        return []
    plots = (
        ("Error by true distance", plot_distances(evaluation.by_distance)),
        ("Error over images", plot_histogram(errors, mean=evaluation.mean["abs_rel"])),
        ("Estimate against truth", plot_density(evaluation.density)),
    )
    return [(title, _uri(png, kind="png")) for title, png in plots]


def _exhibit(comparison: Comparison, row: Row) -> _Exhibit:
    near, far = depth_range(comparison.truth)
    pictures = (
        ("Image", comparison.rgb),
        ("Truth", truth_panel(comparison, near=near, far=far)),
        ("Estimate", prediction_panel(comparison, near=near, far=far)),
        ("Estimate / truth: blue is too near, red too far", error_panel(comparison)),
    )
    depth = _Legend(
        _jpeg(depth_legend(near=near, far=far, count=_SHADES)),
        [
            (100 * math.log(tick / near) / math.log(far / near), f"{tick:g} m")
            for tick in _ticks(near, far)
        ],
    )
    error = _Legend(
        _jpeg(error_legend(count=_SHADES)),
        [
            (50 + 50 * math.log2(ratio), text)
            for ratio, text in (
                (0.5, "0.5"),
                (0.8, "0.8"),
                (1.0, "1"),
                (1.25, "1.25"),
                (2.0, "2"),
            )
        ],
    )
    return _Exhibit(
        file=comparison.file,
        row=row,
        pictures=[(label, _jpeg(picture)) for label, picture in pictures],
        legends=[depth, error],
    )


def _ticks(near: float, far: float) -> list[float]:
    decades = range(math.floor(math.log10(near)), math.ceil(math.log10(far)) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [tick for tick in ticks if near <= tick <= far]


def _jpeg(rgb: Rgb) -> str:
    encoded, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert encoded, "JPEG takes every picture"
    return _uri(data.tobytes(), kind="jpeg")


def _uri(data: bytes, *, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _number(value: float) -> str:
    """Four digits behind the point, integers as they are, a dash for none."""
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.4f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"
