"""A plain folder of images and depth with equal names."""

import csv
import dataclasses
import io
import math
from pathlib import Path

import numpy as np

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    DepthFormat,
    Source,
    list_pictures,
)
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.data.images import LARGEST_STEP
from depthformer_core.data.split import read_pairs
from depthformer_core.files import TextFileError, read_text
from depthformer_core.paths import listed
from depthformer_core.types import FloatArray

_IMAGES = ("rgb", "image", "images")
_DEPTHS = ("depth", "depths")
_SUFFIXES = (".png", ".npy")  # of depth
_CAMERAS = "frames.csv"
_INTRINSICS = ("fx", "fy", "cx", "cy")


class NpyDepth:
    """Depth as NumPy files of float32 metres; NaN and what is negative is no truth."""

    def read(self, path: Path) -> FloatArray:
        """Read depth (H, W), metres, 0 where there is none, infinity as it is.

        Raises:
            DatasetError: The file is missing, damaged or of another type.
        """
        depth = _load(path)
        return np.where(depth > 0, depth, np.float32(0))

    def check(self, path: Path) -> None:
        """Check the header and the length.

        Raises:
            DatasetError: The file is missing, truncated or no float32 image.
        """
        _load(path)

    def fingerprint(self, path: Path) -> str:  # noqa: ARG002  # all files have the same unit
        """Return an empty text: the file alone decides the depth."""
        return ""


class FolderDepth:
    """Depth as 16-bit PNG files or as NumPy files, by their suffix.

    The largest step of a PNG file, 65535, stands for infinity: all that is farther.

    Args:
        png: Format of the PNG files.
    """

    def __init__(self, png: PngDepth) -> None:
        self._png = png
        self._npy = NpyDepth()

    def read(self, path: Path) -> FloatArray:
        """Read depth (H, W), metres, 0 where there is none.

        Raises:
            ImageError: A PNG file is missing, damaged or of another type.
            DatasetError: The same for a NumPy file.
        """
        depth = self._of(path).read(path)
        if path.suffix.lower() == ".npy":
            return depth
        farthest = np.float32(LARGEST_STEP) / np.float32(self._png.scale)
        return np.where(depth < farthest, depth, np.float32(np.inf))

    def check(self, path: Path) -> None:
        """Check the header.

        Raises:
            DatasetError: The file is missing or of another type.
        """
        self._of(path).check(path)

    def fingerprint(self, path: Path) -> str:
        """Describe the scale of a PNG file."""
        return self._of(path).fingerprint(path)

    def _of(self, path: Path) -> DepthFormat:
        return self._npy if path.suffix.lower() == ".npy" else self._png


def open_folder(
    root: Path, *, part: str, split: Path | None, depth_scale: float | None
) -> DepthDataset:
    """Open pairs of images and depth files with equal names.

    Args:
        root: Holds `rgb` (or `image`, `images`) and `depth` (or `depths`), either itself or in a
            folder named like the part. Beside them may lie `frames.csv`, with the columns `name`
            (of the image, its suffix may be omitted), `fx`, `fy`, `cx` and `cy` (pixels) and, if
            their image's size is to be checked, `width` and `height`; others are not read.
        part: `train`, `val` or `test`.
        split: Frames to use, paths relative to the root; none for every pair.
        depth_scale: Steps per metre of the PNG files: 1000 for millimetres, 256 for KITTI.

    Raises:
        DatasetError: There is no pair, an image has no depth or the reverse, the scale is missing
            or not positive, the split cannot be read or names a missing file, or `frames.csv`
            cannot be read or lacks an image.
    """
    base = root / part if (root / part).is_dir() else root
    sources = _pairs(base) if split is None else read_pairs(split, root=root)
    if (cameras := base / _CAMERAS).is_file():
        sources = _with_cameras(sources, cameras)
    depths = [source.depth for source in sources if source.depth is not None]
    for depth in depths:
        if depth.suffix.lower() not in _SUFFIXES:
            raise DatasetError(f"depth {depth} is neither a PNG nor a NumPy (.npy) file")
    if all(depth.suffix.lower() == ".npy" for depth in depths):
        return DepthDataset(sources, name="folder", depth_format=NpyDepth())
    if depth_scale is None:
        raise DatasetError(
            f"depth under {root} is PNG files: depth_scale must be their steps per metre, "
            "1000 for millimetres, 256 for KITTI"
        )
    if not 0 < depth_scale < np.inf:
        raise DatasetError(f"depth_scale must be positive, got {depth_scale}")
    return DepthDataset(sources, name="folder", depth_format=FolderDepth(PngDepth(depth_scale)))


def _with_cameras(sources: list[Source], path: Path) -> list[Source]:
    """Add the intrinsics of a table to every image.

    Raises:
        DatasetError: The table cannot be read, or lacks an image.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, kind="table")))
        missing = {"name", *_INTRINSICS} - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{path} has no column {min(missing)}")
        rows: dict[str, tuple[int, dict[str, str]]] = {}
        for row in reader:
            if row["name"] in rows:
                raise DatasetError(
                    f"{path}, line {reader.line_num}: {row['name']} has a row already, "
                    f"line {rows[row['name']][0]}"
                )
            rows[row["name"]] = reader.line_num, row
    except TextFileError as error:
        raise DatasetError(str(error)) from error
    except csv.Error as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    with_cameras = []
    for source in sources:
        image, suffix = source.image, source.image.suffix
        cases = (f"{image.stem}{ending}" for ending in (suffix.lower(), suffix.upper()))
        names = (source.file, image.name, image.stem, *cases)
        known = next((rows[name] for name in names if name in rows), None)
        if known is None:
            raise DatasetError(f"{path} has no row for {image}")
        line, row = known
        try:
            fx, fy, cx, cy = (float(row[name]) for name in _INTRINSICS)
            height, width = row.get("height"), row.get("width")
            size = (int(height), int(width)) if height and width else None
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{path}, line {line}: {error}") from error
        if not all(map(math.isfinite, (fx, fy, cx, cy))) or min(fx, fy) <= 0:
            raise DatasetError(
                f"{path}, line {line}: fx and fy must be positive and all finite, "
                f"got {fx:g}, {fy:g}, {cx:g} and {cy:g}"
            )
        with_cameras.append(dataclasses.replace(source, intrinsics=(fx, fy, cx, cy), size=size))
    return with_cameras


def _pairs(base: Path) -> list[Source]:
    images = list_pictures(_subfolder(base, _IMAGES))
    depths: dict[str, Path] = {}
    for path in listed(_subfolder(base, _DEPTHS)):
        if path.suffix.lower() in _SUFFIXES and depths.setdefault(path.stem, path) != path:
            raise DatasetError(f"{depths[path.stem]} and {path} are depth of the same image")
    lone = [images[stem] for stem in images if stem not in depths]
    if lone:
        raise DatasetError(f"{lone[0]} has no depth, like {len(lone)} of {len(images)} images")
    lone = [depths[stem] for stem in depths if stem not in images]
    if lone:
        raise DatasetError(f"{lone[0]} has no image, like {len(lone)} of {len(depths)} depth files")
    if not images:
        raise DatasetError(
            f"folders {', '.join(_IMAGES)} and {', '.join(_DEPTHS)} in {base} are empty"
        )
    return [Source(image.name, image, depths[stem]) for stem, image in images.items()]


def _subfolder(base: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (base / name).is_dir():
            return base / name
    raise DatasetError(f"{base} has no folder named {', '.join(names[:-1])} or {names[-1]}")


def _load(path: Path) -> FloatArray:
    try:
        # Mapped, so that a check of the header reads no more than that.
        depth = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"cannot read depth {path}: {error}") from error
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype != np.float32:
        kind = f"{depth.dtype} {depth.shape}" if isinstance(depth, np.ndarray) else "an archive"
        raise DatasetError(f"depth {path} must be float32 (H, W), it is {kind}")
    return depth
