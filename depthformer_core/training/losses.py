"""What training minimises."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from depthformer_core.training.config import LossName
from depthformer_core.training.distributed import sum_over_processes

_EPSILON = 1e-3  # metres, added before the logarithm
_MEAN_WEIGHT = 0.15


def silog_loss(prediction: Tensor, truth: Tensor, *, mean_only: bool = False) -> Tensor:
    """Scale-invariant logarithmic loss (Eigen et al., arXiv 1406.2283), where there is truth.

    As the release weighs it: with `g = log(prediction + 1e-3) - log(truth + 1e-3)` the loss is
    `sqrt(var(g) + 0.15 mean(g)^2)`. Statistics run over the batches of all processes, so the loss
    does not depend on how many processes share a batch.

    Args:
        prediction: (B, 1, h, w), metres, at least 0; resized bilinearly to the truth.
        truth: (B, 1, H, W), metres, 0 where there is none.
        mean_only: Whether to leave the variance out, which the release does in its first
            iterations if asked to (`warm_up`).

    Returns:
        The loss, float32, a scalar; NaN where fewer than two pixels have truth.
    """
    g, valid = _log_difference(prediction, truth)
    count = sum_over_processes(valid.sum(dtype=torch.float32))
    mean = sum_over_processes(g.sum()) / count
    if mean_only:
        return torch.sqrt(_MEAN_WEIGHT * mean**2)
    squares = torch.where(valid, (g - mean) ** 2, 0.0)
    variance = sum_over_processes(squares.sum()) / (count - 1)
    return torch.sqrt(variance + _MEAN_WEIGHT * mean**2)


def log_l1_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of the logarithms, where there is truth.

    Near AbsRel where errors are small. Unlike `silog_loss`, whose squares are ruled by the pixels
    along edges, it is about all pixels alike, and it lets no scale go free.

    Args:
        prediction: (B, 1, h, w), metres, at least 0; resized bilinearly to the truth.
        truth: (B, 1, H, W), metres, 0 where there is none.

    Returns:
        The loss, float32, a scalar; NaN where no pixel has truth.
    """
    g, valid = _log_difference(prediction, truth)
    count = sum_over_processes(valid.sum(dtype=torch.float32))
    return sum_over_processes(g.abs().sum()) / count


LOSSES: Mapping[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "silog": silog_loss,
    "log_l1": log_l1_loss,
}
"""The losses by name."""


def _log_difference(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of predicted over true depth, 0 without truth, and where there is truth.

    Both have the shape of the truth: to pick the pixels out, a GPU would have to be waited for.
    """
    prediction = F.interpolate(
        prediction.float(), size=truth.shape[-2:], mode="bilinear", align_corners=True
    )
    valid = truth > 0
    difference = torch.log(prediction + _EPSILON) - torch.log(truth + _EPSILON)
    return torch.where(valid, difference, 0.0), valid
