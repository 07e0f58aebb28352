"""Two evaluations side by side as a table, JSON and an HTML page."""

import dataclasses
import math
from dataclasses import dataclass

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.compare import MetricChange, RunComparison
from depthformer_core.evaluation.metrics import METRIC_MEANINGS, METRICS
from depthformer_core.evaluation.page import png_uri, render_page
from depthformer_core.evaluation.plots import (
    plot_changes,
    plot_differences,
    plot_pairs,
    seconds_since_first,
)
from depthformer_core.evaluation.results import align, interval, number, strict_json

_TEMPLATE = "compare.html.j2"
_LISTED = 5  # images in the table for a terminal
_VERDICTS = {"first": "A", "second": "B", None: "no clear difference"}


@dataclass(frozen=True)
class _Verdict:
    """A metric with the verdict and its meaning."""

    change: MetricChange
    better: str
    meaning: str


def format_comparison(comparison: RunComparison) -> str:
    """Lay means, differences and the images that changed most out for a terminal."""
    header = ("metric", "A", "95 % interval", "B", "95 % interval", "B - A", "95 % interval")
    rows = [
        (
            change.metric,
            *_with_interval(change.first, change.first_interval),
            *_with_interval(change.second, change.second_interval),
            *_with_interval(change.difference, change.difference_interval),
            _VERDICTS[change.better],
        )
        for change in comparison.metrics
    ]
    parts = [
        f"A: {comparison.first.path}\nB: {comparison.second.path}",
        align([(*header, "better"), *rows]),
    ]
    if speed := _speed(comparison):
        figures = [(name, number(first), number(second)) for name, first, second in speed]
        parts.append(align([("speed", "A", "B"), *figures]))
    if largest := comparison.largest[:_LISTED]:
        images = [
            (image.file, *map(number, (image.first, image.second, image.difference)))
            for image in largest
        ]
        parts.append(align([("largest changes of abs_rel", "A", "B", "B - A"), *images]))
    return "\n\n".join(parts)


def comparison_to_json(comparison: RunComparison) -> str:
    """Write a comparison as strict JSON.

    Returns:
        An object with `metrics`, `images` (the largest change first) and more; null where there is
        no value.
    """
    values = {
        "first": {"path": comparison.first.path, "about": comparison.first.about},
        "second": {"path": comparison.second.path, "about": comparison.second.about},
        "warnings": comparison.warnings(),
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
        "metrics": {
            change.metric: {
                "first": change.first,
                "first_interval": list(change.first_interval),
                "second": change.second,
                "second_interval": list(change.second_interval),
                "difference": change.difference,
                "difference_interval": list(change.difference_interval),
                "better": change.better,
            }
            for change in comparison.metrics
        },
        "speed": {
            name: {"first": first, "second": second} for name, first, second in _speed(comparison)
        },
        "images": [
            {**dataclasses.asdict(image), "difference": image.difference}
            for image in comparison.largest
        ],
    }
    return strict_json(values)


def render_comparison(comparison: RunComparison) -> str:
    """Write a page that needs no other file and no network.

    Returns:
        HTML.
    """
    first, second = comparison.first, comparison.second
    main = next(change for change in comparison.metrics if change.metric == "abs_rel")
    return render_page(
        _TEMPLATE,
        runs=(("A", first.path), ("B", second.path)),
        warnings=comparison.warnings(),
        about=[
            (name, first.about.get(name, "-"), second.about.get(name, "-"))
            for name in {**first.about, **second.about}
        ],
        main=main,
        verdicts=[
            _Verdict(change, _VERDICTS[change.better], METRIC_MEANINGS[change.metric])
            for change in comparison.metrics
        ],
        speed=_speed(comparison),
        plots=_plots(comparison, main),
        images=comparison.largest,
    )


def _plots(comparison: RunComparison, main: MetricChange) -> list[tuple[str, str, bool]]:
    """Return caption, data URI and width flag of each plot; none without a common value."""
    largest = comparison.largest
    if not largest:
        return []
    course = plot_differences(
        [image.difference for image in comparison.images],
        times=seconds_since_first([image.file for image in comparison.images]),
        mean=main.difference,
        interval=main.difference_interval,
    )
    # What was 0 has no relative change.
    scales = [change.first or math.nan for change in comparison.metrics]
    changes = plot_changes(
        METRICS,
        [
            change.difference / scale
            for change, scale in zip(comparison.metrics, scales, strict=True)
        ],
        [
            (change.difference_interval[0] / scale, change.difference_interval[1] / scale)
            for change, scale in zip(comparison.metrics, scales, strict=True)
        ],
    )
    pairs = plot_pairs([image.first for image in largest], [image.second for image in largest])
    return [
        (
            "Difference of each image, in their order: below 0, B is better. The "
            "line is the mean, the band its 95 % interval.",
            png_uri(course),
            True,
        ),
        ("One dot an image: below the line, B is better.", png_uri(pairs), False),
        (
            "Change of each mean as a share of A's, with its 95 % interval. More is better for a1, "
            "a2 and a3, less for all others.",
            png_uri(changes),
            False,
        ),
    ]


def _speed(comparison: RunComparison) -> list[tuple[str, float, float]]:
    """Return names and values of the speed figures that both evaluations have."""
    first, second = comparison.first.speed, comparison.second.speed
    return [(name, first[name], second[name]) for name in first if name in second]


def _with_interval(value: float, ends: Interval) -> tuple[str, str]:
    return number(value), interval(ends)
