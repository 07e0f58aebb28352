"""Checkpoints of the official release: its names, its orders, its files."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from depthformer_core.checkpoint.check import build_without_weights, check_tensors
from depthformer_core.checkpoint.official_config import choose_config
from depthformer_core.checkpoint.torch_file import StoredTensor, TorchFile
from depthformer_core.errors import CheckpointError
from depthformer_core.models import DepthFormer, create_model

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
    (r"neck\.level_embed$", "neck.level_embed"),
    (r"neck\.reference_points\.", "neck.reference_points."),
    (r"neck\.self_attn\.", "neck.self_attention."),
    (r"neck\.multi_att\.", "neck.cross_attention."),
    (r"decode_head\.conv_list\.0\.conv\.", "decoder.bottleneck."),
    (r"decode_head\.conv_depth\.", "head."),
)
# Names whose stage or block counts differently there.
_DOWNSAMPLE = re.compile(r"backbone\.stages\.(\d+)\.downsample\.(norm|reduction)\.(.+)")
_UP_BLOCK = re.compile(r"decode_head\.conv_list\.([1-9]\d*)\.conv([AB])\.conv\.(.+)")
# A convolution that the teachers of TIE-KD (arXiv 2302.10657) have and never use.
_UNUSED = re.compile(r"decode_head\.conv_out\.0\.(weight|bias)")

_INDEX = ".relative_position_index"
_TABLE = ".relative_position_bias_table"
_COUNTER = ".num_batches_tracked"  # BatchNorm's, which PyTorch before 0.4.1 did not have
_MODULE = "module."  # what DataParallel puts before every name
_EMA = "ema_"  # what mmcv's EMAHook puts before the names of EMA weights


class OfficialCheckpoint(Mapping[str, Tensor]):
    """The weights in a checkpoint of the release, each read on access.

    A mapping from the release's names, as a context manager.

    Args:
        path: The file.
        ema: Whether to take the EMA weights that mmcv's `EMAHook` keeps beside the weights.

    Attributes:
        shapes: Shape of each tensor by the release's name.
        averages: Number of EMA tensors in the file beside its weights.
        config_text: The release's configuration as the file holds it; None where it does not.

    Raises:
        CheckpointError: The file is missing, damaged, or holds no weights or no EMA.
    """

    def __init__(self, path: str | os.PathLike[str], *, ema: bool = False) -> None:
        self.path = Path(path)
        self._ema = ema
        self._file = TorchFile(path)
        self._tensors: dict[str, StoredTensor | Tensor] = {}
        self.averages = 0
        self.config_text: str | None = None

    def __enter__(self) -> "OfficialCheckpoint":
        """Read names and shapes."""
        self._file.__enter__()
        try:
            self._find()
        except BaseException:
            self._file.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.__exit__(None, None, None)

    def __getitem__(self, name: str) -> Tensor:
        """Read a tensor.

        Raises:
            KeyError: There is none of that name.
            CheckpointError: It cannot be read, or is not finite.
        """
        tensor = self._file.read(self._tensors[name])
        if tensor.is_floating_point():
            if not tensor.isfinite().all():
                raise CheckpointError(f"{self.path}: tensor {name} has values that are not finite")
            tensor = tensor.float()
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by the release's name."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def build(self, *, preset: str | None = None) -> DepthFormer:
        """Build the network, on the CPU, in evaluation mode.

        Args:
            preset: The preset of its network; None to read the configuration from the file.

        Raises:
            CheckpointError: As of `load_official_checkpoint`.
            ValueError: No preset has that name.
        """
        try:
            config = choose_config(self.shapes, text=self.config_text, preset=preset)
            names = _our_names(self.shapes, build_without_weights(config))
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error
        model = create_model(config)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if name in names:
                    tensor.copy_(_convert(name, names[name], self, model))
        return model

    def _find(self) -> None:
        content = self._file.content
        found = _find_state_dict(content)
        if found is None:
            raise CheckpointError(
                f"{self.path} holds no state_dict: there are no tensors by name under "
                "'state_dict', under 'model' or at its top"
            )
        # Tensors that are stored once and used many times could claim any size.
        size = sum(
            math.prod(tensor.shape) * tensor.dtype.itemsize
            for tensor in found.values()
            if isinstance(tensor, StoredTensor)
        )
        if size > self.path.stat().st_size:
            raise CheckpointError(f"cannot read checkpoint {self.path}: its tensors claim {size} B")
        averages: dict[str, StoredTensor | Tensor] = {}
        for key, tensor in found.items():
            if (
                not isinstance(key, str)
                or not key.isprintable()
                or not isinstance(tensor, StoredTensor | Tensor)
            ):
                raise CheckpointError(f"{self.path}: state_dict entry {key!r:.100} is no tensor")
            name = key.removeprefix(_MODULE)
            place = averages if name.startswith(_EMA) else self._tensors
            if name in place:
                raise CheckpointError(f"{self.path} holds {name} twice, with and without {_MODULE}")
            place[name] = tensor
        self.averages = len(averages)
        if self._ema:
            if not averages:
                raise CheckpointError(f"{self.path} holds no EMA weights ({_EMA}...)")
            for name in self._tensors:
                ema = averages.pop(_EMA + name.replace(".", "_"), None)
                self._tensors[name] = self._tensors[name] if ema is None else ema
            if averages:
                raise CheckpointError(
                    f"{self.path}: {next(iter(averages))} is the EMA of no weight"
                )
        meta = content.get("meta") if isinstance(content, dict) else None
        text = meta.get("config") if isinstance(meta, dict) else None
        self.config_text = text if isinstance(text, str) else None


def _find_state_dict(content: object) -> dict[object, object] | None:
    if isinstance(content, dict):
        for key in ("state_dict", "model"):
            if isinstance(content.get(key), dict):
                return content[key]  # type: ignore[no-any-return]
        if any(isinstance(value, StoredTensor | Tensor) for value in content.values()):
            return content
    return None


def read_official_checkpoint(
    path: str | os.PathLike[str], *, ema: bool = False
) -> dict[str, Tensor]:
    """Read the weights out of a checkpoint of the release, running no code of it.

    Args:
        path: The file.
        ema: Whether to take the EMA weights that mmcv's `EMAHook` keeps beside the weights.

    Returns:
        Tensors on the CPU by the release's names, floating-point ones in float32.

    Raises:
        CheckpointError: The file is missing, damaged, or holds no weights.
    """
    with OfficialCheckpoint(path, ema=ema) as checkpoint:
        return dict(checkpoint)


def load_official_checkpoint(
    path: str | os.PathLike[str], *, preset: str | None = None, ema: bool = False
) -> DepthFormer:
    """Build a network from a checkpoint of the release, on the CPU, in evaluation mode.

    Its configuration is the release's own where the file holds it, and else a preset's.

    Args:
        path: The file.
        preset: The preset of its network; None to read the configuration from the file.
        ema: Whether to take the EMA weights that mmcv's `EMAHook` keeps beside the weights.

    Raises:
        CheckpointError: The file is missing or damaged, holds another network than the preset or
            none of ours, or names none.
        DepthFormerError: No preset has that name.
    """
    with OfficialCheckpoint(path, ema=ema) as checkpoint:
        return checkpoint.build(preset=preset)


def convert_official_state_dict(
    official: Mapping[str, Tensor], model: DepthFormer
) -> dict[str, Tensor]:
    """Convert the release's weights to ours.

    Names are translated, patch merging's inputs are reordered from (channel, row, column) to
    timm's (column, row, channel), and each relative position table from the order of the
    checkpoint's own index to timm's. BatchNorm's counters may be missing; what TIE-KD's teachers
    have and never use is left out.

    Args:
        official: Tensors by the release's names.
        model: The network they are for.

    Returns:
        Tensors for `model.load_state_dict(..., strict=True)`.

    Raises:
        CheckpointError: A tensor is unknown, missing, misshapen or there twice; it is named.
    """
    names = _our_names({name: tuple(tensor.shape) for name, tensor in official.items()}, model)
    converted = {ours: _convert(ours, theirs, official, model) for ours, theirs in names.items()}
    for name, buffer in model.named_buffers():
        if name.endswith(_COUNTER):
            converted.setdefault(name, torch.zeros_like(buffer))
    return converted


def _our_names(shapes: Mapping[str, tuple[int, ...]], model: DepthFormer) -> dict[str, str]:
    """Map the name of each of our tensors to the release's.

    Raises:
        CheckpointError: As of `convert_official_state_dict`.
    """
    origins: dict[str, str] = {}
    for name in shapes:
        if _UNUSED.fullmatch(name):
            continue
        ours = _translate(name)
        if name.endswith(_INDEX):
            continue
        if ours in origins:
            raise CheckpointError(f"{name} and {origins[ours]} both hold {ours}")
        origins[ours] = name
    expected = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name in origins or not name.endswith(_COUNTER)
    }
    check_tensors(
        {ours: shapes[theirs] for ours, theirs in origins.items()}, expected, origins=origins
    )
    return origins


def _convert(ours: str, theirs: str, official: Mapping[str, Tensor], model: DepthFormer) -> Tensor:
    """Convert a tensor of the release to our order."""
    tensor = official[theirs]
    if ".downsample." in ours:
        return _column_row_channel(tensor)
    index_name = theirs.removesuffix(_TABLE) + _INDEX
    if ours.endswith(_TABLE) and index_name in official:
        index = model.get_buffer(ours.removesuffix(_TABLE) + _INDEX)
        return _reindex(tensor, official[index_name], index, index_name)
    return tensor


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
