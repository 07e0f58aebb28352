"""KITTI's raw drives with their own laser scans as sparse truth."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from depthformer_core.data.dataset import DatasetError, DepthDataset, Source
from depthformer_core.data.kitti import KittiDrive, KittiError, drive_folder
from depthformer_core.data.kitti_depth import find_image, image_folders
from depthformer_core.data.split import read_split
from depthformer_core.errors import DepthFormerError
from depthformer_core.paths import listed
from depthformer_core.types import FloatArray

_IMAGES = "image_02/data"
_SCANS = "velodyne_points/data"
_LEFT = re.compile(rf"[^/]+/[^/]+/{_IMAGES}/\d+\.\w+")
_DAY = re.compile(r"\d{4}_\d\d_\d\d")
_POINT = 16  # bytes


class ScanDepth:
    """Depth as scans that are projected into the image of their drive.

    Args:
        drives: The drives by their root folders.
    """

    def __init__(self, drives: Mapping[Path, KittiDrive]) -> None:
        self._drives = drives

    def read(self, path: Path) -> FloatArray:
        """Project a scan, see `KittiDrive.scan_depth`.

        Raises:
            DatasetError: The scan is missing or truncated.
        """
        try:
            return self._drives[path.parents[2]].scan_depth(int(path.stem))
        except (KittiError, OSError) as error:
            raise DatasetError(f"cannot read scan {path}: {error}") from error

    def check(self, path: Path) -> None:
        """Check the size.

        Raises:
            DatasetError: The file is missing or holds no whole points.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DatasetError(f"cannot read scan {path}: {error.strerror}") from error
        if size == 0 or size % _POINT:
            raise DatasetError(f"scan {path} is truncated: {size} bytes are no whole points")

    def fingerprint(self, path: Path) -> str:
        """Describe the calibration of the scan's drive."""
        drive = self._drives[path.parents[2]]
        return repr((drive.velo_to_camera.tolist(), drive.camera))


def open_kitti_raw(root: Path, *, split: Path | None) -> DepthDataset:
    """Open the left colour images of raw drives, with the scan of the same frame as truth.

    Frames that lack image, scan or time are skipped, as KITTI itself lacks some, and so are
    unusable drives beside usable ones; the dataset's notes list them.

    Args:
        root: One drive, or holds drives by day, itself or in its folder `input`, `raw`,
            `kitti_raw` or `raw_data`.
        split: Frames to use, of which only the image counts; none for every frame.

    Raises:
        DatasetError: There is no such frame, no drive has what it needs, or the split cannot be
            read or names a missing image.
    """
    if (root / _IMAGES).is_dir() or (root / _SCANS).is_dir():
        paths = [drive_folder(root)]
        folders = [paths[0].parent.parent]
    else:
        folders = image_folders(root)
        paths = _drives(folders)
    wanted = None if split is None else _frames_of(split, folders)
    drives: dict[Path, KittiDrive] = {}
    sources: list[Source] = []
    unusable: list[str] = []
    lacking: list[str] = []
    for path in paths:
        if wanted is not None and path not in wanted:
            continue
        try:
            drive = drives[path] = KittiDrive(path)
        except (DepthFormerError, OSError) as error:
            unusable.append(str(error))
            continue
        frames = {*drive.images} & {*drive.scans}
        requested = {*drive.frames} if wanted is None else wanted[path]
        sources += _sources(drive, frames & requested)
        lacking += [f"{path.name}, frame {frame:010d}" for frame in sorted(requested - frames)]
    if unusable and not drives:
        raise DatasetError(unusable[0])
    notes = []
    if unusable:
        notes.append(
            f"{len(unusable)} of {len(unusable) + len(drives)} drives are skipped: {unusable[0]}."
        )
    if lacking:
        notes.append(
            f"{len(lacking)} frames lack their image, scan or time and are skipped: the first is "
            f"{lacking[0]}."
        )
    if not sources:
        raise DatasetError(
            f"no frame with image and scan under {root}: looked for DRIVE/{_IMAGES} beside "
            f"DRIVE/{_SCANS}" + ("" if split is None else f" among the images of {split}")
        )
    sources.sort(key=lambda source: source.file)
    depth_format = ScanDepth(drives)
    return DepthDataset(sources, name="kitti_raw", depth_format=depth_format, notes=notes)


def _drives(folders: list[Path]) -> list[Path]:
    """List the drives with images and scans; a drive linked into two folders once."""
    drives: dict[Path, Path] = {}
    for folder in folders:
        days = (day for day in listed(folder) if _DAY.fullmatch(day.name) and day.is_dir())
        for path in (path for day in days for path in listed(day) if "_drive_" in path.name):
            if (path / _IMAGES).is_dir() and (path / _SCANS).is_dir():
                drives.setdefault(path.relative_to(folder), path)
    return list(drives.values())


def _frames_of(split: Path, folders: list[Path]) -> dict[Path, set[int]]:
    """Read the frames of a split, by drive."""
    frames: dict[Path, set[int]] = defaultdict(set)
    for line in read_split(split, depth=False):
        image, folder = find_image(line, folders)
        if not _LEFT.fullmatch(image.relative_to(folder).as_posix()):
            raise DatasetError(
                f"{line.where}: the image must be DAY/DRIVE/{_IMAGES}/N.png, got {line.image}"
            )
        frames[image.parents[2]].add(int(image.stem))
    return frames


def _sources(drive: KittiDrive, frames: Iterable[int]) -> Iterator[Source]:
    camera = drive.camera
    for frame in frames:
        image = drive.image_path(frame)
        file = image.relative_to(drive.root.parent.parent).as_posix()
        intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
        yield Source(file, image, drive.scan_path(frame), intrinsics)
