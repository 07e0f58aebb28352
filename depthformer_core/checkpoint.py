"""Checkpoints: weights as safetensors with the configuration inside, and the release's own."""

import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from depthformer_core.config import DepthFormerConfig
from depthformer_core.files import replacing
from depthformer_core.models import DepthFormer, create_model

_CONFIG_KEY = "depthformer_config"

_BLOCK = r"backbone\.stages\.(\d+)\.blocks\.(\d+)"
# The release's names to ours, tried in order. What no rule matches is no DepthFormer's tensor.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\.patch_embed\.projection\.", "swin.patch_embed.proj."),
    (r"backbone\.patch_embed\.norm\.", "swin.patch_embed.norm."),
    (_BLOCK + r"\.attn\.w_msa\.", r"swin.layers.\1.blocks.\2.attn."),
    (_BLOCK + r"\.ffn\.layers\.0\.0\.", r"swin.layers.\1.blocks.\2.mlp.fc1."),
    (_BLOCK + r"\.ffn\.layers\.1\.", r"swin.layers.\1.blocks.\2.mlp.fc2."),
    (_BLOCK + r"\.norm(\d)\.", r"swin.layers.\1.blocks.\2.norm\3."),
    (r"backbone\.norm(\d)\.", r"swin.norms.\1."),
    (r"backbone\.conv1\.", "stem.conv."),
    (r"backbone\.bn1\.", "stem.norm."),
    (r"neck\.lateral_convs\.(\d+)\.conv\.", r"neck.laterals.\1.conv."),
    (r"neck\.lateral_convs\.(\d+)\.bn\.", r"neck.laterals.\1.norm."),
    (r"neck\.trans_proj\.(\d+)\.conv\.", r"neck.stage_projections.\1.conv."),
    (r"neck\.trans_proj\.(\d+)\.bn\.", r"neck.stage_projections.\1.norm."),
    (r"neck\.trans_fusion\.(\d+)\.conv\.", r"neck.stage_fusions.\1.conv."),
    (r"neck\.trans_fusion\.(\d+)\.bn\.", r"neck.stage_fusions.\1.norm."),
    (r"neck\.conv_proj\.0\.conv\.", "neck.stem_projection.conv."),
    (r"neck\.conv_proj\.0\.bn\.", "neck.stem_projection.norm."),
    (r"neck\.conv_fusion\.0\.conv\.", "neck.stem_fusion.conv."),
    (r"neck\.conv_fusion\.0\.bn\.", "neck.stem_fusion.norm."),
    (r"neck\.level_embed$", "neck.level_code"),
    (r"neck\.reference_points\.", "neck.reference_points."),
    (r"neck\.self_attn\.", "neck.self_attention."),
    (r"neck\.multi_att\.", "neck.cross_attention."),
    (r"decode_head\.conv_list\.0\.conv\.", "decoder.bottleneck."),
    (r"decode_head\.conv_depth\.", "head."),
)
# Names whose stage or block counts differently there.
_DOWNSAMPLE = re.compile(r"backbone\.stages\.(\d+)\.downsample\.(norm|reduction)\.(.+)")
_UP_BLOCK = re.compile(r"decode_head\.conv_list\.([1-9]\d*)\.conv([AB])\.conv\.(.+)")

_INDEX = ".relative_position_index"
_TABLE = ".relative_position_bias_table"


class CheckpointError(ValueError):
    """A checkpoint cannot be read, written or converted."""


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

    Raises:
        CheckpointError: The file is missing, truncated, of another kind, or does not hold exactly
            the tensors of its configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if path.suffix in {".pth", ".pt", ".ckpt", ".bin"}:
        raise CheckpointError(
            f"{path} is a PyTorch file; turn the release's checkpoint into a safetensors file "
            f"with: depthformer convert {path} OUT.safetensors --preset PRESET"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _CONFIG_KEY not in metadata:
                raise CheckpointError(
                    f"{path} is no DepthFormer checkpoint: its metadata lacks {_CONFIG_KEY}"
                )
            config = _parse_config(metadata[_CONFIG_KEY], path)
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            if sum(config.depths) > len(shapes):
                raise CheckpointError(
                    f"{path}: its configuration has {sum(config.depths)} blocks, "
                    f"but there are only {len(shapes)} tensors"
                )
            try:
                # On the meta device widths cost nothing, however large they claim to be.
                with torch.device("meta"):
                    expected = DepthFormer(config).state_dict()
            except (RuntimeError, TypeError, OverflowError) as error:
                reason = str(error).partition("\n")[0]
                raise CheckpointError(
                    f"{path}: no network can be built from its configuration: {reason}"
                ) from error
            try:
                _check_tensors(shapes, expected)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from error
            model = create_model(config)
            with torch.no_grad():
                for name, tensor in model.state_dict().items():
                    tensor.copy_(file.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    return model


def read_official_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the weights out of the release's own checkpoint file, running no code of it.

    Raises:
        CheckpointError: The file is missing, damaged, holds pickled code or no `state_dict`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} holds more than weights and is refused, since loading it would run its "
            f"pickled code: {reason}"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} holds no state_dict, as the release's checkpoints do")
    state = content["state_dict"]
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path}: state_dict entry {name!r} is no tensor")
    return dict(state)


def convert_official_state_dict(
    official: Mapping[str, Tensor], model: DepthFormer
) -> dict[str, Tensor]:
    """Turn the release's weights into ours.

    Names are translated, patch merging's inputs are reordered from (channel, row, column) to
    timm's (column, row, channel), and each relative position table from the order of the
    checkpoint's own index to timm's.

    Args:
        official: Tensors by the release's names.
        model: The network they are for.

    Returns:
        Tensors for `model.load_state_dict(..., strict=True)`.

    Raises:
        CheckpointError: A tensor is unknown, missing, misshapen or there twice; it is named.
    """
    converted: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for name, tensor in official.items():
        if name.endswith(_INDEX):
            _translate(name)
            continue
        ours = _translate(name)
        if ours in converted:
            raise CheckpointError(f"{name} and {origins[ours]} both hold {ours}")
        converted[ours], origins[ours] = tensor, name
    _check_tensors(
        {name: tuple(tensor.shape) for name, tensor in converted.items()},
        model.state_dict(),
        origins=origins,
    )
    buffers = dict(model.named_buffers())
    for name, tensor in converted.items():
        if ".downsample." in name:
            converted[name] = _column_row_channel(tensor)
        elif name.endswith(_TABLE):
            index_name = origins[name].removesuffix(_TABLE) + _INDEX
            if index_name in official:
                index = buffers[name.removesuffix(_TABLE) + _INDEX]
                converted[name] = _reindex(tensor, official[index_name], index, index_name)
    return converted


def _parse_config(text: str, path: Path) -> DepthFormerConfig:
    try:
        values = json.loads(text)
        return DepthFormerConfig.from_dict(values)
    except ValueError as error:
        raise CheckpointError(f"{path} has a bad configuration: {error}") from error


def _translate(name: str) -> str:
    if match := _DOWNSAMPLE.fullmatch(name):
        stage, part, rest = match.groups()
        return f"swin.layers.{int(stage) + 1}.downsample.{part}.{rest}"
    if match := _UP_BLOCK.fullmatch(name):
        block, part, rest = match.groups()
        return f"decoder.blocks.{int(block) - 1}.conv_{part.lower()}.{rest}"
    for pattern, replacement in _RENAMES:
        ours, count = re.subn("^" + pattern, replacement, name)
        if count:
            return ours
    raise CheckpointError(f"unknown tensor {name}: no DepthFormer has it")


def _check_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, Tensor],
    *,
    origins: Mapping[str, str] | None = None,
) -> None:
    """Compare tensors with a network's, naming the first that differs.

    Args:
        shapes: Shape of each tensor by our name.
        expected: The network's tensors.
        origins: Where the tensors were converted, the release's name of each.

    Raises:
        CheckpointError: A tensor is unknown, misshapen or missing.
    """
    converted = origins is not None
    origins = origins or {}
    for name, shape in shapes.items():
        shown = origins.get(name, name)
        if name not in expected:
            raise CheckpointError(f"unknown tensor {shown}: this network has none of that name")
        if shape != tuple(expected[name].shape):
            raise CheckpointError(
                f"tensor {shown} has shape {shape}, this network's is {tuple(expected[name].shape)}"
            )
    missing = [name for name in expected if name not in shapes]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = ": nothing in the checkpoint becomes it" if converted else ""
        raise CheckpointError(f"missing tensor {missing[0]}{more}{why}")


def _column_row_channel(tensor: Tensor) -> Tensor:
    """Reorder the last axis from (channel, row, column) to (column, row, channel)."""
    channels = tensor.shape[-1] // 4
    grid = tensor.view(*tensor.shape[:-1], channels, 2, 2)
    return grid.transpose(-1, -3).flatten(-3)


def _reindex(table: Tensor, theirs: Tensor, ours: Tensor, name: str) -> Tensor:
    """Reorder a bias table so that `result[ours] == table[theirs]`."""
    if theirs.shape != ours.shape:
        raise CheckpointError(
            f"tensor {name} has shape {tuple(theirs.shape)}, "
            f"this network's windows need {tuple(ours.shape)}"
        )
    theirs = theirs.long()
    if theirs.min() < 0 or theirs.max() >= len(table):
        raise CheckpointError(f"tensor {name} points outside its table of {len(table)} rows")
    result = torch.empty_like(table)
    result[ours.flatten()] = table[theirs.flatten()]
    if not torch.equal(result[ours], table[theirs]):
        raise CheckpointError(f"tensor {name} is no relative position index")
    return result
