"""Every figure of an evaluated source by its name, for tables, requirements and programs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from depthformer_core.evaluation.metrics import METRIC_MEANINGS, METRICS, better_direction
from depthformer_core.replay.sources import SourceEvaluation


@dataclass(frozen=True)
class Figure:
    """A number that an evaluation of a source has.

    Attributes:
        name: Its name in files and requirements.
        group: The table it belongs to.
        meaning: What it means, with its unit.
        better: `higher`, `lower`, or nothing where neither is.
        read: Returns it; NaN where it is not known.
    """

    name: str
    group: str
    meaning: str
    better: str
    read: Callable[[SourceEvaluation], float]


def _mean(metric: str) -> Callable[[SourceEvaluation], float]:
    return lambda source: source.evaluation.mean[metric]


def _aligned(alignment: str, metric: str) -> Callable[[SourceEvaluation], float]:
    return lambda source: source.aligned[alignment].mean[metric]


def _latency(name: str) -> Callable[[SourceEvaluation], float]:
    def read(source: SourceEvaluation) -> float:
        return math.nan if source.latency is None else source.latency.summary()[name]

    return read


def _of_latency() -> list[Figure]:
    meanings = {
        "answered": "images with a prediction",
        "dropped": "images without",
        "late": "predictions that came after the next image",
        "p50": "latency of half of the predictions, s",
        "p95": "latency of 95 %, s",
        "p99": "latency of 99 %, s",
        "max": "longest latency, s",
    }
    return [
        Figure(
            name, "Latency", meaning, "higher" if name == "answered" else "lower", _latency(name)
        )
        for name, meaning in meanings.items()
    ]


def _of_alignment() -> list[Figure]:
    kinds = {"median": "divided by the ratio of the medians", "least-squares": "after scale and "
             "shift of the inverse depth"}  # fmt: skip
    return [
        Figure(
            f"{metric}_{alignment.replace('-', '_')}",
            "Scale aligned in each image",
            f"{metric}, {kind}",
            better_direction(metric),
            _aligned(alignment, metric),
        )
        for alignment, kind in kinds.items()
        for metric in ("abs_rel", "rmse", "a1")
    ]


FIGURES: tuple[Figure, ...] = (
    *(
        Figure(name, "Metric depth", METRIC_MEANINGS[name], better_direction(name), _mean(name))
        for name in METRICS
    ),
    Figure(
        "scale",
        "Metric depth",
        "typical prediction / truth: below 1 is too near",
        "",
        lambda source: source.evaluation.scale,
    ),
    Figure(
        "coverage",
        "Metric depth",
        "share of the truth that has a prediction",
        "higher",
        lambda source: source.evaluation.coverage,
    ),
    *_of_alignment(),
    *_of_latency(),
)
"""All figures, in the order of the tables."""

NAMES: tuple[str, ...] = tuple(figure.name for figure in FIGURES)
"""Names that a requirement can bound."""


def figures(source: SourceEvaluation) -> dict[str, float]:
    """Return all figures of a source by name; NaN where one is not known."""
    return {figure.name: float(figure.read(source)) for figure in FIGURES}


def known_groups(sources: Sequence[SourceEvaluation]) -> dict[str, list[Figure]]:
    """Return the figures that any of the sources has, by the table they belong to."""
    groups: dict[str, list[Figure]] = {}
    for figure in FIGURES:
        if any(not math.isnan(figure.read(source)) for source in sources):
            groups.setdefault(figure.group, []).append(figure)
    return groups
