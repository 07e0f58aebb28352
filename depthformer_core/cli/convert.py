"""`depthformer convert`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from depthformer_core.errors import DepthFormerError

if TYPE_CHECKING:
    from depthformer_core.models import DepthFormer


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of the official release into a safetensors file, or halve one of ours."""

    checkpoint: tyro.conf.Positional[Path]
    """The release's .pth file (its weights are read, nothing pickled in it is run), or a
    safetensors file."""
    output: tyro.conf.Positional[Path]
    """The safetensors file to write, with the configuration inside."""
    preset: str | None = None
    """The network that the release's file holds, where the file itself does not say:
    swin_large_kitti, swin_large_nyu, ..."""
    ema: bool = False
    """Take the moving averages of the weights (ema_...) that the release's file holds, too."""
    half: bool = False
    """Round the weights to float16, for half the size."""


def convert(options: ConvertOptions) -> None:
    """Run `depthformer convert`."""
    from depthformer_core.checkpoint import CheckpointError, is_torch_file, save_checkpoint

    if options.output.suffix != ".safetensors":
        raise DepthFormerError(f"the output must end in .safetensors, got {options.output}")
    if not options.checkpoint.is_file():
        raise CheckpointError(f"no checkpoint at {options.checkpoint}")
    model = (_read_official if is_torch_file(options.checkpoint) else _read_ours)(options)
    save_checkpoint(options.output, model, half=options.half)
    count = sum(parameter.numel() for parameter in model.parameters())
    config = model.config
    print(
        f"Wrote {options.output}: {count / 1e6:.1f} M parameters, depth up to "
        f"{config.max_depth:g} m, crop {config.crop}, {config.head} at the end"
    )


def _read_ours(options: ConvertOptions) -> "DepthFormer":
    from depthformer_core.checkpoint import load_checkpoint

    if options.preset is not None or options.ema:
        option = "--ema" if options.ema else f"--preset {options.preset}"
        raise DepthFormerError(f"{options.checkpoint} knows its network: leave {option} out")
    return load_checkpoint(options.checkpoint)


def _read_official(options: ConvertOptions) -> "DepthFormer":
    from depthformer_core.checkpoint import OfficialCheckpoint

    with OfficialCheckpoint(options.checkpoint, ema=options.ema) as checkpoint:
        if checkpoint.averages and not options.ema:
            print(
                f"Left out {checkpoint.averages} moving averages (ema_...); --ema takes them "
                "instead of the weights beside them",
                file=sys.stderr,
            )
        if checkpoint.config_text is None and options.preset is not None:
            print(
                f"{options.checkpoint} holds no configuration: what cannot be seen in its tensors, "
                f"such as its largest depth and its last activation, is that of {options.preset}",
                file=sys.stderr,
            )
        return checkpoint.build(preset=options.preset)
