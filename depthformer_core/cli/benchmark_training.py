"""`depthformer benchmark-training`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from depthformer_core.files import replacing


@dataclass(frozen=True)
class BenchmarkTrainingOptions:
    """Measure speed and memory of training, beside a straightforward loop in the same run."""

    presets: tyro.conf.Positional[tuple[str, ...]] = ("small", "swin_tiny_kitti")
    """Presets to train, from random weights, on generated images."""
    size: tuple[int, int] | None = None
    """Height and width of the random crop, pixels; that of each preset's recipe without."""
    batch_size: int = 1
    """Images of an iteration."""
    runs: int = 5
    """Counted iterations, after one that is not counted."""
    workers: int = 4
    """Processes that read images; the straightforward loop has none."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""
    output: Path | None = None
    """JSON file to write the figures to."""


def benchmark_training(options: BenchmarkTrainingOptions) -> None:
    """Run `depthformer benchmark-training`."""
    from depthformer_core.benchmark import machine
    from depthformer_core.benchmark import training as benchmarking

    results = benchmarking.run_training_benchmark(
        list(options.presets),
        size=options.size,
        batch_size=options.batch_size,
        runs=options.runs,
        workers=options.workers,
        device=options.device,
        precision=options.precision,
    )
    for name, value in machine().items():
        print(f"{name}: {value}")
    print(f"{options.runs} iterations\n")
    print(benchmarking.format_training_table(results))
    if options.output is not None:
        with replacing(options.output) as temporary:
            temporary.write_text(benchmarking.training_to_json(results))
