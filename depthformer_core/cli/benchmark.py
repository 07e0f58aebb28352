"""`depthformer benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from depthformer_core.errors import DepthFormerError
from depthformer_core.files import replacing
from depthformer_core.presets import PRESETS


@dataclass(frozen=True)
class BenchmarkOptions:
    """Measure time and memory of networks, whole and by stages, beside baselines in one run."""

    presets: tyro.conf.Positional[tuple[str, ...]] = ("swin_large_kitti",)
    """Presets to measure; of those that come without weights, with random ones."""
    size: tuple[int, int] = (352, 1216)
    """Height and width of the image, pixels."""
    runs: int = 5
    """Counted runs of each baseline; the 99th percentile needs a hundred."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""
    compile: bool = False
    """Measure ours compiled by torch.compile too."""
    output: Path | None = None
    """JSON file to write the figures to."""


def benchmark(options: BenchmarkOptions) -> None:
    """Run `depthformer benchmark`."""
    from depthformer_core import benchmark as benchmarking

    for preset in options.presets:
        if preset not in PRESETS:
            raise DepthFormerError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    height, width = options.size
    results = benchmarking.run_benchmark(
        list(options.presets),
        height=height,
        width=width,
        runs=options.runs,
        device=options.device,
        precision=options.precision,
        compiled=options.compile,
    )
    for name, value in benchmarking.machine().items():
        print(f"{name}: {value}")
    print(f"image: {height}x{width}, {options.runs} runs\n")
    print(benchmarking.format_report(results))
    if options.output is not None:
        with replacing(options.output) as temporary:
            temporary.write_text(benchmarking.to_json(results, height=height, width=width))
