"""The results of a replay as files and as text for a terminal."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from depthformer_core.files import write_texts
from depthformer_core.replay.evaluation import Replay
from depthformer_core.replay.figures import Figure, figures, known_groups
from depthformer_core.replay.sources import SourceEvaluation

# Tables that the page of one source has elsewhere.
_SHOWN_ELSEWHERE = ("Metric depth", "Latency")


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
    parts = [align([(*header, "better beyond chance"), *rows])]
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
        groups=_exhibits(replay),
        names=names,
        rows=list(zip(files, zip(*errors.values(), strict=True), strict=True)),
    )


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
        )
        for title, group in known_groups(sources).items()
        if title not in leave_out
    ]


def _row(figure: Figure, sources: Sequence[SourceEvaluation]) -> TableRow:
    values = [figure.read(source) for source in sources]
    known = [value for value in values if not math.isnan(value)]
    best: list[int] = []
    if figure.better and len(known) > 1:
        wanted = max(known) if figure.better == "higher" else min(known)
        best = [place for place, value in enumerate(values) if value == wanted]
    return TableRow(figure.name, values, figure.meaning, best)


def _exhibits(replay: Replay) -> list[tuple[str, list[object]]]:
    shown = [exhibit(comparisons, {"pixels": 0}) for comparisons in replay.contrasts]
    return [("Where the sources differ most", [*shown])] if shown else []
