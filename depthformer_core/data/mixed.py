"""Several datasets as one."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from depthformer_core.data.dataset import DatasetError, DepthDataset, Frame, Frames, as_dataset
from depthformer_core.data.open import DatasetName, open_dataset
from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.files import read_text
from depthformer_core.paths import absolute

_MOST_FRAMES = 2**24
_SHOWN = 40  # characters of a value that an error shows
_LARGEST = sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class MixEntry:
    """A dataset of a mix, as a file lists it.

    Attributes:
        name: Which dataset it is, as `open_dataset` takes it.
        root: Its folder; none for `synthetic`.
        split: File that lists its images; every image without.
        depth_scale: For `folder`: steps of a depth PNG per metre.
        weight: Its share, in the ratio to the other weights.
    """

    name: DatasetName
    root: Path | None = None
    split: Path | None = None
    depth_scale: float | None = None
    weight: float


@dataclass(frozen=True)
class MixedPart:
    """A dataset of a mix.

    Attributes:
        dataset: The dataset.
        weight: Its share, in the ratio to the other weights.
        count: Images of a pass that are its own.
        entry: Its entry in the file, where the mix comes from one.
    """

    dataset: DepthDataset
    weight: float
    count: int
    entry: MixEntry | None


class MixedDataset(DepthDataset):
    """Frames of several datasets, mixed for training.

    One pass goes through each dataset at least once; images of a dataset with more weight than
    images come up several times, augmented anew.

    Args:
        datasets: The datasets to mix.
        weights: Share of each in every pass, as numbers in the ratio of the shares.
        entries: Entry of each in a file, see `open_mix`; none for datasets opened otherwise.

    Attributes:
        parts: The datasets with their shares, in order.

    Raises:
        DepthFormerError: There are no datasets, an empty one, other than one positive weight for
            each, or weights so uneven that a pass would be endless.
    """

    def __init__(
        self,
        datasets: Sequence[Frames],
        weights: Sequence[float],
        *,
        entries: Sequence[MixEntry] | None = None,
    ) -> None:
        parts = [as_dataset(frames) for frames in datasets]
        if not parts or len(weights) != len(parts):
            raise DepthFormerError(
                f"{len(parts)} datasets need as many weights, got {len(weights)}"
            )
        if not all(0 < weight < np.inf for weight in weights):
            raise DepthFormerError(f"weights must be positive, got {list(weights)}")
        if empty := [dataset.name for dataset in parts if not len(dataset)]:
            raise DepthFormerError(f"dataset {empty[0]} is empty")
        notes = [note for dataset in parts for note in dataset.notes]
        super().__init__([], name="mixed", depth_format=None, notes=notes)
        passes = max(len(one) / weight for one, weight in zip(parts, weights, strict=True))
        images = passes * sum(weights)
        if not images <= _MOST_FRAMES:
            raise DepthFormerError(
                f"weights {list(weights)} of datasets with {[len(one) for one in parts]} images "
                f"make a pass of {images:.0f}: one of them is too small"
            )
        sources: Sequence[MixEntry | None] = entries or [None] * len(parts)
        self.parts = tuple(
            MixedPart(dataset, float(weight), round(passes * weight), entry)
            for dataset, weight, entry in zip(parts, weights, sources, strict=True)
        )
        self._ends = np.cumsum([part.count for part in self.parts])
        self.files = tuple(
            part.dataset.files[place % len(part.dataset)]
            for part in self.parts
            # A custom dataset may name no files.
            for place in range(part.count if part.dataset.files else 0)
        )

    def __len__(self) -> int:
        """Return the number of frames of a pass."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Frame:
        """Read a frame.

        Raises:
            DatasetError: As the dataset it belongs to.
            IndexError: There is no such frame.
        """
        dataset, place = self._place(index)
        return dataset[place]

    def fingerprint(self, index: int) -> str | None:
        """Describe a frame as the dataset it belongs to.

        Raises:
            IndexError: There is no such frame.
        """
        dataset, place = self._place(index)
        return dataset.fingerprint(place)

    def check(self, *, progress: bool = False) -> None:
        """Check every file of every dataset.

        Raises:
            DatasetError: As the datasets.
        """
        for part in self.parts:
            part.dataset.check(progress=progress)

    def _place(self, index: int) -> tuple[DepthDataset, int]:
        """Find the dataset of a frame, and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        first = 0 if which == 0 else int(self._ends[which - 1])
        dataset = self.parts[which].dataset
        return dataset, (index - first) % len(dataset)


def open_mix(path: Path) -> MixedDataset:
    """Open the datasets that a file lists, their part `train`.

    Args:
        path: YAML: a list with a mapping for each dataset, with the fields of `MixEntry`
            as keys. Name and weight are required; paths are relative to the file's folder, and
            "~" is the home folder.

    Raises:
        DatasetError: The file is no such list, or a dataset cannot be opened; the message names
            the file and the number of the entry.
        DepthFormerError: The file cannot be read.
    """
    entries, datasets = [], []
    for number, values in enumerate(_read_list(path), 1):
        try:
            entry = _entry(values, path.parent)
            dataset = open_dataset(
                entry.name,
                entry.root,
                part="train",
                split=entry.split,
                depth_scale=entry.depth_scale,
            )
        except (DepthFormerError, OSError) as error:
            raise DatasetError(f"mix {path}, entry {number}: {error}") from error
        entries.append(entry)
        datasets.append(dataset)
    try:
        return MixedDataset(datasets, [entry.weight for entry in entries], entries=entries)
    except DepthFormerError as error:
        raise DatasetError(f"mix {path}: {error}") from error


def _read_list(path: Path) -> list[object]:
    text = read_text(path, kind="mix")
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        # The whole text shows the place over several lines.
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise DatasetError(f"mix {path}{line} is not YAML: {one_line(error.problem)}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"mix {path} is not YAML: {one_line(error)}") from error
    if not isinstance(content, list) or not content:
        raise DatasetError(f"mix {path} must be a list of datasets, got {_shown(content)}")
    return content


def _entry(values: object, folder: Path) -> MixEntry:
    """Read an entry of the list.

    Raises:
        DepthFormerError: It is not as it should be; the message names the key.
    """
    if not isinstance(values, dict):
        raise DepthFormerError(f"a dataset must be a mapping, got {_shown(values)}")
    fields = dataclasses.fields(MixEntry)
    known = [field.name for field in fields]
    for key in values:
        if key not in known:
            raise DepthFormerError(f"unknown key {_shown(key)}; known are {', '.join(known)}")
    for field in fields:
        if field.default is dataclasses.MISSING and field.name not in values:
            raise DepthFormerError(f"{field.name} is missing")
    arguments: dict[str, Any] = {}
    for key in ("name", "root", "split"):
        if key in values:
            if not isinstance(values[key], str) or not values[key]:
                raise DepthFormerError(f"{key} must be text, got {_shown(values[key])}")
            arguments[key] = values[key] if key == "name" else _path(values[key], folder)
    for key in ("depth_scale", "weight"):
        if key in values:
            number = values[key]
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise DepthFormerError(f"{key} must be a number, got {_shown(number)}")
            if not 0 < number <= _LARGEST:
                raise DepthFormerError(f"{key} must be positive and finite, got {_shown(number)}")
            arguments[key] = float(number)
    return MixEntry(**arguments)


def _path(text: str, folder: Path) -> Path:
    try:
        return absolute(folder / Path(text).expanduser())
    except RuntimeError as error:
        raise DepthFormerError(f"{text}: {error}") from error


def _shown(value: object) -> str:
    """Describe a value for an error; lists and mappings, which may be endless, by their kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")
