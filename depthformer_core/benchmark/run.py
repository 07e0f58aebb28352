"""Run of the benchmark: baselines in turns."""

import contextlib
import sys
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from depthformer_core.benchmark.baselines import OURS, Setup, available, prepare
from depthformer_core.benchmark.frames import FrameTiming, StageTimes, time_frame, time_stages
from depthformer_core.benchmark.process import BenchmarkProcess, BenchmarkProcessError
from depthformer_core.benchmark.result import Result
from depthformer_core.benchmark.roofline import Rates, count_work, measure_rates
from depthformer_core.device import resolve_device
from depthformer_core.errors import DepthFormerError

# Turns that are not counted. On a GPU a compiled network first runs, then is captured as a graph.
_WARM_UPS = {"cpu": 1, "cuda": 3}


def run_benchmark(
    presets: list[str],
    *,
    height: int = 352,
    width: int = 1216,
    runs: int = 5,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
) -> list[Result]:
    """Time presets on one image, beside their baselines.

    All baselines of a preset have processes of their own and run in turns, so that a change in the
    machine's speed meets all, and each has its own peak of memory. When all frames are timed, ours
    runs as many again, timed stage by stage, in turns with the peak rates of the device.

    Args:
        presets: Names of presets.
        height: Rows of the image.
        width: Columns of the image.
        runs: Counted turns, after one that is not counted, on a GPU three.
        device: As for `DepthPredictor`.
        precision: As for `DepthPredictor`.
        compiled: Whether our network compiled by `torch.compile` is one more baseline.

    Returns:
        One result a preset, in order.

    Raises:
        DepthFormerError: An argument is out of range, or our process failed; the message says so.
    """
    if runs < 1 or height < 1 or width < 1:
        raise DepthFormerError(
            f"runs, height and width must be positive, got {runs}, {height}, {width}"
        )
    target = resolve_device(device)
    turns = runs + _WARM_UPS[target.type]
    baselines, absent = available(target, compiled=compiled)
    frames = len(presets) * turns * (len(baselines) + 1)
    with tqdm(total=frames, unit="frame", file=sys.stderr) as progress:
        results = []
        for preset in presets:
            progress.set_description(preset)
            setup = Setup(preset, height, width, device, precision)
            result = measure(setup, baselines, turns=turns, runs=runs, progress=progress)
            results.append(replace(result, absent={**absent, **result.absent}))
        return results


def measure(setup: Setup, names: list[str], *, turns: int, runs: int, progress: Any) -> Result:
    """Measure one preset.

    Args:
        setup: The preset and its conditions.
        names: Names of the baselines, with `OURS`; another one that fails is dropped.
        turns: Turns to run.
        runs: Number of the last ones that count.
        progress: A progress bar; a frame is a step.

    Raises:
        DepthFormerError: Ours failed.
        BenchmarkProcessError: Ours raised an exception that is a fault of the program.
    """
    frames: dict[str, list[FrameTiming]] = {name: [] for name in names}
    absent: dict[str, str] = {}
    baselines: dict[str, BenchmarkProcess] = {}

    def drop(name: str, error: ValueError | BenchmarkProcessError) -> None:
        if name == OURS:
            raise error
        progress.total -= turns - len(frames.pop(name))
        absent[name] = str(error)
        # The others get its memory.
        baselines[name].__exit__()

    with contextlib.ExitStack() as stack:
        for name in names:
            # All prepare at the same time.
            baselines[name] = BenchmarkProcess(prepare, name, setup)
            stack.push(baselines[name])
        for name, baseline in baselines.items():
            try:
                baseline.__enter__()
            except (ValueError, BenchmarkProcessError) as error:
                drop(name, error)
        for _ in range(turns):
            for name in list(frames):
                try:
                    frames[name].append(baselines[name].run(time_frame))
                    progress.update()
                except (ValueError, BenchmarkProcessError) as error:
                    drop(name, error)
        ours = baselines[OURS]
        work = ours.run(count_work, setup)
        stages: list[StageTimes] = []
        rates: list[Rates] = []
        for _ in range(turns):
            stages.append(ours.run(time_stages))
            rates.append(ours.run(measure_rates, work))
            progress.update()
    return Result(
        setup.preset,
        {name: measured[-runs:] for name, measured in frames.items()},
        absent,
        stages[-runs:],
        rates[-runs:],
        work,
    )
