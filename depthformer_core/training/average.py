"""Moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network whose weights follow the trained ones slowly (EMA).

    Parameters and floating-point buffers, such as BatchNorm's statistics, are averaged; counters
    and indices are copied. The first update copies everything.

    Args:
        network: The network that is trained.
        decay: Share of the average that an update keeps.

    Attributes:
        network: The average.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, *, first: bool) -> None:
        """Let the average follow the weights.

        Args:
            network: The network that is trained, after a step.
            first: Whether nothing has been averaged yet.
        """
        averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mine, theirs in zip(_tensors(self.network), _tensors(network), strict=True):
            followed = mine.is_floating_point() and not first
            for pair, tensor in zip(averaged if followed else copied, (mine, theirs), strict=True):
                pair.append(tensor.detach())
        if averaged[0]:
            torch._foreach_lerp_(*averaged, 1 - self.decay)
        if copied[0]:
            torch._foreach_copy_(*copied)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
