"""Losses of training."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from depthformer_core.training.config import LossName
from depthformer_core.training.distributed import sum_over_processes

_EPSILON = 1e-3  # metres, added before the logarithm
_MEAN_WEIGHT = 0.15
_UNCERTAINTY_WEIGHT = 0.1


def silog_loss(prediction: Tensor, truth: Tensor, *, mean_only: bool = False) -> Tensor:
    """Compute the scale-invariant logarithmic loss (Eigen et al., arXiv 1406.2283).

    As the release weighs it: with `g = log(prediction + 1e-3) - log(truth + 1e-3)` the loss is
    `sqrt(var(g) + 0.15 mean(g)^2)`. Statistics run over the batches of all processes, so the loss
    does not depend on how many processes share a batch.

    Args:
        prediction: (B, 1, h, w), metres, at least 0; resized bilinearly to the truth.
        truth: (B, 1, H, W), metres, 0 where there is none.
        mean_only: Whether to omit the variance, as the release's option `warm_up` does in the first
            iterations.

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
    """Compute the mean absolute difference of the logarithms, where there is truth.

    It is the mean over the images of each one's mean, so that an image with a few laser points
    counts as much as a generated one with dense truth. It is near AbsRel where errors are small.
    Unlike in `silog_loss`, where the pixels along edges dominate the squares, all pixels count
    alike, and a wrong scale has its full cost.

    Args:
        prediction: (B, 1, h, w), metres, at least 0; resized bilinearly to the truth.
        truth: (B, 1, H, W), metres, 0 where there is none.

    Returns:
        The loss, float32, a scalar; NaN where no pixel has truth.
    """
    g, valid = _log_difference(prediction, truth)
    return _mean_of_images(g.abs(), valid)


def laplace_loss(depth: Tensor, scale: Tensor, truth: Tensor) -> Tensor:
    """Compute the negative log-likelihood of the truth under a Laplace distribution.

    Only the scale gets a gradient: the depth is detached (Kendall and Gal, arXiv 1703.04977,
    section 3, without the gradient that makes hard pixels count less).

    Args:
        depth: (B, 1, h, w), metres; resized bilinearly to the truth.
        scale: As `depth`, metres, positive.
        truth: (B, 1, H, W), metres, 0 where there is none.

    Returns:
        The loss, float32, a scalar, the mean over the images of each one's mean; NaN where no pixel
        has truth.
    """
    depth, scale = _resized(depth.detach(), truth), _resized(scale, truth) + _EPSILON
    valid = truth > 0
    error = torch.where(valid, (depth - truth).abs(), 0.0)
    return _mean_of_images(torch.where(valid, error / scale + torch.log(2 * scale), 0.0), valid)


Loss = Callable[[Tensor, Tensor], Tensor]
"""Loss of predicted depth: takes prediction and truth as `silog_loss`, returns a scalar."""

LOSSES: Mapping[LossName, Loss] = {
    "silog": silog_loss,
    "log_l1": log_l1_loss,
}
"""The losses by name."""


def training_loss(maps: Tensor, truth: Tensor, *, name: LossName | Loss) -> Tensor:
    """Compute the loss of a network: of its depth and, where it predicts one, of its scale.

    Args:
        maps: (B, 1, h, w) depth, or (B, 2, h, w) depth and scale, metres.
        truth: (B, 1, H, W), metres, 0 where there is none.
        name: The loss of the depth; one of your own gets the depth on the pixels of the truth.

    Returns:
        The loss, float32, a scalar.
    """
    function = LOSSES[name] if isinstance(name, str) else name
    loss = function(_resized(maps[:, :1], truth), truth)
    if maps.shape[1] == 1:
        return loss
    return loss + _UNCERTAINTY_WEIGHT * laplace_loss(maps[:, :1], maps[:, 1:], truth)


def _log_difference(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithm of predicted over true depth, 0 without truth, and the valid mask.

    Both have the shape of the truth: selecting the pixels would wait for a GPU.
    """
    prediction = _resized(prediction, truth)
    valid = truth > 0
    difference = torch.log(prediction + _EPSILON) - torch.log(truth + _EPSILON)
    return torch.where(valid, difference, 0.0), valid


def _resized(prediction: Tensor, truth: Tensor) -> Tensor:
    if prediction.shape[-2:] == truth.shape[-2:]:  # after learnt upsampling
        return prediction.float()
    return F.interpolate(
        prediction.float(), size=truth.shape[-2:], mode="bilinear", align_corners=True
    )


def _mean_of_images(values: Tensor, valid: Tensor) -> Tensor:
    """Compute the mean over the images with truth of the mean over their pixels with truth.

    Args:
        values: (B, 1, H, W), 0 without truth.
        valid: (B, 1, H, W), where there is truth.
    """
    counts = valid.flatten(1).sum(dim=1, dtype=torch.float32)
    means = values.flatten(1).sum(dim=1) / counts.clamp(min=1)
    images = sum_over_processes((counts > 0).sum(dtype=torch.float32))
    return sum_over_processes(means.sum()) / images
