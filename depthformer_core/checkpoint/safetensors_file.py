"""Our own checkpoints: weights as safetensors, with the configuration inside."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from depthformer_core.checkpoint.check import (
    build_without_weights,
    check_tensors,
    current_name,
)
from depthformer_core.checkpoint.file_kind import is_torch_file
from depthformer_core.checkpoint.official import load_official_checkpoint
from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import CheckpointError
from depthformer_core.files import replacing
from depthformer_core.models import DepthFormer, create_model

_CONFIG_KEY = "depthformer_config"


def save_checkpoint(
    path: str | os.PathLike[str], model: DepthFormer, *, half: bool = False
) -> None:
    """Write a network's weights and configuration to one safetensors file.

    The file appears whole or not at all.

    Args:
        path: The file.
        model: The network.
        half: Whether to round the weights to float16, for half the size.

    Raises:
        CheckpointError: The file cannot be written, or float16 cannot hold a weight.
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if half:
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = tensor.half()
                if not tensors[name].isfinite().all():
                    raise CheckpointError(f"{name} has values that float16 cannot hold")
    metadata = {_CONFIG_KEY: json.dumps(model.config.to_dict())}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}") from error


def load_checkpoint(path: str | os.PathLike[str]) -> DepthFormer:
    """Read a network written by `save_checkpoint`, on the CPU, in evaluation mode.

    One of the official release is converted, see `load_official_checkpoint`.

    Raises:
        CheckpointError: The file is missing, truncated, of another kind, or does not hold exactly
            the tensors of its configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if is_torch_file(path):
        return load_official_checkpoint(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _CONFIG_KEY not in metadata:
                raise CheckpointError(
                    f"{path} is no DepthFormer checkpoint: its metadata lacks {_CONFIG_KEY}"
                )
            config = _parse_config(metadata[_CONFIG_KEY], path)
            stored = {current_name(name): name for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(file.get_slice(key).get_shape()) for name, key in stored.items()}
            if sum(config.depths) > len(shapes):
                raise CheckpointError(
                    f"{path}: its configuration has {sum(config.depths)} blocks, "
                    f"but there are only {len(shapes)} tensors"
                )
            try:
                check_tensors(shapes, build_without_weights(config).state_dict())
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from error
            model = create_model(config)
            with torch.no_grad():
                for name, tensor in model.state_dict().items():
                    tensor.copy_(file.get_tensor(stored[name]))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    return model


def _parse_config(text: str, path: Path) -> DepthFormerConfig:
    try:
        values = json.loads(text)
        return DepthFormerConfig.from_dict(values)
    except ValueError as error:
        raise CheckpointError(f"{path} has a bad configuration: {error}") from error
