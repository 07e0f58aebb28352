"""Results as text, as tables for documents and as JSON."""

import json
import statistics
from dataclasses import asdict
from typing import Any

from depthformer_core.benchmark.baselines import OURS
from depthformer_core.benchmark.description import machine
from depthformer_core.benchmark.result import Result, p99


def format_report(results: list[Result]) -> str:
    """Format results as Markdown: the baselines of each preset, then the stages of ours."""
    notes = "\n".join(f"- {note}" for result in results for note in _notes(result))
    return "\n\n".join([_format_frames(results), notes, _format_stages(results)])


def to_json(results: list[Result], *, height: int, width: int) -> str:
    """Write results, the image size and the machine as JSON; times in seconds."""
    figures = {
        "machine": machine(),
        "height": height,
        "width": width,
        "results": [_to_dict(result) for result in results],
    }
    return json.dumps(figures, indent=2)


def _format_frames(results: list[Result]) -> str:
    rows = [
        "| preset | precision | baseline | median ms | p99 ms | images/s | peak memory GB "
        "| ratio |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        rows += [
            f"| {result.preset} | {result.stages[0].precision} | {baseline} "
            f"| {_times(result.seconds(baseline))} | {_number(result.images_per_second(baseline))} "
            f"| {result.peak_memory(baseline) / 1e9:.2f} | {result.ratio(baseline):.2f} |"
            for baseline in result.frames
        ]
    return "\n".join(rows)


def _format_stages(results: list[Result]) -> str:
    rows = [
        "| preset | stage of ours | median ms | p99 ms | GFLOP | GB gathered | of the roofline |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        work = result.work
        for stage in result.stages[0].seconds:
            operations, gathered = work.operations.get(stage, 0), work.gathered.get(stage, 0)
            rows.append(
                f"| {result.preset} | {stage} | {_times(result.stage_seconds(stage))} "
                f"| {_counted(operations)} | {_counted(gathered)} "
                f"| {f'{result.stage_share(stage):.0%}' if operations else '-'} |"
            )
        rows.append(
            f"| {result.preset} | whole frame | {_times(result.seconds(OURS))} "
            f"| {_counted(sum(work.operations.values()))} "
            f"| {_counted(sum(work.gathered.values()))} | {result.share:.0%} |"
        )
    return "\n".join(rows)


def _notes(result: Result) -> list[str]:
    """List the notes on a preset below the tables."""
    times = result.stages[0]
    operations = statistics.median(rates.operations for rates in result.rates)
    copied = statistics.median(rates.bytes for rates in result.rates)
    rates = (
        f"{result.preset} reads {times.size[0]}x{times.size[1]} pixels on {times.device}, which "
        f"multiplies {times.precision} matrices at {_number(operations / 1e9)} GFLOP/s and copies "
        f"memory at {_number(copied / 1e9)} GB/s"
    )
    return [rates, *(f"{result.preset}, {name}: {why}" for name, why in result.absent.items())]


def _to_dict(result: Result) -> dict[str, Any]:
    times = result.stages[0]
    return {
        "preset": result.preset,
        "device": times.device,
        "precision": times.precision,
        "network_size": times.size,
        "sides": {  # the key of 0.1
            baseline: {
                **_summary(result.seconds(baseline)),
                "images_per_second": result.images_per_second(baseline),
                "peak_memory": result.peak_memory(baseline),
                "ratio": result.ratio(baseline),
            }
            for baseline in result.frames
        },
        "absent": result.absent,
        "stages": {
            stage: {
                **_summary(result.stage_seconds(stage)),
                "operations": result.work.operations.get(stage, 0),
                "gathered_bytes": result.work.gathered.get(stage, 0),
                "share_of_floor": result.stage_share(stage),
            }
            for stage in times.seconds
        },
        "share_of_floor": result.share,
        "rates": [asdict(rates) for rates in result.rates],
    }


def _summary(seconds: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(seconds), "p99": p99(seconds), "seconds": seconds}


def _times(seconds: list[float]) -> str:
    return f"{_number(1e3 * statistics.median(seconds))} | {_number(1e3 * p99(seconds))}"


def _counted(count: float) -> str:
    return _number(count / 1e9) if count else "-"


def _number(value: float) -> str:
    """Format three digits, or the whole part: more are not reproducible."""
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"
