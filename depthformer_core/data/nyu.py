"""NYU Depth V2 (Silberman et al., ECCV 2012), prepared as 640x480 images with depth in mm."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    Intrinsics,
    Source,
    list_pictures,
)
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.data.split import read_pairs
from depthformer_core.paths import find_file, listed

_INTRINSICS: Intrinsics = (518.85790117450188, 519.46961112127485, 325.58244941119034,
                           253.73616633400465)  # fmt: skip
_SIZE = (480, 640)
_IMAGE, _DEPTH = "rgb_", "sync_depth_"


def open_nyu(root: Path, *, split: Path | None) -> DepthDataset:
    """Open folders of `rgb_N.jpg` and `sync_depth_N.png`.

    Args:
        root: Holds a folder for each scene, or is one. The pairs of a scene lie in it, or in its
            folders `rgb` and `depth`.
        split: Frames to use, paths relative to the root; none for every pair.

    Raises:
        DatasetError: There is no pair, or the split cannot be read or names a missing file.
    """
    if split is not None:
        sources = read_pairs(split, root=root)
    else:
        scenes = (root, *(path for path in listed(root) if path.is_dir()))
        sources = [source for scene in scenes for source in _scene(scene, root)]
        sources.sort(key=lambda source: source.file)
    if not sources:
        raise DatasetError(
            f"no NYU frames under {root}: looked for SCENE/{_IMAGE}N.jpg beside {_DEPTH}N.png and "
            f"for rgb/{_IMAGE}N.jpg beside depth/{_DEPTH}N.png"
        )
    sources = [dataclasses.replace(source, intrinsics=_INTRINSICS) for source in sources]
    return DepthDataset(sources, name="nyu", depth_format=PngDepth(1000.0), size=_SIZE)


def _scene(scene: Path, root: Path) -> Iterator[Source]:
    for images, depths in ((scene, scene), (scene / "rgb", scene / "depth")):
        for stem, image in list_pictures(images).items():
            if not stem.startswith(_IMAGE):
                continue
            depth = find_file(depths / f"{_DEPTH}{stem.removeprefix(_IMAGE)}.png")
            if depth is not None:
                yield Source(image.relative_to(root).as_posix(), image, depth)
