"""Datasets of colour images with metric depth, read one frame at a time."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from depthformer_core.data.images import ImageError, read_rgb
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import TextFileError, read_text
from depthformer_core.geometry.camera import Camera
from depthformer_core.paths import absolute, find_file, listed
from depthformer_core.types import FloatArray

PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of colour images."""

PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of every PNG file."""

_JPEG = b"\xff\xd8\xff"


Intrinsics = tuple[float, float, float, float]
"""Focal lengths fx, fy and principal point cx, cy, pixels."""


class DatasetError(DepthFormerError):
    """A dataset that cannot be read; the message names the path or the line."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One colour image with its truth.

    Attributes:
        file: Name of the image relative to the dataset's image folder, parted by "/".
        rgb: (H, W, 3), 0 to 255.
        depth: (H, W), metres along the optical axis, 0 where there is no truth, infinity where it
            is known only to be far; none where the dataset does not publish the truth (test sets).
        camera: Rectified camera of the image, where it is known.
    """

    file: str
    rgb: npt.NDArray[np.uint8]
    depth: FloatArray | None
    camera: Camera | None = None


@dataclass(frozen=True)
class Source:
    """Files of one frame.

    Attributes:
        file: The frame's name in reports, see `Frame`.
        image: The colour image.
        depth: The file with the truth; none for a test set.
        intrinsics: Focal lengths and principal point of the image, where they are known.
        size: Height and width of the image that the intrinsics belong to, where a file names it.
    """

    file: str
    image: Path
    depth: Path | None
    intrinsics: Intrinsics | None = None
    size: tuple[int, int] | None = None


class DepthFormat(Protocol):
    """File format of a dataset's truth; picklable."""

    def read(self, path: Path) -> FloatArray:
        """Read a file's depth (H, W), metres, 0 where there is no truth.

        Raises:
            ImageError: The file is missing, damaged or of another type.
            DatasetError: The same, for what is no image.
        """

    def check(self, path: Path) -> None:
        """Check a file's type without reading its content.

        Raises:
            DatasetError: The file is missing or of another type.
        """

    def fingerprint(self, path: Path) -> str:
        """Describe what decides the depth beside the file itself, such as the scale."""


class Frames(Protocol):
    """Frames that can be read in any order: a `DepthDataset`, a list, or a class of your own."""

    def __len__(self) -> int:
        """Count the frames."""
        ...

    def __getitem__(self, index: int, /) -> Frame:
        """Read a frame; IndexError past the last."""
        ...


class DepthDataset:
    """Frames of a dataset, each read on access.

    Picklable, so that worker processes can have their own.

    Args:
        sources: The frames' files, in order.
        name: Name of the dataset, as `open_dataset` takes it.
        depth_format: File format of the truth; none where no frame has any.
        size: Height and width that every image must have, where the dataset has but one size.
        notes: Sentences on what was skipped of the dataset.

    Attributes:
        name: Name of the dataset.
        files: Names of the frames, see `Frame`, in order.
        notes: Sentences on what was skipped of the dataset.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        name: str,
        depth_format: DepthFormat | None,
        size: tuple[int, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if depth_format is None and any(source.depth is not None for source in sources):
            raise DepthFormerError(f"{name} has depth files, but no depth_format to read them with")
        self.name = name
        self.files: Sequence[str] = tuple(source.file for source in sources)
        self.notes: Sequence[str] = tuple(notes)
        self._sources = tuple(sources)
        self._depth_format = depth_format
        self._size = size

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A class that reads frames in its own way does not inherit how they are described.
        if "__getitem__" in vars(cls) and "fingerprint" not in vars(cls):
            cls.fingerprint = _no_fingerprint  # type: ignore[assignment]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._sources)

    def __getitem__(self, index: int) -> Frame:
        """Read a frame.

        Raises:
            DatasetError: A file is missing or damaged, or image and depth differ in size.
            IndexError: There is no such frame.
        """
        source = self._sources[index]
        try:
            rgb = read_rgb(source.image)
            depth = self._read_depth(source)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        height, width = rgb.shape[:2]
        if self._size is not None and (height, width) != self._size:
            raise DatasetError(
                f"{source.image} has size {width}x{height}, "
                f"{self.name} has {self._size[1]}x{self._size[0]}"
            )
        if source.size is not None and (height, width) != source.size:
            raise DatasetError(
                f"{source.image} has size {width}x{height}, "
                f"its intrinsics are of {source.size[1]}x{source.size[0]}"
            )
        if depth is not None and depth.shape != (height, width):
            raise DatasetError(
                f"depth {source.depth} has size {depth.shape[1]}x{depth.shape[0]}, "
                f"its image {source.image} {width}x{height}"
            )
        camera = None
        if source.intrinsics is not None:
            camera = Camera(width, height, *source.intrinsics)
        return Frame(source.file, rgb, depth, camera)

    def fingerprint(self, index: int) -> str | None:
        """Describe what decides a frame, without reading it, to recognise what was made of it.

        A file is described by its path, its size and the time of its last change.

        Returns:
            A text that no other frame has, and that changes with the frame's files or the way they
            are read; None where nothing tells a change: for a class with its own `__getitem__`
            that does not describe its frames, and for a file that is missing.

        Raises:
            IndexError: There is no such frame.
        """
        source = self._sources[index]
        truth = None
        try:
            image = _file_state(source.image)
            if source.depth is not None:
                assert self._depth_format is not None
                kind = type(self._depth_format).__name__
                how = self._depth_format.fingerprint(source.depth)
                truth = _file_state(source.depth), kind, how
        except OSError:
            return None
        camera = source.intrinsics, source.size, self._size
        return repr((self.name, source.file, image, truth, camera))

    def check(self, *, progress: bool = False) -> None:
        """Check that every file exists and starts with the right signature.

        Args:
            progress: Whether to show a bar on the terminal, and the notes before it.

        Raises:
            DatasetError: An image is no PNG or JPEG file, or a depth file is of the wrong type.
        """
        if progress:
            for note in self.notes:
                print(note, file=sys.stderr)
        shown = progress and bool(self._sources)
        sources = tqdm(self._sources, desc=f"checking {self.name}", unit="frame", disable=not shown)
        for source in sources:
            if not file_head(source.image, len(PNG)).startswith((PNG, _JPEG)):
                raise DatasetError(f"{source.image} is no PNG or JPEG file")
            if source.depth is not None:
                assert self._depth_format is not None
                self._depth_format.check(source.depth)

    def _read_depth(self, source: Source) -> FloatArray | None:
        if source.depth is None:
            return None
        assert self._depth_format is not None
        return self._depth_format.read(source.depth)


def _no_fingerprint(dataset: DepthDataset, index: int) -> None:
    """Describe nothing."""


def _file_state(path: Path) -> tuple[str, int, int]:
    """Return path, bytes and time of the last change, nanoseconds."""
    status = path.stat()
    return str(absolute(path)), status.st_size, status.st_mtime_ns


def as_dataset(frames: Frames) -> DepthDataset:
    """Return frames as a dataset, named after their class if they are of your own."""
    return frames if isinstance(frames, DepthDataset) else _OwnFrames(frames)


class _OwnFrames(DepthDataset):
    """Frames of a class that is no `DepthDataset`."""

    def __init__(self, frames: Frames) -> None:
        super().__init__([], name=type(frames).__name__, depth_format=None)
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        frame = self._frames[index]
        if not isinstance(frame, Frame):
            raise DatasetError(f"{self.name}[{index}] must be a Frame, got {type(frame).__name__}")
        return frame

    def fingerprint(self, index: int) -> str | None:
        describe = getattr(self._frames, "fingerprint", None)
        text = None if describe is None else describe(index)
        return None if text is None else f"{self.name} {text}"


def file_head(path: Path, size: int) -> bytes:
    """Read the first bytes of a file, fewer where it is shorter.

    Raises:
        DatasetError: The file cannot be read.
    """
    try:
        # Without a buffer no more than the head is fetched, which counts on network drives.
        with path.open("rb", buffering=0) as file:
            return file.read(size)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


def read_intrinsics(path: Path) -> Intrinsics:
    """Read the nine numbers of a row-major 3x3 camera matrix, on one line or three.

    Raises:
        DatasetError: The file is missing or holds something else.
    """
    try:
        text = read_text(path, kind="intrinsics")
    except TextFileError as error:
        raise DatasetError(str(error)) from error
    try:
        values = [float(number) for number in text.split()]
    except ValueError as error:
        raise DatasetError(f"intrinsics {path} are malformed: {error}") from error
    if len(values) != 9 or not all(map(math.isfinite, values)) or min(values[0], values[4]) <= 0:
        raise DatasetError(
            f"intrinsics {path} must be 9 finite numbers with positive focal lengths, "
            f"got {text.strip()!r}"
        )
    return values[0], values[4], values[2], values[5]


def find_picture(path: Path) -> Path | None:
    """Find the picture at a path, or else one that differs only in its suffix.

    People convert PNG drives to JPEG to save space, while lists of frames keep the old names.
    """
    candidates = (path, *(path.with_suffix(suffix) for suffix in PICTURES))
    found = (find_file(candidate) for candidate in candidates)
    return next((file for file in found if file is not None), None)


def list_pictures(folder: Path) -> dict[str, Path]:
    """List the colour images of a folder by stem, sorted; none without a folder.

    Hidden files are skipped, see `listed`. Where two differ only in their suffix, the first of
    `PICTURES` counts.
    """
    if not folder.is_dir():
        return {}
    pictures: dict[str, Path] = {}
    for path in sorted(listed(folder), key=lambda path: (path.stem, _rank(path))):
        if path.suffix.lower() in PICTURES:
            pictures.setdefault(path.stem, path)
    return pictures


def _rank(path: Path) -> int:
    suffix = path.suffix.lower()
    return PICTURES.index(suffix) if suffix in PICTURES else len(PICTURES)
