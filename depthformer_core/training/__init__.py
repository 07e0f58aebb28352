"""Training: `train` runs a `TrainingConfig`, `training_preset` makes one."""

from typing import TYPE_CHECKING

from depthformer_core.lazy import import_when_asked

if TYPE_CHECKING:
    from depthformer_core.training.config import (
        Optimization,
        TrainingConfig,
        TrainingData,
        ValidationData,
    )
    from depthformer_core.training.loop import DeadNetworkError, TrainingInterrupted, train
    from depthformer_core.training.presets import training_preset
    from depthformer_core.training.trainer import NonFiniteError, Trainer

__all__ = [
    "train",
    "TrainingConfig",
    "TrainingData",
    "ValidationData",
    "training_preset",
    "Optimization",
    "Trainer",
    "DeadNetworkError",
    "NonFiniteError",
    "TrainingInterrupted",
]

__getattr__, __dir__ = import_when_asked(
    __name__,
    {
        "train": "loop",
        "TrainingConfig": "config",
        "TrainingData": "config",
        "ValidationData": "config",
        "training_preset": "presets",
        "Optimization": "config",
        "Trainer": "trainer",
        "DeadNetworkError": "loop",
        "NonFiniteError": "trainer",
        "TrainingInterrupted": "loop",
    },
)
