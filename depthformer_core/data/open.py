"""Datasets by name, in their usual layouts on disk."""

from pathlib import Path
from typing import Literal, get_args

from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.folder import open_folder
from depthformer_core.data.kitti_benchmark import open_kitti_benchmark
from depthformer_core.data.kitti_depth import open_kitti_eigen
from depthformer_core.data.kitti_scans import open_kitti_raw
from depthformer_core.data.nyu import open_nyu
from depthformer_core.data.sunrgbd import open_sunrgbd
from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic import SyntheticDataset

DatasetName = Literal[
    "kitti_eigen", "kitti_benchmark", "kitti_raw", "nyu", "sunrgbd", "folder", "synthetic"
]
Part = Literal["train", "val", "test"]


def open_dataset(
    name: DatasetName,
    root: Path | None,
    *,
    part: Part,
    split: Path | None = None,
    depth_scale: float | None = None,
) -> DepthDataset:
    """Open a dataset.

    Args:
        name: Which one: `kitti_eigen` (annotated depth), `kitti_benchmark` (the same with both
            colour cameras, and the server's validation and test images), `kitti_raw` (laser
            scans as truth), `nyu`, `sunrgbd`, `folder` for pairs of images and depth, or
            `synthetic` for generated streets.
        root: Folder of the dataset, in a layout that the module of the dataset describes; None
            for `synthetic`.
        part: Part to take where the layout divides frames by folders: KITTI's annotated depth
            and benchmark, and a `folder`. Elsewhere the split alone decides.
        split: File with the frames to use, `image depth [focal]` a line; none for every frame.
        depth_scale: Steps per metre of the depth PNG files of a `folder`, and of no other.

    Raises:
        DatasetError: The root is missing or has no known layout, it holds no frame, or the split
            cannot be read or names a missing file.
        DepthFormerError: An argument is unknown or out of place.
    """
    if name not in get_args(DatasetName):
        raise DepthFormerError(f"dataset must be one of {get_args(DatasetName)}, got {name!r}")
    if part not in get_args(Part):
        raise DepthFormerError(f"part must be one of {get_args(Part)}, got {part!r}")
    if depth_scale is not None and name != "folder":
        raise DepthFormerError(
            f"depth_scale is for dataset folder alone, {name} knows its own; got {depth_scale}"
        )
    if name == "synthetic":
        if root is not None or split is not None:
            raise DepthFormerError(
                f"synthetic is generated: no root or split, got {root} and {split}"
            )
        return SyntheticDataset(part=part)
    if root is None:
        raise DatasetError(f"{name} needs a root: the folder that holds it")
    if not root.is_dir():
        raise DatasetError(f"root {root} of {name} is no folder")
    match name:
        case "kitti_eigen":
            return open_kitti_eigen(root, part=part, split=split)
        case "kitti_benchmark":
            return open_kitti_benchmark(root, part=part, split=split)
        case "kitti_raw":
            return open_kitti_raw(root, split=split)
        case "nyu":
            return open_nyu(root, split=split)
        case "sunrgbd":
            return open_sunrgbd(root, split=split)
        case "folder":
            return open_folder(root, part=part, split=split, depth_scale=depth_scale)
