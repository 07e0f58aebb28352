"""The networks of the last saves of a run."""

import re
from pathlib import Path

from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.models import DepthFormer

_NAME = re.compile(r"iteration_(\d+)\.safetensors")


def keep_checkpoint(folder: Path, model: DepthFormer, *, iteration: int, keep: int) -> None:
    """Write a network as `iteration_N.safetensors`, and remove all but the latest ones.

    Args:
        folder: The folder; made where it is missing. Other files in it stay.
        model: The network.
        iteration: Iterations done.
        keep: Number of networks that stay.

    Raises:
        CheckpointError: The file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / f"iteration_{iteration:06d}.safetensors", model)
    kept = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := _NAME.fullmatch(path.name)) is not None
    }
    for number in sorted(kept)[:-keep]:
        kept[number].unlink(missing_ok=True)
