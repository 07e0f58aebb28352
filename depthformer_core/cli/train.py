"""`depthformer train`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from depthformer_core.errors import DepthFormerError
from depthformer_core.training.config import RENAMED_OPTIMIZATION, TrainingConfig
from depthformer_core.training.presets import RECIPES, training_preset

RENAMED = {
    f"--optim.{old}": f"--optim.{new.replace('_', '-')}"
    for old, new in RENAMED_OPTIMIZATION.items()
}
"""Options by the names they had in 0.1."""

_PROG = "depthformer train"
_CONFIG = "--config"
_DESCRIPTION = (
    "Train a network by the recipe of a preset, or repeat a run: --config RUN/run.json, instead of "
    "a preset, takes all options from its description."
)


@dataclass(frozen=True)
class TrainOptions:
    """Options of the command.

    Attributes:
        config: The run.
        repeats: Description of the run that it repeats.
    """

    config: TrainingConfig
    repeats: Path | None = None


def parse(arguments: Sequence[str]) -> TrainOptions:
    """Parse the command line.

    Raises:
        DepthFormerError: The description of the run to be repeated cannot be read.
    """
    rest = list(arguments)
    repeats = _take_config(rest)
    if repeats is None:
        # One subcommand for each preset, with its recipe as defaults.
        presets = tyro.extras.subcommand_type_from_defaults(
            {name: training_preset(name) for name in RECIPES}
        )
        config: TrainingConfig = tyro.cli(presets, prog=_PROG, args=rest, description=_DESCRIPTION)
        return TrainOptions(config)
    from depthformer_core.training.repetition import read_config

    if rest and rest[0] in RECIPES:
        raise DepthFormerError(
            f"{_CONFIG} {repeats} names all options of a run: leave the preset {rest[0]} out"
        )
    config = tyro.cli(
        TrainingConfig,
        prog=f"{_PROG} {_CONFIG} {repeats}",
        args=rest,
        default=read_config(repeats),
        description=f"Repeat the run of {repeats}, with the options given here instead of its own.",
    )
    return TrainOptions(config, repeats)


def _take_config(arguments: list[str]) -> Path | None:
    """Remove the option `--config` from arguments, and return its value."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name != _CONFIG:
            continue
        if not equals and index + 1 == len(arguments):
            raise DepthFormerError(f"{_CONFIG} needs the description of a run, RUN/run.json")
        path = Path(value if equals else arguments[index + 1])
        del arguments[index : index + (1 if equals else 2)]
        return path / "run.json" if path.is_dir() else path
    return None


def train(options: TrainOptions) -> None:
    """Run `depthformer train`; a run that a signal stops ends with that signal's exit code."""
    from depthformer_core.training.loop import TrainingInterrupted
    from depthformer_core.training.loop import train as run_training

    try:
        run_training(options.config, repeats=options.repeats)
    except TrainingInterrupted as interruption:
        print(f"depthformer: {interruption}", file=sys.stderr)
        sys.exit(128 + interruption.signal)
