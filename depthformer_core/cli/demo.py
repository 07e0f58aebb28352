"""`depthformer demo`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from depthformer_core.paths import user_path
from depthformer_core.signals import Signals, exit_at_sigterm


@dataclass(frozen=True)
class DemoOptions:
    """Play a street through the running node, and keep pictures and a report."""

    output: Path = field(default_factory=lambda: Path("demo"))
    """Folder that is replaced by the result."""
    drive: Path | None = None
    """A KITTI raw drive to play; a generated street without."""
    checkpoint: str | None = None
    """A safetensors file, one of the official release, or an exported network (.onnx); or a
    preset's name. Without, weights that come with the package: small on a generated street,
    small_kitti on a drive."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; of an exported network tensorrt or openvino too."""


def demo(options: DemoOptions) -> None:
    """Run `depthformer demo`."""
    with Signals():
        from depthformer_ros.demo import run_demo, summary

    with exit_at_sigterm():
        output = user_path(options.output)
        report = run_demo(
            output=output,
            drive=None if options.drive is None else user_path(options.drive),
            checkpoint=options.checkpoint,
            device=options.device,
        )
    sys.stdout.writelines(f"{line}\n" for line in summary(report, output))
