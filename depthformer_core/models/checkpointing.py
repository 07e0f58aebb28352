"""Activation checkpointing: recomputation of activations in the backward pass."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def checkpointed(function: Callable[..., Tensor], *args: Any, enabled: bool) -> Tensor:
    """Call a function, with or without activation checkpointing.

    With it, only the arguments are kept, and the backward pass calls the function again. It draws
    the same random numbers again, so dropout repeats. It must change no state: a BatchNorm in it
    would count every batch twice.

    Args:
        function: Of tensors, and of values that need no gradient.
        *args: Its arguments.
        enabled: Whether activations are checkpointed.
    """
    if not enabled:
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False)
    return result
