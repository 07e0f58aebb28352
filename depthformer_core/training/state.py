"""State of a training run, to resume it as if it had never stopped.

It holds no generator states: every draw of a run is seeded by the run's seed and the iteration
(dropout, drop path) or the epoch and the image (order, augmentation).
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW

from depthformer_core.checkpoint import CheckpointError
from depthformer_core.checkpoint.check import current_name
from depthformer_core.files import replacing

_KEY = "depthformer_training_state"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        iteration: Iterations done.
        steps: Steps of the optimizer; fewer where batches were skipped.
        evaluated: Iterations done at the latest evaluation, 0 before the first.
        best: Lowest mean AbsRel of its evaluations, or None before the first.
    """

    iteration: int = 0
    steps: int = 0
    evaluated: int = 0
    best: float | None = None


def save_state(
    path: str | os.PathLike[str],
    *,
    model: nn.Module,
    ema: nn.Module | None,
    optimizer: AdamW,
    progress: Progress,
) -> None:
    """Write a run's weights, their EMA, the optimizer's moments and the progress.

    The file appears whole or not at all; one that was there before stays until then.

    Raises:
        CheckpointError: The file cannot be written.
    """
    tensors = {name: t.contiguous() for name, t in _tensors(model, ema, optimizer).items()}
    metadata = {_KEY: json.dumps(asdict(progress))}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write training state {path}: {error}") from error


def load_state(
    path: str | os.PathLike[str],
    *,
    model: nn.Module,
    ema: nn.Module | None,
    optimizer: AdamW,
) -> Progress:
    """Restore the state that `save_state` wrote.

    Raises:
        CheckpointError: The file is missing, damaged, no training state, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no training state at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            progress = _parse((file.metadata() or {}).get(_KEY), path)
            if progress.steps:
                _make_moments(optimizer, progress.steps)
            places = _tensors(model, ema, optimizer)
            stored = {current_name(name): name for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(file.get_slice(key).get_shape()) for name, key in stored.items()}
            wrong = [
                name
                for name in sorted(shapes.keys() | places.keys())
                if name not in places or shapes.get(name) != tuple(places[name].shape)
            ]
            if wrong:
                raise CheckpointError(
                    f"{path} is of another network or of other options: {wrong[0]} and "
                    f"{len(wrong) - 1} more of its tensors do not fit"
                )
            with torch.no_grad():
                for name, place in places.items():
                    place.copy_(file.get_tensor(stored[name]))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read training state {path}: {error}") from error
    return progress


def _tensors(model: nn.Module, ema: nn.Module | None, optimizer: AdamW) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if ema is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in ema.state_dict().items()}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{moment}.{name}": state[moment] for moment in _MOMENTS if moment in state}
    return tensors


def _make_moments(optimizer: AdamW, steps: int) -> None:
    """Create the optimizer's state of every parameter after some steps, with empty moments."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                # Where AdamW's fused step keeps its counter.
                "step": torch.tensor(float(steps), device=parameter.device),
                **{moment: torch.zeros_like(parameter) for moment in _MOMENTS},
            }


def _parse(text: str | None, path: Path) -> Progress:
    if text is None:
        raise CheckpointError(f"{path} is no training state: its metadata lacks {_KEY}")
    try:
        values: dict[str, Any] = json.loads(text)
        progress = Progress(**values)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} has bad metadata: {text!r}") from error
    counts = (progress.iteration, progress.steps, progress.evaluated)
    whole = all(type(count) is int and count >= 0 for count in counts)
    best = progress.best is None or isinstance(progress.best, float)
    if not (whole and best and max(counts) == progress.iteration):
        raise CheckpointError(f"{path} has bad metadata: {text!r}")
    return progress
