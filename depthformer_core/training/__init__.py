"""Training: `train` runs a `TrainingConfig`, `training_preset` makes one."""

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
