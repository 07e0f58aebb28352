"""SUN RGB-D (Song et al., CVPR 2015)."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    Source,
    list_pictures,
    read_intrinsics,
)
from depthformer_core.data.depth_png import check_depth_png
from depthformer_core.data.images import read_depth_png
from depthformer_core.data.split import read_pairs
from depthformer_core.paths import find_file, listed
from depthformer_core.types import FloatArray


class RotatedPngDepth:
    """Depth in millimetres with its 16 bits rotated by 3 to the left."""

    def read(self, path: Path) -> FloatArray:
        """Read depth (H, W), metres, 0 where there is none.

        Raises:
            ImageError: The file is missing, damaged or of another type.
        """
        stored = read_depth_png(path, scale=1.0).astype(np.uint16)
        return ((stored >> 3) | (stored << 13)).astype(np.float32) / np.float32(1000)

    def check(self, path: Path) -> None:
        """Check the header.

        Raises:
            DatasetError: The file is missing or no PNG file with one channel of 16 bits.
        """
        check_depth_png(path)

    def fingerprint(self, path: Path) -> str:  # noqa: ARG002  # all files have the same unit
        """Return an empty text: the file alone decides the depth."""
        return ""


def open_sunrgbd(root: Path, *, split: Path | None) -> DepthDataset:
    """Open scenes with an image, depth and, where it is there, `intrinsics.txt`.

    Args:
        root: Holds scene folders at any depth: each has the folders `image` and `depth`, or the
            files `color.jpg` and `depth.png`.
        split: Frames to use, paths relative to the root; none for every scene.

    Raises:
        DatasetError: There is no scene, a scene's images and depths do not match, its intrinsics
            are malformed, or the split cannot be read or names a missing file.
    """
    sources = _scenes(root) if split is None else read_pairs(split, root=root)
    if not sources:
        raise DatasetError(
            f"no SUN RGB-D scenes under {root}: looked for folders that hold image and depth, "
            "or color.jpg and depth.png"
        )
    sources = [_with_intrinsics(source) for source in sources]
    return DepthDataset(sources, name="sunrgbd", depth_format=RotatedPngDepth())


def _scenes(root: Path) -> list[Source]:
    sources: list[Source] = []
    visited = set()
    for name, folders, files in os.walk(root, followlinks=True):
        # A link that leads back up would show the same scenes again.
        if (real := os.path.realpath(name)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        scene = Path(name)
        if {"image", "depth"} <= {*folders}:
            folders.clear()
            sources += _pairs(scene, root)
        elif {"color.jpg", "depth.png"} <= {file.lower() for file in files}:
            image, depth = find_file(scene / "color.jpg"), find_file(scene / "depth.png")
            if image is not None and depth is not None:
                sources.append(Source(image.relative_to(root).as_posix(), image, depth))
    return sorted(sources, key=lambda source: source.file)


def _pairs(scene: Path, root: Path) -> Iterator[Source]:
    images = list_pictures(scene / "image")
    depths = {path.stem: path for path in listed(scene / "depth") if path.suffix.lower() == ".png"}
    if len(images) == len(depths) == 1:
        # The two files of a scene are often named by different time stamps.
        depths = dict(zip(images, depths.values(), strict=True))
    if odd := sorted(images.keys() ^ depths.keys()):
        raise DatasetError(
            f"scene {scene} has {len(images)} images and {len(depths)} depths, "
            f"and {len(odd)} of them, like {odd[0]!r}, have no partner"
        )
    for stem, image in images.items():
        yield Source(image.relative_to(root).as_posix(), image, depths[stem])


def _with_intrinsics(source: Source) -> Source:
    folder = source.image.parent
    path = find_file((folder.parent if folder.name == "image" else folder) / "intrinsics.txt")
    if path is None:
        return source
    return dataclasses.replace(source, intrinsics=read_intrinsics(path))
