"""`depthformer convert`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from depthformer_core.checkpoint import (
    convert_official_state_dict,
    read_official_checkpoint,
    save_checkpoint,
)
from depthformer_core.models import create_model


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of the official release into a safetensors file."""

    official: tyro.conf.Positional[Path]
    """The release's .pth file. Its weights are read; pickled code in it is refused."""
    output: tyro.conf.Positional[Path]
    """The safetensors file to write, with the configuration inside."""
    preset: str
    """The network it holds: swin_large_kitti, swin_large_nyu, swin_tiny_nyu, ..."""


def convert(options: ConvertOptions) -> None:
    """Run `depthformer convert`."""
    if options.output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {options.output}")
    model = create_model(options.preset)
    official = read_official_checkpoint(options.official)
    model.load_state_dict(convert_official_state_dict(official, model), strict=True)
    save_checkpoint(options.output, model)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"Wrote {options.output}: {options.preset}, {count / 1e6:.1f} M parameters")
