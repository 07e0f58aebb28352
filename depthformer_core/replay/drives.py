"""Several bags, evaluated at once."""

import dataclasses
import glob
import hashlib
import importlib.metadata
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from depthformer_core.bags.errors import BagError, ReplayError
from depthformer_core.bags.folder import find_files
from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.evaluation.frame import Row
from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.evaluation.results import strict_json
from depthformer_core.files import write_texts
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import Replay
from depthformer_core.replay.figures import NAMES, figures
from depthformer_core.replay.job import ReplayJob, describe, replay_bag
from depthformer_core.replay.output import replay_warnings, write_replay

_RESULT = "drive.json"
_SUFFIXES = (".mcap", ".db3", ".bag")
_DEPTH = 3  # folders below the one that is named
_POLL = 1.0  # seconds

Run = Callable[[ReplayJob, BagFrames], tuple[Replay, dict[str, str]]]
"""Evaluates a bag; returns the evaluation, and what describes it."""


@dataclass(frozen=True)
class DriveResult:
    """One of several bags, evaluated.

    Attributes:
        name: Its name among them, which is its folder's in the output.
        bag: Its path.
        error: Why it could not be evaluated; empty where it was.
        images: Number of its images.
        figures: All figures of each source by their names.
        paired: `METRICS` of each image of each source, over the pixels that all sources have.
        warnings: Sentences on why the numbers may mislead.
    """

    name: str
    bag: str
    error: str = ""
    images: int = 0
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    paired: dict[str, list[Row]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find_bags(paths: Sequence[Path]) -> list[Path]:
    """Find the bags that paths name.

    Args:
        paths: Bags, folders of bags, at most three deep, or patterns such as `drives/*.mcap`.

    Returns:
        The bags, each once, those of a folder or pattern by name.

    Raises:
        BagError: A path names none.
    """
    bags: list[Path] = []
    for path in paths:
        bags += _bags_of(path)
    return list(dict.fromkeys(bags))


def _bags_of(path: Path) -> list[Path]:
    if not path.exists() and glob.has_magic(str(path)):
        found = [bag for match in sorted(glob.glob(str(path))) for bag in _bags_of(Path(match))]  # noqa: PTH207  # absolute patterns
        if not found:
            raise BagError(f"no bag matches {path}")
        return found
    try:
        find_files(path)
    except BagError:
        inside = _inside(path, _DEPTH) if path.is_dir() else []
        if not inside:
            raise
        return inside
    if path.is_dir() and not (path / "metadata.yaml").exists():
        # One file beside folders of others is no bag of its own.
        inside = _inside(path, _DEPTH)
        if any(bag.parent != path or bag.is_dir() for bag in inside):
            return inside
    return [path]


def _inside(folder: Path, depth: int) -> list[Path]:
    """List the bags in a folder that is none itself."""
    bags: list[Path] = []
    for item in sorted(folder.iterdir()):
        if item.name.startswith("."):
            continue
        if item.is_file() and item.suffix in _SUFFIXES:
            bags.append(item)
        elif item.is_dir():
            try:
                find_files(item)
                bags.append(item)
            except BagError:
                bags += _inside(item, depth - 1) if depth > 1 else []
    return bags


def evaluate_drives(
    job: ReplayJob,
    bags: Sequence[Path],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
) -> list[DriveResult]:
    """Evaluate several bags in processes of their own; show a bar on the terminal.

    Each bag's results are written to a folder of its name in the job's output as soon as it is
    done. A bag that cannot be evaluated does not stop the others.

    Args:
        job: What to do with each; its bag is replaced.
        bags: The bags.
        jobs: Processes at once; one for each core, at most one for each bag, by default.
        scheduler: Address of a Dask scheduler whose workers are used instead.
        resume: Whether to leave out bags that were evaluated by the same job before.

    Returns:
        The results in the order of the bags.

    Raises:
        ReplayError: Dask is missing, its scheduler cannot be reached, or a process was ended.
    """
    named = _named(job, bags)
    done = {name: result for name, one in named.items() if resume and (result := _finished(one))}
    left = {name: one for name, one in named.items() if name not in done}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = min(jobs or cores or 1, max(1, len(left)))
    if count == 1 and scheduler is None:
        return evaluate_in_turn(job, bags, resume=resume)
    with _executor(count, cores or 1, scheduler) as executor:
        futures = {executor.submit(evaluate_drive, one): name for name, one in left.items()}
        try:
            for future in tqdm(
                as_completed(futures), total=len(named), initial=len(done), unit="bag"
            ):
                done[futures[future]] = future.result()
        except BrokenProcessPool as error:
            raise ReplayError(
                "a process ended by itself, as for lack of memory: take fewer --jobs; --resume "
                f"leaves out the {len(done)} of {len(named)} bags that are done"
            ) from error
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    return [done[name] for name in named]


def evaluate_in_turn(
    job: ReplayJob, bags: Sequence[Path], *, resume: bool = False, run: Run = replay_bag
) -> list[DriveResult]:
    """Evaluate several bags one after the other in this process, see `evaluate_drives`.

    Args:
        job: What to do with each; its bag is replaced.
        bags: The bags.
        resume: Whether to leave out bags that were evaluated by the same job before.
        run: Evaluates a bag.
    """
    return [
        (_finished(one) if resume else None) or evaluate_drive(one, run=run)
        for one in tqdm(_named(job, bags).values(), unit="bag")
    ]


def evaluate_drive(job: ReplayJob, *, run: Run = replay_bag) -> DriveResult:
    """Evaluate one of several bags, and write its results.

    Args:
        job: The work; the name of its output folder is that of the drive.
        run: Evaluates the bag.

    Returns:
        The results, or why there are none.
    """
    name = job.output.name
    try:
        bag = BagFrames(job.bag, job.frames)
        replay, about = run(job, bag)
        result = DriveResult(
            name=name,
            bag=str(job.bag),
            images=len(replay.evaluation.per_image),
            figures={source.name: figures(source) for source in replay.sources},
            paired={source.name: source.paired for source in replay.sources},
            warnings=replay_warnings(replay),
        )
        write_replay(job.output, replay, about=describe(job, bag, about))
        values = {"job": _fingerprint(job), **dataclasses.asdict(result)}
        write_texts(job.output, {_RESULT: strict_json(values)})
    except (DepthFormerError, OSError) as error:
        return DriveResult(name, str(job.bag), error=one_line(error))
    return result


def _named(job: ReplayJob, bags: Sequence[Path]) -> dict[str, ReplayJob]:
    """Return the job of each bag by a name of its own."""
    paths = [bag.absolute() for bag in bags]
    names = [path.stem if path.is_file() else path.name for path in paths]
    if len(set(names)) < len(names):
        # As much of the path as differs.
        shared = os.path.commonpath(paths)
        names = ["_".join(path.relative_to(shared).parts) for path in paths]
    return {
        name: dataclasses.replace(job, bag=bag, output=job.output / name)
        for name, bag in zip(names, bags, strict=True)
    }


def _fingerprint(job: ReplayJob) -> str:
    """Describe all that decides the results of a job."""
    files = [*find_files(job.bag).files]
    if job.network is not None and (weights := Path(job.network.source)).is_file():
        files.append(weights)
    if job.network is not None and job.network.calibration_file is not None:
        files.append(job.network.calibration_file)
    states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    version = importlib.metadata.version("depthformer_ros")
    parts = (version, job.frames, job.network, job.protocol, job.obstacles, states)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _finished(job: ReplayJob) -> DriveResult | None:
    """Read the results of a job that was done before."""
    try:
        values = json.loads((job.output / _RESULT).read_text(encoding="utf-8"))
        if values.pop("job") != _fingerprint(job):
            return None
        result = DriveResult(**values)
        for named in result.figures.values():
            named.update({name: _number(named[name]) for name in NAMES})
        for rows in result.paired.values():
            for row in rows:
                row.update({name: _number(row[name]) for name in METRICS})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        # Of another version, or damaged: it is evaluated again.
        return None
    return result


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


@contextmanager
def _executor(count: int, cores: int, scheduler: str | None) -> Iterator[Executor]:
    if scheduler is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ReplayError(
                f"--scheduler {scheduler} needs Dask: pip install distributed"
            ) from error
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise ReplayError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        with client:
            yield client.get_executor()
        return
    threads = str(max(1, cores // count))
    # Libraries read these when they are imported, in the new processes.
    limits = {"OMP_NUM_THREADS": threads, "OPENCV_FOR_THREADS_NUM": threads}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update({name: value for name, value in limits.items() if before[name] is None})
    executor = ProcessPoolExecutor(
        count,
        mp_context=get_context("spawn"),
        initializer=_end_with_parent,
        initargs=(os.getpid(), int(threads)),
    )
    try:
        yield executor
    except BaseException:
        for process in list(executor._processes.values()):  # public from 3.14
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _end_with_parent(parent: int, threads: int) -> None:
    """Start a process: limit its threads, and end it when its parent has ended."""
    import cv2

    cv2.setNumThreads(threads)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
