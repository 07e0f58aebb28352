"""All drives of all seeds, each in every condition."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.studies.closed_loop.conditions import (
    CONDITIONS,
    Condition,
    Views,
    correctable_factors,
    fit_corrections,
)
from depthformer_core.studies.closed_loop.drive import drive
from depthformer_core.studies.closed_loop.results import (
    Drives,
    Result,
    read_results,
    write_results,
)
from depthformer_core.studies.closed_loop.scenario import KINDS, draw_scenario

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


def run(options: ClosedLoopOptions) -> list[list[Result]]:
    """Drive what is missing in the folder, and return the results of each seed.

    Raises:
        DepthFormerError: The folder holds results of another checkpoint.
        OSError: A file cannot be written.
    """
    found = [
        read_results(options.output, seed, checkpoint=options.checkpoint)
        for seed in range(options.seeds)
    ]
    missing = []
    for seed, drives in enumerate(found):
        for number in range(options.drives):
            done = {result.condition for result in drives.setdefault(number, [])}
            conditions = [condition for condition in CONDITIONS if condition.name not in done]
            if conditions:
                missing.append(_Job(seed, number, conditions))
    if missing:
        _drive_all(options, found, missing)
    return [
        [result for number in range(options.drives) for result in drives[number]]
        for drives in found
    ]


@dataclass(frozen=True)
class _Job:
    """A drive of a seed, in some conditions."""

    seed: int
    number: int
    conditions: Sequence[Condition]


def _drive_all(options: ClosedLoopOptions, found: list[Drives], missing: Sequence[_Job]) -> None:
    """Drive, and add the results to those of each seed and to its file."""
    _one_core()
    corrections = fit_corrections(load(options), correctable_factors())
    # Forked processes would inherit locks of threads that do not exist in them.
    context = multiprocessing.get_context("spawn")
    processes = options.processes or os.cpu_count() or 1
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_core) as executor:
        jobs = {executor.submit(_drive, job, options, corrections): job for job in missing}
        try:
            for future in tqdm(as_completed(jobs), total=len(jobs), unit="drive", file=sys.stderr):
                job = jobs[future]
                drives = found[job.seed]
                drives[job.number] += future.result()
                done = {number: results for number, results in drives.items() if results}
                write_results(options.output, job.seed, done, checkpoint=options.checkpoint)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _drive(job: _Job, options: ClosedLoopOptions, corrections: Corrections) -> list[Result]:
    """Drive one drive in several conditions."""
    scenario = draw_scenario(job.seed, job.number)
    views = Views(scenario, load(options), corrections)
    return [
        Result(condition.name, scenario.kind, drive(scenario, views, condition))
        for condition in job.conditions
    ]


def load(options: ClosedLoopOptions) -> DepthPredictor:
    """Load the network, once in each process."""
    return _predictor(options.checkpoint, options.device)


@cache
def _predictor(checkpoint: str, device: str) -> DepthPredictor:
    return DepthPredictor.from_checkpoint(checkpoint, device=device)


def _one_core() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
