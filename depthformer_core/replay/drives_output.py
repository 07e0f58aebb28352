"""The results of several bags together, as files and as text for a terminal."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

from depthformer_core.errors import one_line
from depthformer_core.evaluation.page import render_page
from depthformer_core.evaluation.ranking import PairDifference, Rank, pair_differences, rank_sources
from depthformer_core.evaluation.report import Section, TableRow
from depthformer_core.evaluation.results import align, number, strict_json
from depthformer_core.files import write_texts
from depthformer_core.replay.drives import DriveResult
from depthformer_core.replay.figures import FIGURES, NAMES

# Columns of the table for a terminal.
_SHOWN = ("abs_rel", "rmse", "a1", "scale", "coverage")


def write_drives(folder: Path, drives: Sequence[DriveResult]) -> list[str]:
    """Write `drives.json`, `drives.csv` and `drives.html`.

    Args:
        folder: The folder; made where it is missing.
        drives: The results.

    Returns:
        Names of the files.

    Raises:
        OSError: A file cannot be written.
    """
    files = {
        "drives.json": _to_json(drives),
        "drives.csv": _to_csv(drives),
        "drives.html": _render(drives),
    }
    write_texts(folder, files)
    return list(files)


def format_drives(drives: Sequence[DriveResult]) -> str:
    """Format a line for each source of each drive, and the means, for a terminal."""
    rows = [
        (drive.name, name, str(drive.images), *(number(values[figure]) for figure in _SHOWN))
        for drive in drives
        for name, values in drive.figures.items()
    ]
    rows += [
        ("mean", name, "", *(number(means[figure]) for figure in _SHOWN))
        for name, means in _means(drives).items()
    ]
    rows += [(drive.name, "failed", "", *("-" for _ in _SHOWN)) for drive in drives if drive.error]
    table = align([("drive", "source", "images", *_SHOWN), *rows])
    ranks = _ranks(drives)
    if not ranks:
        return table
    lines = [
        (str(rank.place), rank.name, number(rank.mean), ", ".join(rank.worse_than) or "none")
        for rank in ranks
    ]
    return f"{table}\n\n{align([('place', 'source', 'abs_rel', 'better beyond chance'), *lines])}"


def _means(drives: Sequence[DriveResult]) -> dict[str, dict[str, float]]:
    """Return the mean of each figure over the drives that have it, by source."""
    sources = dict.fromkeys(name for drive in drives for name in drive.figures)
    means: dict[str, dict[str, float]] = {}
    for source in sources:
        of_source = [drive.figures[source] for drive in drives if source in drive.figures]
        means[source] = {}
        for name in NAMES:
            known = [values[name] for values in of_source if not math.isnan(values[name])]
            means[source][name] = math.fsum(known) / len(known) if known else math.nan
    return means


def _pairs(drives: Sequence[DriveResult]) -> list[PairDifference]:
    """Compare the sources that all drives have, over the images of all."""
    evaluated = [drive for drive in drives if not drive.error]
    if not evaluated:
        return []
    names = [
        name for name in evaluated[0].paired if all(name in drive.paired for drive in evaluated)
    ]
    rows = {name: [row for drive in evaluated for row in drive.paired[name]] for name in names}
    return pair_differences(rows)


def _ranks(drives: Sequence[DriveResult]) -> list[Rank]:
    pairs = _pairs(drives)
    return rank_sources(pairs) if pairs else []


def _to_json(drives: Sequence[DriveResult]) -> str:
    pairs = _pairs(drives)
    return strict_json(
        {
            "mean": _means(drives),
            "ranking": [
                dataclasses.asdict(rank) for rank in (rank_sources(pairs) if pairs else ())
            ],
            "pairs": [dataclasses.asdict(pair) for pair in pairs],
            "drives": [
                {
                    "name": drive.name,
                    "bag": drive.bag,
                    "error": drive.error,
                    "images": drive.images,
                    "figures": drive.figures,
                    "warnings": drive.warnings,
                }
                for drive in drives
            ],
        }
    )


def _to_csv(drives: Sequence[DriveResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["drive", "source", "images", "error", *NAMES])
    for drive in drives:
        if drive.error:
            writer.writerow([drive.name, "", "", one_line(drive.error), *("" for _ in NAMES)])
        for name, values in drive.figures.items():
            numbers = ("" if math.isnan(values[figure]) else values[figure] for figure in NAMES)
            writer.writerow([drive.name, name, drive.images, "", *numbers])
    return text.getvalue()


def _render(drives: Sequence[DriveResult]) -> str:
    evaluated = [drive for drive in drives if not drive.error]
    means = _means(drives)
    known = [
        figure
        for figure in FIGURES
        if any(not math.isnan(values[figure.name]) for values in means.values())
    ]
    groups: dict[str, list[TableRow]] = {}
    for figure in known:
        values = [of_source[figure.name] for of_source in means.values()]
        groups.setdefault(figure.group, []).append(TableRow(figure.name, values, figure.meaning))
    sections = [
        Section(title=f"{title}: mean over the drives", columns=list(means), rows=rows)
        for title, rows in groups.items()
    ]
    return render_page(
        "drives.html.j2",
        drives=drives,
        evaluated=evaluated,
        failed=[drive for drive in drives if drive.error],
        images=sum(drive.images for drive in drives),
        ranks=_ranks(drives),
        sections=sections,
        columns=[figure.name for figure in known],
    )
