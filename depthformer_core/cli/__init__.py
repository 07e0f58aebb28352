"""The command `depthformer`: one module for each of its commands."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from depthformer_core.cli.benchmark import BenchmarkOptions, benchmark
from depthformer_core.cli.convert import ConvertOptions, convert
from depthformer_core.cli.demo import DemoOptions, demo
from depthformer_core.cli.kitti_bag import KittiBagOptions, kitti_bag
from depthformer_core.cli.predict import PredictOptions, predict

_COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "predict": (PredictOptions, predict),
    "convert": (ConvertOptions, convert),
    "kitti-bag": (KittiBagOptions, kitti_bag),
    "benchmark": (BenchmarkOptions, benchmark),
    "demo": (DemoOptions, demo),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a failure is one line and exit code 1.

    Args:
        args: Words of the command line; None for the process's own.
    """
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in _COMMANDS.items()},
        prog="depthformer",
        description="Metric depth from one camera image, by DepthFormer.",
        args=args,
    )
    run = next(run for kind, run in _COMMANDS.values() if type(options) is kind)
    try:
        run(options)
    except (ValueError, OSError) as error:
        sys.exit(f"depthformer: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
