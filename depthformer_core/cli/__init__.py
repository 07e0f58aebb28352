"""The command `depthformer`: one module for each of its commands."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from depthformer_core.cli.benchmark import BenchmarkOptions, benchmark
from depthformer_core.cli.benchmark_training import BenchmarkTrainingOptions, benchmark_training
from depthformer_core.cli.convert import ConvertOptions, convert
from depthformer_core.cli.demo import DemoOptions, demo
from depthformer_core.cli.doctor import DoctorOptions, doctor
from depthformer_core.cli.evaluate import EvaluateOptions, evaluate
from depthformer_core.cli.kitti_bag import KittiBagOptions, kitti_bag
from depthformer_core.cli.predict import PredictOptions, predict
from depthformer_core.cli.replay import ReplayOptions, replay
from depthformer_core.cli.synthesize import SynthesizeOptions, synthesize
from depthformer_core.cli.synthesize_frames import (
    SynthesizeFramesOptions,
    synthesize_frames,
)
from depthformer_core.cli.train import TrainOptions, train
from depthformer_core.training import TrainingConfig

# What each command parses, and what runs what was parsed.
_COMMANDS: dict[str, Any] = {
    "predict": PredictOptions,
    "train": TrainOptions,
    "evaluate": EvaluateOptions,
    "replay": ReplayOptions,
    "convert": ConvertOptions,
    "kitti-bag": KittiBagOptions,
    "synthesize": SynthesizeOptions,
    "synthesize-frames": SynthesizeFramesOptions,
    "benchmark": BenchmarkOptions,
    "benchmark-training": BenchmarkTrainingOptions,
    "demo": DemoOptions,
    "doctor": DoctorOptions,
}
_RUNS: dict[type, Callable[[Any], None]] = {
    PredictOptions: predict,
    TrainingConfig: train,
    EvaluateOptions: evaluate,
    ReplayOptions: replay,
    ConvertOptions: convert,
    KittiBagOptions: kitti_bag,
    SynthesizeOptions: synthesize,
    SynthesizeFramesOptions: synthesize_frames,
    BenchmarkOptions: benchmark,
    BenchmarkTrainingOptions: benchmark_training,
    DemoOptions: demo,
    DoctorOptions: doctor,
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a failure is one line and exit code 1.

    Args:
        args: Words of the command line; None for the process's own.
    """
    options = tyro.extras.subcommand_cli_from_dict(
        _COMMANDS,
        prog="depthformer",
        description="Metric depth from one camera image, by DepthFormer.",
        args=args,
    )
    try:
        _RUNS[type(options)](options)
    except (ValueError, OSError) as error:
        sys.exit(f"depthformer: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
