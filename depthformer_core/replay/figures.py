"""Every figure of an evaluated source by its name, for tables, requirements and programs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


def _optional(part: str, read: Callable[[Any], float]) -> Callable[[SourceEvaluation], float]:
    """Read a number of a part that a source may not have."""

    def value(source: SourceEvaluation) -> float:
        found = getattr(source, part)
        return math.nan if found is None else read(found)

    return value


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _of_time() -> list[Figure]:
    group = "Over time"
    return [
        Figure("drift", group, "change of the scale a minute, as a share", "",
               _optional("stability", lambda part: part.drift)),
        Figure("flicker", group, "deviation of the scale from its mean over a second, as a share",
               "lower", _optional("stability", lambda part: part.flicker)),
        Figure("delay", group, "by how much the content is older than its stamp, s", "",
               _optional("stability", lambda part: part.delay.seconds)),
        Figure("inconsistency", group,
               "typical difference from the prediction before, moved by the motion, as a share; "
               "without truth", "lower",
               _optional("consistency", lambda part: part.inconsistency)),
        Figure("flicker_without_truth", group, "flicker from consecutive predictions alone",
               "lower", _optional("consistency", lambda part: part.flicker)),
        Figure("ground_scale", group,
               "typical height of the camera over the predicted ground / true height; without "
               "truth", "", _optional("ground_scale", lambda part: part.scale)),
    ]  # fmt: skip


def _of_obstacles() -> list[Figure]:
    group = "Obstacles"

    def figure(name: str, meaning: str, better: str, read: Callable[[Any], float]) -> Figure:
        return Figure(name, group, meaning, better, _optional("obstacles", read))

    return [
        figure("obstacles", "true obstacles in all frames that have a prediction", "",
               lambda part: part.obstacles),
        figure("missed", "those of them that are missed", "lower", lambda part: part.missed),
        figure("phantoms", "predicted obstacles where there is none", "lower",
               lambda part: part.phantoms),
        figure("missed_share", "share of the true obstacles that are missed", "lower",
               lambda part: part.missed_share),
        figure("phantoms_per_frame", "mean of the phantoms of a frame", "lower",
               lambda part: part.phantoms_per_frame),
        figure("nearest_mae", "mean |error| of the nearest obstacle in the driving corridor, m",
               "lower", lambda part: part.nearest.mae),
        figure("nearest_bias", "mean error of it, m: positive is too far", "",
               lambda part: part.nearest.bias),
        figure("falsely_free", "share of the frames in which the corridor is free in the "
               "prediction alone", "lower",
               lambda part: _share(part.nearest.falsely_free, part.frames)),
        figure("falsely_blocked", "share of the frames in which it is free in the truth alone",
               "lower", lambda part: _share(part.nearest.falsely_blocked, part.frames)),
        figure("contact_error", "median |error| of a time to contact under 10 s, s", "lower",
               lambda part: part.contact.median_error),
        figure("late_contacts", "share of the frames under 3 s to contact in which the prediction "
               "says much more, or nothing", "lower", lambda part: part.contact.late_share),
    ]  # fmt: skip


def _scale(source: SourceEvaluation) -> float:
    known = source.stability is not None and not math.isnan(source.stability.scale)
    # Medians of each image are not bent by what is moved into the range.
    return source.stability.scale if known and source.stability else source.evaluation.scale


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
        _scale,
    ),
    Figure(
        "coverage",
        "Metric depth",
        "share of the truth that has a prediction",
        "higher",
        lambda source: source.evaluation.coverage,
    ),
    *_of_alignment(),
    *_of_time(),
    *_of_obstacles(),
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
