"""Initial weights of a training run."""

import dataclasses
from pathlib import Path

import torch

from depthformer_core.checkpoint import load_checkpoint
from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.models import DepthFormer, create_model
from depthformer_core.models.imagenet import load_imagenet
from depthformer_core.training.config import TrainingConfig
from depthformer_core.weights import SHIPPED

# Fields that may differ between a network and its initial weights.
_WEIGHTLESS = (
    "hahi_query_stride",
    *("drop_path", "dropout", "min_depth", "max_depth"),
    *("crop", "focal_length", "image_width", "image_height"),
)


def start_network(config: TrainingConfig) -> DepthFormer:
    """Build the network with the initial weights of a run.

    Raises:
        CheckpointError: `config.weights` is no checkpoint.
        DepthFormerError: The checkpoint is of another network, or this one has no ImageNet weights.
    """
    torch.manual_seed(config.seed)
    model = create_model(config.model)
    if config.resume or config.weights == "random":
        pass
    elif config.weights == "imagenet":
        load_imagenet(model, file=config.imagenet)
    else:
        before = load_checkpoint(SHIPPED.get(config.weights, Path(config.weights)))
        _check_same_weights(before.config, config.model, config.weights)
        _copy_weights(model, before)
    model.activation_checkpointing = config.activation_checkpointing
    return model


def _copy_weights(model: DepthFormer, before: DepthFormer) -> None:
    """Copy the weights of a network that may lack learnt upsampling or uncertainty.

    A learnt upsampling starts as the interpolation that it replaces, an uncertainty as that of a
    new network.
    """
    new, old = model.state_dict(), before.state_dict()
    for name in ("head.weight", "head.bias"):
        old[name] = torch.cat((old[name], new[name][len(old[name]) :]))
    model.load_state_dict({**new, **old}, strict=True)


def _check_same_weights(before: DepthFormerConfig, now: DepthFormerConfig, path: str) -> None:
    if before.upsampling == "bilinear":
        before = dataclasses.replace(before, upsampling=now.upsampling)
    if not before.uncertainty:
        before = dataclasses.replace(before, uncertainty=now.uncertainty)
    old, new = before.to_dict(), now.to_dict()
    different = [
        f"{name} is {old[name]}, wanted {new[name]}"
        for name in old
        if name not in _WEIGHTLESS and old[name] != new[name]
    ]
    if different:
        raise DepthFormerError(f"{path} is another network: {'; '.join(different)}")
