"""Training: `train` runs a `TrainingConfig`, `training_preset` makes one."""

from typing import TYPE_CHECKING

from depthformer_core.lazy import lazy_imports

if TYPE_CHECKING:
    from depthformer_core.training.config import (
        Optimization,
        TrainingConfig,
        TrainingData,
        ValidationData,
    )
    from depthformer_core.training.loop import DeadNetworkError, TrainingInterrupted, train
    from depthformer_core.training.presets import training_preset
    from depthformer_core.training.repetition import read_config
    from depthformer_core.training.trainer import NonFiniteError, Trainer

__all__ = [
    "train",
    "TrainingConfig",
    "TrainingData",
    "ValidationData",
    "training_preset",
    "read_config",
    "Optimization",
    "Trainer",
    "DeadNetworkError",
    "NonFiniteError",
    "TrainingInterrupted",
]

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "train": "loop",
        "TrainingConfig": "config",
        "TrainingData": "config",
        "ValidationData": "config",
        "training_preset": "presets",
        "read_config": "repetition",
        "Optimization": "config",
        "Trainer": "trainer",
        "DeadNetworkError": "loop",
        "NonFiniteError": "trainer",
        "TrainingInterrupted": "loop",
    },
)
