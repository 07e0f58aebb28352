"""`depthformer train`."""

import sys

import tyro

from depthformer_core.training.config import RENAMED_OPTIMIZATION, TrainingConfig
from depthformer_core.training.presets import RECIPES, training_preset

RENAMED = {
    f"--optim.{old}": f"--optim.{new.replace('_', '-')}"
    for old, new in RENAMED_OPTIMIZATION.items()
}
"""Options by the names they had in 0.1."""

# One subcommand for each preset, with its recipe as defaults.
TrainOptions = tyro.extras.subcommand_type_from_defaults(
    {name: training_preset(name) for name in RECIPES}
)


def train(config: TrainingConfig) -> None:
    """Run `depthformer train`; a run that a signal stops ends with that signal's exit code."""
    from depthformer_core.training.loop import TrainingInterrupted
    from depthformer_core.training.loop import train as run_training

    try:
        run_training(config)
    except TrainingInterrupted as interruption:
        print(f"depthformer: {interruption}", file=sys.stderr)
        sys.exit(128 + interruption.signal)
