"""Time and memory of the network, beside the usual formulation of its attention."""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.ops import ms_deform_attn
from depthformer_core.ops.deformable_attention import ms_deform_attn_reference
from depthformer_core.predictor import DepthPredictor
from depthformer_core.turns import Side, peak_memory

_OURS = "ours"
_REFERENCE = "grid_sample"


@dataclass(frozen=True)
class Timing:
    """Whole frames through one formulation.

    Attributes:
        seconds: Each counted run, seconds.
        peak_memory: Largest resident memory of the process, bytes; on a GPU, of the GPU.
    """

    seconds: list[float]
    peak_memory: int

    @property
    def median(self) -> float:
        """Median run, seconds."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """Fastest run, seconds."""
        return min(self.seconds)


@dataclass(frozen=True)
class Result:
    """One preset, measured.

    Attributes:
        preset: Name of the preset.
        precision: What it ran in.
        ours: As the package runs it.
        reference: The same network with `grid_sample` attention, given the same pieces of queries.
    """

    preset: str
    precision: str
    ours: Timing
    reference: Timing

    @property
    def speedup(self) -> float:
        """Median over the pairs of runs of the reference's time over ours."""
        pairs = zip(self.reference.seconds, self.ours.seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def run_benchmark(
    presets: list[str],
    *,
    height: int = 352,
    width: int = 1216,
    runs: int = 5,
    device: str = "auto",
    precision: str = "auto",
) -> list[Result]:
    """Time presets with random weights on one image.

    Both formulations of a preset live in processes of their own and take turns, a pair of runs
    after another, so that a change in the machine's speed meets both, and each has its own peak
    of memory.

    Args:
        presets: Names of presets.
        height: Rows of the image.
        width: Columns of the image.
        runs: Counted runs of each, after one that is not counted.
        device: As for `DepthPredictor`.
        precision: As for `DepthPredictor`.

    Returns:
        One result a preset, in order.

    Raises:
        ValueError: An argument is out of range, or a process failed; the message says why.
    """
    if runs < 1 or height < 1 or width < 1:
        raise ValueError(f"runs, height and width must be positive, got {runs}, {height}, {width}")
    results = []
    with tqdm(total=len(presets) * 2 * (runs + 1), unit="frame", file=sys.stderr) as progress:
        for preset in presets:
            progress.set_description(preset)
            arguments = (preset, height, width, device, precision)
            with (
                Side(_prepare, _OURS, *arguments) as ours,
                Side(_prepare, _REFERENCE, *arguments) as reference,
            ):
                measured: tuple[list[Any], list[Any]] = ([], [])
                for _ in range(runs + 1):
                    for side, frames in zip((ours, reference), measured, strict=True):
                        frames.append(side.run())
                        progress.update()
            results.append(Result(preset, measured[0][0][2], *map(_timing, measured)))
    return results


def machine() -> dict[str, str]:
    """Name what the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        if models:
            cpu = models[0].partition(":")[2].strip()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "cpu": f"{cpu}, {torch.get_num_threads()} threads",
        "gpu": gpu,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def format_table(results: list[Result]) -> str:
    """Lay results out as a Markdown table."""
    rows = [
        "| preset | precision | attention | median s | minimum s | peak memory GB | ratio |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        for name, timing, ratio in (
            (_OURS, result.ours, 1.0),
            (_REFERENCE, result.reference, result.speedup),
        ):
            rows.append(
                f"| {result.preset} | {result.precision} | {name} | {timing.median:.3f} "
                f"| {timing.minimum:.3f} | {timing.peak_memory / 1e9:.2f} | {ratio:.2f} |"
            )
    return "\n".join(rows)


def to_json(results: list[Result], *, height: int, width: int) -> str:
    """Write results, the image size and the machine as JSON."""
    rows = [
        {
            **asdict(result),
            "ours_median": result.ours.median,
            "ours_minimum": result.ours.minimum,
            "reference_median": result.reference.median,
            "speedup": result.speedup,
        }
        for result in results
    ]
    return json.dumps(
        {"machine": machine(), "height": height, "width": width, "results": rows}, indent=2
    )


def _prepare(
    formulation: str, preset: str, height: int, width: int, device: str, precision: str
) -> Callable[[], tuple[float, int, str]]:
    """Build a predictor; return what measures a frame: seconds, peak memory, bytes, precision."""
    predictor = DepthPredictor.from_checkpoint(
        preset, device=device, precision=precision, crop="none"
    )
    for module in predictor.model.modules():
        if isinstance(module, DeformableAttention):
            module.attend = ms_deform_attn if formulation == _OURS else ms_deform_attn_reference
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).numpy()

    def run() -> tuple[float, int, str]:
        start = time.perf_counter()
        predictor.predict(image)
        seconds = time.perf_counter() - start
        return seconds, peak_memory(predictor.device), predictor.precision

    return run


def _timing(measured: list[tuple[float, int, str]]) -> Timing:
    """All runs but the first, which warms up."""
    return Timing([seconds for seconds, _, _ in measured[1:]], measured[-1][1])
