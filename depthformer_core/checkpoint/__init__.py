"""Checkpoints: our own, and those of the official release."""

from depthformer_core.checkpoint.official import (
    OfficialCheckpoint,
    convert_official_state_dict,
    load_official_checkpoint,
    read_official_checkpoint,
)
from depthformer_core.checkpoint.safetensors_file import load_checkpoint, save_checkpoint
from depthformer_core.checkpoint.torch_file import conversion_note, is_torch_file
from depthformer_core.errors import CheckpointError

__all__ = [
    "load_checkpoint",
    "save_checkpoint",
    "load_official_checkpoint",
    "read_official_checkpoint",
    "convert_official_state_dict",
    "OfficialCheckpoint",
    "is_torch_file",
    "conversion_note",
    "CheckpointError",
]
