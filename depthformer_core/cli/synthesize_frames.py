"""`depthformer synthesize-frames`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from depthformer_core.synthetic import STREET_CAMERA, street_camera


@dataclass(frozen=True)
class SynthesizeFramesOptions:
    """Render frames of the generated dataset once, to train on them many times."""

    output: tyro.conf.Positional[Path]
    """Folder to write, for --data.name folder; frames that it holds already are kept."""
    frames: int = 1000
    """Number of frames, each of another scene."""
    part: Literal["train", "val", "test"] = "train"
    """Part of the dataset they are of."""
    width: int = STREET_CAMERA.width
    """Columns of the images."""
    height: int = STREET_CAMERA.height
    """Rows of the images."""
    focal: float = STREET_CAMERA.fx
    """Focal length, pixels."""
    processes: int = os.cpu_count() or 1
    """Processes that render at the same time."""


def synthesize_frames(options: SynthesizeFramesOptions) -> None:
    """Run `depthformer synthesize-frames`."""
    from depthformer_core.synthetic.store import DEPTH_SCALE, write_frames

    write_frames(
        options.output,
        part=options.part,
        frames=options.frames,
        camera=street_camera(options.width, options.height, focal=options.focal),
        processes=options.processes,
        progress=True,
    )
    print(
        f"Wrote {options.output / options.part}: {options.frames} frames, to be read with "
        f"--data.name folder --data.root {options.output} --data.depth-scale {DEPTH_SCALE}"
    )
