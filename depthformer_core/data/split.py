"""Split files: lists of the frames of a dataset to use.

One frame a line: `image depth [focal]`, parted by white space, as the official release has it.
"""

from dataclasses import dataclass
from pathlib import Path

from depthformer_core.data.dataset import DatasetError, Source, find_picture
from depthformer_core.files import TextFileError, read_text
from depthformer_core.paths import find_file

_NO_DEPTH = "None"


@dataclass(frozen=True)
class SplitLine:
    """One frame of a split file.

    Attributes:
        where: Number of the line and name of the file, for messages.
        image: Path of the image as written, without a leading "/".
        depth: Path of the depth likewise; none where it was not requested.
    """

    where: str
    image: str
    depth: str | None


def read_split(path: Path, *, depth: bool) -> list[SplitLine]:
    """Read a split file.

    Args:
        path: The file.
        depth: Whether to read the depth of each line and skip lines where it is `None`;
            else all but the image is ignored.

    Returns:
        The lines sorted by image, as the official release evaluates them. Blank lines are skipped.

    Raises:
        DatasetError: The file is missing, a line cannot be parsed, or no line remains.
    """
    lines = []
    for number, content in enumerate(_lines(path), 1):
        where = f"line {number} of {path}"
        fields = content.split()
        if not fields:
            continue
        if len(fields) > 3 or (depth and len(fields) < 2) or not _is_focal(fields[2:]):
            form = "image depth [focal]" if depth else "image [depth] [focal]"
            raise DatasetError(f"{where} must be '{form}', got {content!r}")
        if not depth:
            lines.append(SplitLine(where, fields[0].lstrip("/"), None))
        elif fields[1] != _NO_DEPTH:
            lines.append(SplitLine(where, fields[0].lstrip("/"), fields[1].lstrip("/")))
    if not lines:
        raise DatasetError(f"split {path} names no frame" + (" with depth" if depth else ""))
    return sorted(lines, key=lambda line: line.image)


def describe_frames(frames: int, split: Path | None) -> str:
    """Describe the number of frames, and of frames a split file lists without truth.

    Args:
        frames: Frames of the dataset that was opened with it.
        split: The file; None for a dataset without.

    Raises:
        DatasetError: The file cannot be read.
    """
    listed = frames
    if split is not None:
        listed = sum(bool(line.strip()) for line in _lines(split))
    return (
        f"{frames} images" if listed == frames else f"{listed} images listed, {frames} with truth"
    )


def read_pairs(path: Path, *, root: Path) -> list[Source]:
    """Read a split file with paths relative to one folder.

    Raises:
        DatasetError: As for `read_split`, or a file is missing.
    """
    sources = []
    for line in read_split(path, depth=True):
        image = find_picture(root / line.image)
        if image is None:
            raise DatasetError(f"{line.where}: there is no image {root / line.image}")
        assert line.depth is not None
        depth = find_file(root / line.depth)
        if depth is None:
            raise DatasetError(f"{line.where}: there is no depth {root / line.depth}")
        sources.append(Source(image.relative_to(root).as_posix(), image, depth))
    return sources


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path, kind="split").split("\n")
    except TextFileError as error:
        raise DatasetError(str(error)) from error


def _is_focal(fields: list[str]) -> bool:
    try:
        return all(float(text) > 0 for text in fields)
    except ValueError:
        return False
