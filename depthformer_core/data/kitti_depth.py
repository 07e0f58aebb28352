"""KITTI's annotated depth (Uhrig et al., 3DV 2017) beside the raw drives' images."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    Intrinsics,
    Source,
    find_picture,
    list_pictures,
)
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.data.kitti import CalibrationFile, KittiError
from depthformer_core.data.split import SplitLine, read_split
from depthformer_core.paths import find_file, listed

KITTI_DEPTH = PngDepth(256.0)
"""KITTI's depth files."""

_IMAGE_FOLDERS = ("", "input", "raw", "kitti_raw", "raw_data")
_DEPTH_FOLDERS = ("", "gt_depth", "data_depth_annotated", "kitti_depth")
_DAY = re.compile(r"\d{4}_\d\d_\d\d")
_DRIVE = re.compile(r"(\d{4}_\d\d_\d\d)_drive_\d{4}_\w+")
_IMAGE = re.compile(r"(\d{4}_\d\d_\d\d)/\w+/(image_0[0-3])/data/[^/]+")
# Rectified cameras of each day, as the official release has them.
_PUBLISHED: dict[str, Intrinsics] = {
    "2011_09_26": (721.5377, 721.5377, 609.5593, 172.8540),
    "2011_09_28": (707.0493, 707.0493, 604.0814, 180.5066),
    "2011_09_29": (718.3351, 718.3351, 600.3891, 181.5122),
    "2011_09_30": (707.0912, 707.0912, 601.8873, 183.1104),
    "2011_10_03": (718.8560, 718.8560, 607.1928, 185.2157),
}


def open_kitti_eigen(root: Path, *, part: str, split: Path | None) -> DepthDataset:
    """Open raw drives with annotated depth, left colour camera.

    Args:
        root: The images' days, `2011_09_26/DRIVE/image_02/data/N.png`, lie in it or in its folder
            `input`, `raw`, `kitti_raw` or `raw_data`. The depth's drives,
            `DRIVE/proj_depth/groundtruth/image_02/N.png`, lie in it or in `gt_depth`,
            `data_depth_annotated` or `kitti_depth`, each with or without `train` and `val`.
        part: Without a split: `train` takes drives in a folder `train`, `val` and `test` those in
            a folder `val`; drives in neither belong to all parts.
        split: Frames to use, with depth of any part; none for every pair of the part.

    Raises:
        DatasetError: There is no such pair, a calibration is malformed, or the split cannot be
            read or names a missing file.
    """
    sources = (
        annotated_frames(root, part=part, cameras=("image_02",))
        if split is None
        else annotated_split(root, split)
    )
    return DepthDataset(sources, name="kitti_eigen", depth_format=KITTI_DEPTH)


def annotated_frames(root: Path, *, part: str, cameras: Sequence[str]) -> list[Source]:
    """List the images of some cameras that have annotated depth in the part.

    Raises:
        DatasetError: There is none, or a calibration is malformed.
    """
    images = image_folders(root)
    drives = _annotated_drives(root)
    wanted = "train" if part == "train" else "val"
    found: dict[str, Source] = {}
    for drive, belongs in drives:
        if belongs not in (wanted, None):
            continue
        match = _DRIVE.fullmatch(drive.name)
        assert match is not None
        for camera in cameras:
            depths = list_pictures(drive / "proj_depth" / "groundtruth" / camera)
            for folder in images:
                pictures = list_pictures(folder / match[1] / drive.name / camera / "data")
                for stem in sorted(depths.keys() & pictures.keys()):
                    file = pictures[stem].relative_to(folder).as_posix()
                    # A root may hold the same drive in two layouts, linked from one to the other.
                    found.setdefault(file, Source(file, pictures[stem], depths[stem]))
    if not found:
        parts = sorted({belongs for _, belongs in drives if belongs is not None})
        raise DatasetError(
            f"no {' or '.join(cameras)} of part {part} under {root} has annotated depth: "
            f"{len(drives)} annotated drives"
            + (f", in {' and '.join(parts)}" if parts else "")
            + f", images in {', '.join(map(str, images))}"
        )
    sources = sorted(found.values(), key=lambda source: source.file)
    return with_intrinsics(sources)


def annotated_split(root: Path, split: Path) -> list[Source]:
    """Read the frames of a split file with their annotated depth.

    Raises:
        DatasetError: The root has no known layout, a calibration is malformed, or the split
            cannot be read or names a missing file.
    """
    images = image_folders(root)
    truths = list(dict.fromkeys(drive.parent for drive, _ in _annotated_drives(root)))
    sources = []
    for line in read_split(split, depth=True):
        image, folder = find_image(line, images)
        assert line.depth is not None
        candidates = (find_file(truth / line.depth) for truth in truths)
        depth = next((path for path in candidates if path is not None), None)
        if depth is None:
            raise DatasetError(
                f"{line.where}: there is no depth {line.depth} in {', '.join(map(str, truths))}"
            )
        sources.append(Source(image.relative_to(folder).as_posix(), image, depth))
    return with_intrinsics(sources)


def image_folders(root: Path) -> list[Path]:
    """List the folders of a root that hold raw drives by day.

    Raises:
        DatasetError: There is none.
    """
    folders = []
    for name in _IMAGE_FOLDERS:
        folder = root / name
        if folder.is_dir() and any(_DAY.fullmatch(path.name) for path in folder.iterdir()):
            folders.append(folder)
    if not folders:
        raise DatasetError(
            f"no KITTI images under {root}: looked for days like 2011_09_26 in it and in its "
            f"folders {', '.join(_IMAGE_FOLDERS[1:])}"
        )
    return folders


def find_image(line: SplitLine, folders: Sequence[Path]) -> tuple[Path, Path]:
    """Find the image of a split line, PNG or JPEG, and the one of the folders that holds it.

    Raises:
        DatasetError: None of the folders does.
    """
    for folder in folders:
        if (image := find_picture(folder / line.image)) is not None:
            return image, folder
    raise DatasetError(
        f"{line.where}: there is no image {line.image} in {', '.join(map(str, folders))}"
    )


def with_intrinsics(sources: Sequence[Source]) -> list[Source]:
    """Add the intrinsics of raw images: the day's calibration, or else the published numbers.

    Raises:
        DatasetError: A calibration is malformed.
    """
    lookup = functools.cache(_intrinsics)
    completed = []
    for source in sources:
        if match := _IMAGE.fullmatch(source.file):
            day = source.image.parents[3]
            source = dataclasses.replace(source, intrinsics=lookup(day, match[2]))
        completed.append(source)
    return completed


def _annotated_drives(root: Path) -> list[tuple[Path, str | None]]:
    """List the drives with annotated depth, each with its part where the layout names one."""
    drives: list[tuple[Path, str | None]] = []
    for name in _DEPTH_FOLDERS:
        for part in ("train", "val", None):
            folder = root / name / (part or "")
            if folder.is_dir():
                drives += [
                    (path, part)
                    for path in listed(folder)
                    if _DRIVE.fullmatch(path.name) and (path / "proj_depth").is_dir()
                ]
    if not drives:
        raise DatasetError(
            f"no annotated depth under {root}: looked for DRIVE/proj_depth in it and in its "
            f"folders {', '.join(_DEPTH_FOLDERS[1:])}, each with and without train and val"
        )
    return drives


def _intrinsics(day: Path, camera: str) -> Intrinsics | None:
    path = day / "calib_cam_to_cam.txt"
    if not path.is_file():
        return _PUBLISHED.get(day.name)
    try:
        projection = CalibrationFile(path).matrix(f"P_rect_{camera[-2:]}", 3, 4)
    except KittiError as error:
        raise DatasetError(str(error)) from error
    fx, fy, cx, cy = (float(projection[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return fx, fy, cx, cy
