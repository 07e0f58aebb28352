"""Files of a bag."""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from depthformer_core.bags.errors import BagError
from depthformer_core.errors import one_line

_METADATA = "metadata.yaml"
_MOST_METADATA = 2**26  # bytes
_SUFFIXES = {".mcap", ".db3"}
_PACKED = {".zstd", ".zst"}
_NUMBER = re.compile(r"(.*?)(?:_(\d+))?", re.DOTALL)


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        files: In the order of their recording, as far as their names define it.
        notes: Sentences on files that are missing or skipped.
    """

    files: list[Path]
    notes: list[str] = field(default_factory=list)


def find_files(path: Path) -> BagFiles:
    """Find the files of a bag.

    Args:
        path: The bag's folder, the `metadata.yaml` in it, or a single file.

    Raises:
        BagError: There is no bag.
    """
    if not path.exists():
        raise BagError(f"bag {path} does not exist")
    if path.is_file() and path.name != _METADATA:
        return BagFiles([path])
    folder = path if path.is_dir() else path.parent
    there = sorted(
        (item for item in folder.iterdir() if _is_storage(item)),
        key=lambda item: _split(item),
    )
    notes: list[str] = []
    metadata = folder / _METADATA
    if metadata.exists():
        try:
            return _listed(folder, there, _read_list(metadata))
        except BagError as error:
            notes.append(f"{error}: the files beside it are read.")
    # Files of a killed recorder have no metadata.
    recordings = {_split(item)[0] for item in there}
    if len(recordings) > 1:
        raise BagError(
            f"folder {folder} has no {_METADATA} that can be read, and files of "
            f"{len(recordings)} recordings: {', '.join(item.name for item in there)}; name one"
        )
    if not there:
        found = notes[0] if notes else f"it has no {_METADATA} and no files .mcap or .db3"
        raise BagError(f"folder {folder} is no bag: {found}")
    return BagFiles(there, notes)


def _listed(folder: Path, there: list[Path], names: list[str]) -> BagFiles:
    """Return those of the files in `metadata.yaml` that exist."""
    files, missing = [], []
    by_stem = {_stem(item): item for item in there}
    for name in names:
        file = folder / name
        # The recorder packs a file after it is done with it; users unpack them.
        found = file if file.is_file() else by_stem.get(_stem(file))
        if found is None:
            missing.append(name)
        else:
            files.append(found)
    if not files:
        raise BagError(
            f"{_METADATA} of {folder} lists files that are missing: {', '.join(missing) or 'none'}"
        )
    notes = []
    if missing:
        notes.append(f"Files of the bag are missing: {', '.join(missing)}.")
    stems = {_stem(file) for file in files}
    if others := [item.name for item in there if _stem(item) not in stems]:
        notes.append(
            f"{_METADATA} does not list {', '.join(others)}, which therefore "
            f"{'is' if len(others) == 1 else 'are'} not read."
        )
    return BagFiles(files, notes)


def _read_list(metadata: Path) -> list[str]:
    """Read the names of the files from `metadata.yaml`."""
    try:
        if metadata.stat().st_size > _MOST_METADATA:
            raise BagError(f"{metadata} has more than {_MOST_METADATA} bytes")
        content = YAML(typ="safe", pure=True).load(metadata.read_text("utf-8-sig"))
        paths = content["rosbag2_bagfile_information"]["relative_file_paths"]
        if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
            raise BagError(f"{metadata} lists no files")
    except (OSError, UnicodeDecodeError, YAMLError, ValueError) as error:
        raise BagError(f"{metadata} cannot be read ({one_line(error)})") from error
    except (KeyError, TypeError) as error:
        raise BagError(f"{metadata} lists no files") from error
    # Older recorders name the folder too, and others run on Windows.
    return [PurePosixPath(PureWindowsPath(item).as_posix()).name for item in paths]


def _is_storage(path: Path) -> bool:
    suffixes = path.suffixes[-2:] if path.suffix in _PACKED else path.suffixes[-1:]
    return bool(suffixes) and suffixes[0] in _SUFFIXES and not path.name.startswith(".")


def _stem(path: Path) -> str:
    """Name without the suffix of packing."""
    return path.stem if path.suffix in _PACKED else path.name


def _split(path: Path) -> tuple[str, int]:
    """Name of the recording that a file belongs to, and the number of its part."""
    name = _stem(path)
    match = _NUMBER.fullmatch(name.rpartition(".")[0])
    assert match is not None
    return match[1] + Path(name).suffix, int(match[2] or 0)
