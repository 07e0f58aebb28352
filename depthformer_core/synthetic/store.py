"""Frames of the dataset rendered once, as a folder to train on again and again."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthformer_core.data.images import LARGEST_STEP, write_depth_png, write_png
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import read_json, replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.focal import resize_image, resize_truth
from depthformer_core.synthetic.dataset import WORLD, SyntheticDataset

DEPTH_SCALE = 256
"""Steps per metre of the depth files."""

_ABOUT = "frames.json"


def write_frames(
    root: Path,
    *,
    part: Literal["train", "val", "test"],
    frames: int,
    camera: Camera,
    processes: int,
    progress: bool = False,
) -> None:
    """Write frames of `SyntheticDataset` as pairs of files that dataset `folder` reads.

    Each is rendered at twice the size and averaged, as a sensor averages over its pixels.
    `root` gets a folder named like the part, with `rgb` and `depth`; the depth has 256 steps a
    metre, and the largest step stands for the sky and all beyond 80 m. Called again, it goes on
    where it was stopped.

    Args:
        root: Folder to write.
        part: Part of the dataset.
        frames: Number of its frames to write.
        camera: The camera of all of them.
        processes: Processes that render at the same time.
        progress: Whether to show a bar on the terminal.

    Raises:
        DepthFormerError: The part does not have that many frames, or the root holds frames of
            another camera, or of the world as it was before a change.
        OSError: A file cannot be written.
    """
    most = len(SyntheticDataset(part=part))
    if not 1 <= frames <= most:
        raise DepthFormerError(f"frames must be 1 to {most} in part {part}, got {frames}")
    if processes < 1:
        raise DepthFormerError(f"processes must be positive, got {processes}")
    folder = root / part
    about = {"camera": dataclasses.asdict(camera), "world": WORLD}
    if (folder / _ABOUT).exists():
        before = read_json(folder / _ABOUT, kind="description")
        if before.get("camera") != about["camera"]:
            raise DepthFormerError(
                f"{folder} holds frames of another camera: {before.get('camera')}"
            )
        world = before.get("world", 1)  # the first one was not numbered
        if world != WORLD:
            raise DepthFormerError(f"{folder} holds frames of world {world}; this is world {WORLD}")
    else:
        with replacing(folder / _ABOUT) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    twice = camera.resized(2 * camera.height, 2 * camera.width)
    missing = [index for index in range(frames) if not _depth_file(folder, index).exists()]
    writes = _Writes(folder, SyntheticDataset(part=part, camera=twice), missing)
    # Its workers end with this process, however that ends. They are spawned: a fork may inherit
    # locks that threads of this process hold.
    done = DataLoader(
        writes,
        batch_size=None,
        num_workers=processes,
        worker_init_fn=_one_core,
        multiprocessing_context="spawn",
    )
    for _ in tqdm(done, total=len(missing), unit="frame", disable=not progress):
        pass


class _Writes(Dataset[int]):
    """Frames that are written on access."""

    def __init__(self, folder: Path, dataset: SyntheticDataset, indices: Sequence[int]) -> None:
        self._folder = folder
        self._dataset = dataset
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> int:
        index = self._indices[place]
        _write(self._folder, self._dataset, index)
        return index


def _one_core(_: int) -> None:
    cv2.setNumThreads(1)


def _depth_file(folder: Path, index: int) -> Path:
    return folder / "depth" / f"{index:06}.png"


def _write(folder: Path, dataset: SyntheticDataset, index: int) -> None:
    frame = dataset[index]
    assert frame.depth is not None
    size = frame.depth.shape[0] // 2, frame.depth.shape[1] // 2
    write_png(folder / "rgb" / f"{index:06}.png", resize_image(frame.rgb, size))
    # The depth comes last: a frame that has it is whole.
    depth = resize_truth(frame.depth, size)
    depth = np.where(np.isinf(depth), np.float32(LARGEST_STEP / DEPTH_SCALE), depth)
    write_depth_png(_depth_file(folder, index), depth, scale=DEPTH_SCALE)
