"""AdamW with the release's parameter groups."""

from torch import nn
from torch.optim import AdamW

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
