"""`depthformer demo`."""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DemoOptions:
    """Play a street through the running node, and keep pictures and a report."""

    output: Path = field(default_factory=lambda: Path("demo"))
    """Folder that is replaced by the result."""
    drive: Path | None = None
    """A KITTI raw drive to play; a generated street without."""
    checkpoint: str = "small"
    """A safetensors file, or one of the official release; small for the weights that come with the
    package; or another preset's name (random weights)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


def demo(options: DemoOptions) -> None:
    """Run `depthformer demo`."""
    from depthformer_core.demo import run_demo

    report = run_demo(
        output=options.output,
        drive=options.drive,
        checkpoint=options.checkpoint,
        device=options.device,
    )
    print(json.dumps(report, indent=2))
