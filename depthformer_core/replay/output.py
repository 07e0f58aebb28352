"""The results of a replay as files and as text for a terminal."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthformer_core.evaluation.obstacle_plots import plot_birds_eye, plot_obstacle_counts
from depthformer_core.evaluation.output import write_evaluation
from depthformer_core.evaluation.page import png_uri, render_page
from depthformer_core.evaluation.plots import seconds_since_first
from depthformer_core.evaluation.ranking import RANKED_BY, rank_sources
from depthformer_core.evaluation.report import Plot, Section, TableRow, exhibit
from depthformer_core.evaluation.results import (
    align,
    format_table,
    interval,
    number,
    strict_json,
    to_values,
)
from depthformer_core.evaluation.source_plots import (
    plot_source_courses,
    plot_source_distances,
    plot_source_rows,
)
from depthformer_core.evaluation.stability_plots import (
    plot_consistency,
    plot_delay,
    plot_ground_scale,
    plot_scale,
)
from depthformer_core.files import write_texts
from depthformer_core.replay.evaluation import Replay
from depthformer_core.replay.figures import Figure, figures, known_groups
from depthformer_core.replay.sources import SourceEvaluation

if TYPE_CHECKING:
    from depthformer_core.evaluation.cloud_view import CloudView

# Tables that the page of one source has elsewhere.
_SHOWN_ELSEWHERE = ("Metric depth", "Latency")

_LEADS = {
    "Scale aligned in each image": "Each image is brought to the truth's scale first, as networks "
    "without a scale of their own are judged: by the ratio of the medians, or by scale and shift "
    "of the inverse depth.",
    "Over time": "Flicker is what changes from frame to frame, drift what adds up. The "
    "inconsistency needs no truth: each prediction is moved by the camera's motion and compared "
    "with the next.",
    "Obstacles": "Pixels of a height range over the ground, grouped on a grid. Missed: the "
    "prediction sees through them. Phantom: the truth sees through them.",
}


def write_replay(folder: Path, replay: Replay, *, about: Mapping[str, str]) -> list[str]:
    """Write `results.json`, `per_image.csv` and `report.html`.

    Args:
        folder: The folder; made where it is missing.
        replay: The evaluation.
        about: Description of the evaluation.

    Returns:
        Names of the files.

    Raises:
        OSError: A file cannot be written.
    """
    warnings = replay_warnings(replay)
    if len(replay.sources) == 1:
        source = replay.sources[0]
        return write_evaluation(
            folder,
            source.evaluation,
            about=about,
            warnings=warnings,
            latency=source.latency,
            more=_values(source),
            sections=_sections(replay.sources, leave_out=_SHOWN_ELSEWHERE),
            cloud=_cloud(replay),
        )
    files = {
        "results.json": _to_json(replay, about=about, warnings=warnings),
        "per_image.csv": _to_csv(replay.sources),
        "report.html": _render(replay, about=about, warnings=warnings),
    }
    write_texts(folder, files)
    return list(files)


def replay_warnings(replay: Replay) -> list[str]:
    """Return sentences on why the numbers may mislead."""
    sentences = list(replay.notes)
    several = len(replay.sources) > 1
    for source in replay.sources:
        prefix = f"{source.name}: " if several else ""
        sentences += [f"{prefix}{warning}" for warning in source.evaluation.warnings()]
        if source.alignment != "none":
            sentences.append(
                f"{source.name} is relative depth: each image is aligned to the truth by "
                f"{source.alignment} first, so its figures are not metric."
            )
    return sentences


def format_replay(replay: Replay) -> str:
    """Format the results for a terminal."""
    if len(replay.sources) == 1:
        source = replay.sources[0]
        parts = [format_table(source.evaluation)]
        groups = known_groups(replay.sources)
        for title, group in groups.items():
            if title in _SHOWN_ELSEWHERE:
                continue
            names = [figure.name for figure in group]
            parts.append(align([names, [number(figure.read(source)) for figure in group]]))
        return "\n\n".join(parts)
    header = ("place", "source", RANKED_BY, "95 % interval", "to the best", "95 % interval")
    rows = [
        (
            str(rank.place),
            rank.name,
            number(rank.mean),
            interval(rank.interval),
            number(rank.difference),
            interval(rank.difference_interval),
            ", ".join(rank.worse_than) or "none",
        )
        for rank in rank_sources(replay.pairs)
    ]
    parts = [align([(*header, "better beyond chance"), *rows])] if _common(replay) else []
    names = [source.name for source in replay.sources]
    for title, group in known_groups(replay.sources).items():
        lines = [
            (figure.name, *(number(figure.read(source)) for source in replay.sources))
            for figure in group
        ]
        parts.append(align([(title, *names), *lines]))
    return "\n\n".join(parts)


def _values(source: SourceEvaluation) -> dict[str, object]:
    """Return what a source has beside its evaluation, for JSON."""
    return {
        "source": {"name": source.name, "kind": source.kind, "alignment": source.alignment},
        "figures": figures(source),
        "aligned": {name: dataclasses.asdict(means) for name, means in source.aligned.items()},
        "stability": None if source.stability is None else dataclasses.asdict(source.stability),
        "consistency": (
            None if source.consistency is None else dataclasses.asdict(source.consistency)
        ),
        "ground_scale": (
            None if source.ground_scale is None else dataclasses.asdict(source.ground_scale)
        ),
        "obstacles": None if source.obstacles is None else source.obstacles.to_json(),
    }


def _to_json(replay: Replay, *, about: Mapping[str, str], warnings: Sequence[str]) -> str:
    common = _common(replay)
    return strict_json(
        {
            "ranking": [dataclasses.asdict(rank) for rank in rank_sources(replay.pairs)],
            "images": len(replay.evaluation.per_image),
            "common_images": common,
            "warnings": list(warnings),
            "protocol": dataclasses.asdict(replay.evaluation.protocol),
            "about": dict(about),
            "pairs": [dataclasses.asdict(pair) for pair in replay.pairs],
            "sources": {
                source.name: {
                    **_values(source),
                    **to_values(source.evaluation, latency=source.latency),
                    "per_image_common": source.paired,
                }
                for source in replay.sources
            },
        }
    )


def _to_csv(sources: Sequence[SourceEvaluation]) -> str:
    text = io.StringIO()
    names = ["source", *sources[0].evaluation.per_image[0]]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for source in sources:
        for row in source.evaluation.per_image:
            known = {
                name: "" if isinstance(value, float) and math.isnan(value) else value
                for name, value in row.items()
            }
            writer.writerow({"source": source.name, **known})
    return text.getvalue()


def _render(replay: Replay, *, about: Mapping[str, str], warnings: Sequence[str]) -> str:
    sources = replay.sources
    names = [source.name for source in sources]
    files = [row["file"] for row in replay.evaluation.per_image]
    errors = {source.name: [row[RANKED_BY] for row in source.paired] for source in sources}
    return render_page(
        "sources.html.j2",
        about=about,
        warnings=warnings,
        protocol=replay.evaluation.protocol.describe(),
        ranks=rank_sources(replay.pairs),
        pairs=[vars(pair) for pair in replay.pairs],
        images=len(files),
        common=_common(replay),
        plots=_plots(sources, errors, files),
        sections=_sections(sources),
        cloud=_cloud(replay),
        groups=_exhibits(replay),
        names=names,
        rows=list(zip(files, zip(*errors.values(), strict=True), strict=True)),
    )


def _cloud(replay: Replay) -> "CloudView | None":
    """Return the clouds of the worst image, or of that in which the sources differ most."""
    shown = [*replay.contrasts]
    if len(replay.sources) == 1:
        source = replay.sources[0]
        of_source = (*source.evaluation.worst, *source.evaluation.first)
        shown = [{source.name: comparison} for comparison in of_source]
    for comparisons in shown:
        first = next(iter(comparisons.values()))
        if first.file in replay.cameras:
            # What lies beyond the range was moved to its end, where it would be a wall.
            limit = replay.evaluation.protocol.limit
            near = {
                name: dataclasses.replace(
                    comparison,
                    prediction=np.where(
                        comparison.prediction < limit, comparison.prediction, np.float32(np.nan)
                    ),
                )
                for name, comparison in comparisons.items()
            }
            # Megabytes of Plotly, for this picture alone.
            from depthformer_core.evaluation.cloud_view import cloud_view

            return cloud_view(near, replay.cameras[first.file])
    return None


def _common(replay: Replay) -> int:
    """Count the images in which all sources have depth."""
    return sum(not math.isnan(row[RANKED_BY]) for row in replay.sources[0].paired)


def _plots(
    sources: Sequence[SourceEvaluation], errors: Mapping[str, list[float]], files: Sequence[str]
) -> list[Plot]:
    if all(math.isnan(value) for course in errors.values() for value in course):
        return []
    course = plot_source_courses(
        errors, times=seconds_since_first(files), title="mean |error| / truth of each image"
    )
    by_distance = {source.name: source.evaluation.by_distance for source in sources}
    by_row = {source.name: source.evaluation.by_row for source in sources}
    return [
        Plot("Error by true distance, over all pixels of each source.",
             png_uri(plot_source_distances(by_distance)), wide=True),
        Plot("Error of each image on the pixels that all sources have.", png_uri(course),
             wide=True),
        Plot("Error by height in the evaluated part of the image.",
             png_uri(plot_source_rows(by_row))),
    ]  # fmt: skip


def _sections(
    sources: Sequence[SourceEvaluation], *, leave_out: Sequence[str] = ()
) -> list[Section]:
    return [
        Section(
            title=title,
            columns=[source.name for source in sources],
            rows=[_row(figure, sources) for figure in group],
            lead=_LEADS.get(title, ""),
            plots=_section_plots(title, sources),
        )
        for title, group in known_groups(sources).items()
        if title not in leave_out
    ]


def _section_plots(title: str, sources: Sequence[SourceEvaluation]) -> list[Plot]:
    if title == "Over time":
        return [
            *_scale_plots(sources),
            *_ground_scale_plots(sources),
            *_consistency_plots(sources),
        ]
    if title == "Obstacles":
        return [plot for source in sources for plot in _obstacle_plots(source, len(sources) > 1)]
    return []


def _scale_plots(sources: Sequence[SourceEvaluation]) -> list[Plot]:
    known = {source.name: source.stability for source in sources if source.stability is not None}
    known = {name: item for name, item in known.items() if not math.isnan(item.scale)}
    if not known:
        return []
    if len(sources) > 1:
        first = next(iter(known.values()))
        course = plot_source_courses(
            {name: item.scales for name, item in known.items()},
            times=first.seconds,
            title="prediction / truth of each frame",
            is_share=False,
        )
        return [Plot("Scale of each frame: 1 is right, above is too far.", png_uri(course), True)]
    (stability,) = known.values()
    plots = [
        Plot(
            "Scale of each frame: 1 is right, above is too far. The line is the drift, the band "
            "the flicker.",
            png_uri(plot_scale(stability)),
            wide=True,
        )
    ]
    if any(not math.isnan(value) for value in stability.delay.similarity):
        caption = (
            "How alike the changes from frame to frame are to those of the truth so much before. "
            "The peak is the delay of the content, the band its 95 % interval."
        )
        plots.append(Plot(caption, png_uri(plot_delay(stability.delay))))
    return plots


def _ground_scale_plots(sources: Sequence[SourceEvaluation]) -> list[Plot]:
    known = {
        source.name: source.ground_scale
        for source in sources
        if source.ground_scale is not None and not math.isnan(source.ground_scale.scale)
    }
    if not known:
        return []
    caption = "Scale of each frame by the ground alone, without truth: 1 is right."
    if len(sources) > 1:
        first = next(iter(known.values()))
        course = plot_source_courses(
            {name: item.scales for name, item in known.items()},
            times=first.seconds,
            title="height of the camera over the predicted ground / true",
            is_share=False,
        )
        return [Plot(caption, png_uri(course), wide=True)]
    (item,) = known.values()
    stability = sources[0].stability
    truth = None if stability is None else stability.scales
    caption += " The line is what the watch of a running node says, and warns of beyond the band."
    return [Plot(caption, png_uri(plot_ground_scale(item, truth)), wide=True)]


def _consistency_plots(sources: Sequence[SourceEvaluation]) -> list[Plot]:
    known = {
        source.name: source.consistency for source in sources if source.consistency is not None
    }
    if not known:
        return []
    caption = "Difference of each prediction from the one before, moved by the camera's motion."
    if len(sources) > 1:
        first = next(iter(known.values()))
        course = plot_source_courses(
            {name: item.errors for name, item in known.items()},
            times=first.seconds,
            title="difference from the prediction before, moved",
        )
        return [Plot(caption, png_uri(course), wide=True)]
    (consistency,) = known.values()
    return [Plot(caption, png_uri(plot_consistency(consistency)), wide=True)]


def _obstacle_plots(source: SourceEvaluation, several: bool) -> list[Plot]:
    obstacles, worst = source.obstacles, source.worst_obstacles
    if obstacles is None:
        return []
    of = f" of {source.name}" if several else ""
    counts = plot_obstacle_counts(obstacles.by_distance, frames=obstacles.frames)
    plots = [Plot(f"Missed and phantom obstacles{of} by distance.", png_uri(counts), wide=True)]
    if worst is not None and (worst.missed or worst.phantoms):
        caption = (
            f"The frame{of} with the most misses and phantoms from above, the camera at the foot."
        )
        plots.append(Plot(caption, png_uri(plot_birds_eye(worst, obstacles.options)), wide=True))
    return plots


def _row(figure: Figure, sources: Sequence[SourceEvaluation]) -> TableRow:
    values = [figure.read(source) for source in sources]
    known = [value for value in values if not math.isnan(value)]
    best: list[int] = []
    if figure.better and min(known, default=0) < max(known, default=0):
        wanted = max(known) if figure.better == "higher" else min(known)
        best = [place for place, value in enumerate(values) if value == wanted]
    return TableRow(figure.name, values, figure.meaning, best)


def _exhibits(replay: Replay) -> list[tuple[str, list[object]]]:
    shown = [exhibit(comparisons, {"pixels": 0}) for comparisons in replay.contrasts]
    return [("Where the sources differ most", [*shown])] if shown else []
