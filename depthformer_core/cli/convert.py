"""`depthformer convert`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from depthformer_core.checkpoint import (
    convert_official_state_dict,
    load_checkpoint,
    read_official_checkpoint,
    save_checkpoint,
)
from depthformer_core.models import DepthFormer, create_model


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of the official release into a safetensors file, or halve one of ours."""

    checkpoint: tyro.conf.Positional[Path]
    """The release's .pth file (its weights are read, pickled code in it is refused), or a
    safetensors file."""
    output: tyro.conf.Positional[Path]
    """The safetensors file to write, with the configuration inside."""
    preset: str | None = None
    """The network that the release's file holds: swin_large_kitti, swin_large_nyu, ..."""
    half: bool = False
    """Round the weights to float16, for half the size."""


def convert(options: ConvertOptions) -> None:
    """Run `depthformer convert`."""
    if options.output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {options.output}")
    model = _read(options)
    save_checkpoint(options.output, model, half=options.half)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"Wrote {options.output}: {count / 1e6:.1f} M parameters")


def _read(options: ConvertOptions) -> DepthFormer:
    if options.checkpoint.suffix == ".safetensors":
        if options.preset is not None:
            raise ValueError(
                f"{options.checkpoint} knows its network: leave --preset {options.preset} out"
            )
        return load_checkpoint(options.checkpoint)
    if options.preset is None:
        raise ValueError(f"which network does {options.checkpoint} hold? Name it by --preset")
    model = create_model(options.preset)
    official = read_official_checkpoint(options.checkpoint)
    model.load_state_dict(convert_official_state_dict(official, model), strict=True)
    return model
