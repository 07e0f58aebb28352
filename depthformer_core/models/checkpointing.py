"""Activation checkpointing: compute again in the backward pass what would have been kept."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def checkpointed(function: Callable[..., Tensor], *args: Any, recompute: bool) -> Tensor:
    """Call a function, keeping for its gradient everything or its arguments alone.

    A function that is called again draws the same random numbers again, so dropout repeats. It
    must change no state: a BatchNorm in it would count every batch twice.

    Args:
        function: Of tensors, and of values that need no gradient.
        *args: Its arguments.
        recompute: Whether the backward pass calls it again.
    """
    if not recompute:
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False)
    return result
