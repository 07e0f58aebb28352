"""Results of an evaluation as JSON, CSV and a table."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.evaluate import Evaluation
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.uncertainty import TABLE_COLUMNS, Uncertainty, laplace_within
from depthformer_core.paths import printable

_UNITS = {"sq_error_rel": " (%)", "abs_error_rel": " (%)", "irmse": " (1/km)"}


def to_json(
    evaluation: Evaluation,
    *,
    about: Mapping[str, str],
    warnings: Sequence[str],
    latency: Latency | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Write all results but the pictures as strict JSON.

    Args:
        evaluation: The evaluation.
        about: Names of model, data and settings of the evaluation.
        warnings: Sentences on why the numbers may mislead.
        latency: Times of the predictions of a node.
        more: Further values by name.

    Returns:
        An object with `mean`, `interval`, `per_image` and more, with `uncertainty` where the
        predictions have one; null where there is no value.
    """
    values = {**to_values(evaluation, latency=latency), **more}
    values |= {
        "warnings": list(warnings),
        "protocol": dataclasses.asdict(evaluation.protocol),
        "about": dict(about),
    }
    # Longest, so last.
    values["per_image"] = values.pop("per_image")
    return strict_json(values)


def to_values(evaluation: Evaluation, *, latency: Latency | None = None) -> dict[str, object]:
    """Return the numbers of an evaluation by their names in JSON, see `to_json`."""
    values: dict[str, object] = {
        "mean": evaluation.mean,
        "interval": {name: list(ends) for name, ends in evaluation.interval.items()},
        "kitti_benchmark": evaluation.kitti_benchmark,
        "by_distance": [dataclasses.asdict(errors) for errors in evaluation.by_distance],
        "by_row": [dataclasses.asdict(errors) for errors in evaluation.by_row],
        "images": len(evaluation.per_image),
        "coverage": evaluation.coverage,
        "scale": evaluation.scale,
        "seconds_per_image": evaluation.seconds,
        "latency": None if latency is None else latency.summary(),
        "per_image": evaluation.per_image,
    }
    if evaluation.uncertainty is not None:
        values["uncertainty"] = _uncertainty(evaluation.uncertainty)
    return values


def to_csv(evaluation: Evaluation) -> str:
    """Write one line an image, under a line of names; empty where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(evaluation.per_image[0]), lineterminator="\n")
    writer.writeheader()
    for row in evaluation.per_image:
        plain = {name: _plain(value) for name, value in row.items()}
        writer.writerow({name: "" if value is None else value for name, value in plain.items()})
    return text.getvalue()


def format_table(evaluation: Evaluation) -> str:
    """Format means, their 95 % confidence intervals and errors by distance for a terminal.

    Statistics of the uncertainty follow, where the predictions have one.
    """
    parts = [_means(evaluation.mean, evaluation.interval, title="")]
    if evaluation.kitti_benchmark is not None:
        title = "KITTI benchmark"
        parts.append(_means(evaluation.kitti_benchmark, evaluation.interval, title=title))
    header = ("distance (m)", "pixels", "abs_rel", "rmse (m)", "a1")
    rows = [
        (
            f"{errors.near:g}-{errors.far:g}",
            str(errors.pixels),
            *(number(value) for value in (errors.abs_rel, errors.rmse, errors.a1)),
        )
        for errors in evaluation.by_distance
    ]
    parts.append(align([header, *rows]))
    if evaluation.uncertainty is not None:
        table = evaluation.uncertainty.table()
        lines = [(name, *map(number, values)) for name, values in table]
        parts.append(align([("uncertainty", *TABLE_COLUMNS), *lines]))
    return "\n\n".join(parts)


def strict_json(values: object) -> str:
    """Write numbers, texts, lists and mappings as JSON, null for NaN; names as `printable`."""
    return json.dumps(_plain(values), indent=1, allow_nan=False) + "\n"


def _uncertainty(uncertainty: Uncertainty) -> dict[str, object]:
    return {
        "pixels": uncertainty.pixels,
        "within_one": uncertainty.within_one,
        "within_two": uncertainty.within_two,
        "abs_rel_without_tenth": uncertainty.abs_rel_without_tenth,
        "oracle_without_tenth": uncertainty.oracle_without_tenth,
        "ause": uncertainty.ause,
        "random_ause": uncertainty.random_ause,
        "calibration": {
            "scales": uncertainty.scales,
            "within": uncertainty.within,
            "laplace": laplace_within(uncertainty.scales).tolist(),
        },
        "sparsification": {
            "removed": uncertainty.removed,
            "abs_rel": uncertainty.abs_rel,
            "oracle": uncertainty.oracle,
        },
    }


def _means(means: Mapping[str, float], intervals: Mapping[str, Interval], *, title: str) -> str:
    names = [name + _UNITS.get(name, "") for name in means]
    rows = [[title, *names], ["mean", *map(number, means.values())]]
    for end, label in enumerate(("95 % from", "to")):
        rows.append([label, *(number(intervals[name][end]) for name in means)])
    return align(rows)


def number(value: float) -> str:
    """Format a number with four decimals, an integer as it is, NaN as a dash."""
    if isinstance(value, int):
        return str(value)
    # Zero has no sign.
    return "-" if math.isnan(value) else f"{round(value, 4) + 0.0:.4f}"


def percent(value: float) -> str:
    """Format a share as percent with one decimal, NaN as a dash."""
    return "-" if math.isnan(value) else f"{value:.1%}"


def interval(ends: Interval) -> str:
    """Format an interval as `number` does, NaN as a dash."""
    return "-" if math.isnan(ends[0]) else f"{ends[0]:.4f} to {ends[1]:.4f}"


def percent_interval(ends: Interval) -> str:
    """Format an interval in percent, NaN as a dash."""
    return "-" if math.isnan(ends[0]) else f"{100 * ends[0]:.1f} to {ends[1]:.1%}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of texts as right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    )


def _plain(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
