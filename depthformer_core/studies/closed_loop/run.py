"""All drives of all seeds, each in every condition."""

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from tqdm import tqdm

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import read_json, write_texts
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.studies.closed_loop.conditions import (
    CONDITIONS,
    Views,
    correctable_factors,
    fit_corrections,
)
from depthformer_core.studies.closed_loop.drive import Outcome, drive
from depthformer_core.studies.closed_loop.scenario import KINDS, Kind, draw_scenario
from depthformer_core.types import Json

Corrections = dict[float, DepthCorrection]

_LARGEST_SEED = 1000


@dataclass(frozen=True)
class ClosedLoopOptions:
    """Let a vehicle drive by what it sees, and count collisions and needless stops."""

    checkpoint: str = "small"
    """A safetensors file, or a preset's name."""
    drives: int = 50
    """Drives of each seed."""
    seeds: int = 3
    """Number of seeds, from 0."""
    processes: int = 0
    """Processes, one core each; 0 for all cores."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    output: Path = Path("closed_loop")
    """Folder for the results, a JSON file for each seed. Drives that are in it are not repeated."""

    def __post_init__(self) -> None:
        """Reject values nothing can be measured with."""
        if self.drives < len(KINDS):
            raise DepthFormerError(
                f"drives must be {len(KINDS)} or more, one of each kind, got {self.drives}"
            )
        if not 1 <= self.seeds <= _LARGEST_SEED:
            raise DepthFormerError(f"seeds must be 1 to {_LARGEST_SEED}, got {self.seeds}")
        if self.processes < 0:
            raise DepthFormerError(f"processes must not be negative, got {self.processes}")


@dataclass(frozen=True)
class Result:
    """One drive in one condition.

    Attributes:
        condition: Name of the condition.
        kind: What was in the way.
        outcome: The outcome.
    """

    condition: str
    kind: Kind
    outcome: Outcome


def run(options: ClosedLoopOptions) -> list[list[Result]]:
    """Drive all drives that are missing in the folder, and return the results of each seed.

    Raises:
        DepthFormerError: The folder holds results of other drives.
        OSError: A file cannot be written.
    """
    about: dict[str, Json] = {
        "checkpoint": options.checkpoint,
        "conditions": [condition.name for condition in CONDITIONS],
    }
    found = [_read(options.output, seed, about) for seed in range(options.seeds)]
    missing = [
        (seed, number)
        for seed, drives in enumerate(found)
        for number in range(options.drives)
        if str(number) not in drives
    ]
    if missing:
        _drive_all(options, about, found, missing)
    return [
        [result for number in range(options.drives) for result in _results(drives[str(number)])]
        for drives in found
    ]


def _drive_all(
    options: ClosedLoopOptions,
    about: dict[str, Json],
    found: list[dict[str, Json]],
    missing: list[tuple[int, int]],
) -> None:
    _one_core()
    corrections = fit_corrections(load(options), correctable_factors())
    # Forked processes would inherit locks of threads that do not exist in them.
    context = multiprocessing.get_context("spawn")
    processes = options.processes or os.cpu_count() or 1
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_core) as executor:
        jobs = {
            executor.submit(
                _drive_one, options.checkpoint, options.device, corrections, seed, number
            ): (seed, number)
            for seed, number in missing
        }
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), unit="drive", file=sys.stderr):
                seed, number = jobs[job]
                found[seed][str(number)] = job.result()
                content = {"about": about, "drives": found[seed]}
                text = json.dumps(content, indent=1) + "\n"
                write_texts(options.output, {_name(seed): text})
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _drive_one(
    checkpoint: str, device: str, corrections: Corrections, seed: int, number: int
) -> list[Json]:
    """Drive one drive in every condition."""
    scenario = draw_scenario(seed, number)
    views = Views(scenario, _predictor(checkpoint, device), corrections)
    return [
        {
            "condition": condition.name,
            "kind": scenario.kind,
            **asdict(drive(scenario, views, condition)),
        }
        for condition in CONDITIONS
    ]


def _results(rows: Json) -> list[Result]:
    """Return the results of the rows of a drive in a file."""
    results = []
    for row in cast("list[dict[str, Any]]", rows):
        names = {"condition": row["condition"], "kind": row["kind"]}
        outcome = {name: value for name, value in row.items() if name not in names}
        results.append(Result(**names, outcome=Outcome(**outcome)))
    return results


def load(options: ClosedLoopOptions) -> DepthPredictor:
    """Load the network."""
    return _predictor(options.checkpoint, options.device)


@cache
def _predictor(checkpoint: str, device: str) -> DepthPredictor:
    return DepthPredictor.from_checkpoint(checkpoint, device=device)


def _one_core() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _name(seed: int) -> str:
    return f"seed_{seed}.json"


def _read(folder: Path, seed: int, about: dict[str, Json]) -> dict[str, Json]:
    """Return the drives of a seed that are done, by number."""
    path = folder / _name(seed)
    if not path.exists():
        return {}
    content = read_json(path, kind="results")
    drives = content.get("drives")
    if content.get("about") != about or not isinstance(drives, dict):
        raise DepthFormerError(
            f"{path} holds results of another checkpoint or other conditions: name another output"
        )
    return drives
