"""Optimizer and learning rate of the release."""

import math

from torch import nn
from torch.optim import AdamW

_WARM_UP_START = 1e-3
_FINAL = 1e-8
_TABLE = "relative_position_bias_table"


def build_optimizer(
    model: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float]
) -> AdamW:
    """Build the optimizer of a network.

    LayerNorms and relative position tables are not decayed. BatchNorms are, as in the release:
    its rule matches names with `norm`, and its BatchNorms are called `bn`.

    Args:
        model: The network.
        lr: Learning rate.
        weight_decay: Decoupled decay of all other parameters.
        betas: Decay of the two running moments.
    """
    free: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            exempt = isinstance(module, nn.LayerNorm) or name == _TABLE
            (free if exempt else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=lr, betas=betas, fused=True)


def learning_rate(iteration: int, *, peak: float, warm_up: int, iterations: int) -> float:
    """Compute the learning rate of one iteration.

    A cosine falls from `peak` at iteration 0 to 1e-8 of it at `iterations`. During the warm-up it
    is multiplied by a line from 1/1000 to 1, so `peak` itself is never reached.

    Args:
        iteration: Iterations done before this one.
        peak: Height of the cosine.
        warm_up: Iterations of the warm-up.
        iterations: Iterations of the whole run.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    rate = peak * (_FINAL + (1 - _FINAL) * cosine)
    if iteration < warm_up:
        rate *= 1 - (1 - iteration / warm_up) * (1 - _WARM_UP_START)
    return rate
