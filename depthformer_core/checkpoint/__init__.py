"""Checkpoints: our own, and those of the official release."""

from typing import TYPE_CHECKING

from depthformer_core.errors import CheckpointError
from depthformer_core.lazy import lazy_imports

if TYPE_CHECKING:
    from depthformer_core.checkpoint.file_kind import conversion_note, is_torch_file
    from depthformer_core.checkpoint.official import (
        OfficialCheckpoint,
        convert_official_state_dict,
        load_official_checkpoint,
        read_official_checkpoint,
    )
    from depthformer_core.checkpoint.safetensors_file import load_checkpoint, save_checkpoint

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

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "load_checkpoint": "safetensors_file",
        "save_checkpoint": "safetensors_file",
        "load_official_checkpoint": "official",
        "read_official_checkpoint": "official",
        "convert_official_state_dict": "official",
        "OfficialCheckpoint": "official",
        "is_torch_file": "file_kind",
        "conversion_note": "file_kind",
    },
)
