"""Several datasets as one."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.data.open import open_dataset


def folder(root: Path, name: str, images: int) -> DepthDataset:
    for kind in ("rgb", "depth"):
        (root / name / kind).mkdir(parents=True)
    for index in range(images):
        pixels = np.full((4, 6, 3), index, np.uint8)
        assert cv2.imwrite(str(root / name / "rgb" / f"{name}{index}.png"), pixels)
        depth = np.full((4, 6), 1000 * (index + 1), np.uint16)
        assert cv2.imwrite(str(root / name / "depth" / f"{name}{index}.png"), depth)
    return open_dataset("folder", root / name, part="train", depth_scale=1000)


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((1, 1), (6, 6)), ((0.75, 0.25), (6, 2)), ((1, 3), (6, 18)), ((0.1, 0.2), (6, 12))],
)
def test_shares_of_a_pass(
    tmp_path: Path, weights: tuple[float, float], counts: tuple[int, int]
) -> None:
    many, few = folder(tmp_path, "many", 6), folder(tmp_path, "few", 2)
    mixed = MixedDataset([many, few], weights)
    assert len(mixed) == sum(counts) == len(mixed.files)
    seen = Counter(mixed[index].file for index in range(len(mixed)))
    assert seen == Counter(mixed.files)
    assert set(seen) == {*many.files, *few.files}
    for dataset, count in zip((many, few), counts, strict=True):
        assert sum(seen[file] for file in dataset.files) == count
        # All of a dataset come up as often, but for one.
        assert max(seen[file] for file in dataset.files) - min(
            seen[file] for file in dataset.files
        ) in (0, 1)
    with pytest.raises(IndexError):
        mixed[len(mixed)]


def test_every_file_of_every_dataset_is_looked_at(tmp_path: Path) -> None:
    good, bad = folder(tmp_path, "good", 1), folder(tmp_path, "bad", 2)
    MixedDataset([good, bad], [1, 1]).check()
    (tmp_path / "bad" / "rgb" / "bad1.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"bad1\.png is no PNG"):
        MixedDataset([good, bad], [1, 1]).check()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0,), "2 datasets need as many weights, got 1"),
        ((1.0, 0.0), "weights must be positive, got"),
        ((1.0, float("nan")), "weights must be positive, got"),
        ((1.0, 1e-9), r"with \[1, 1\] images make a pass of 1000000001: one of them is too small"),
    ],
)
def test_weights_are_checked(tmp_path: Path, weights: tuple[float, ...], message: str) -> None:
    datasets = [folder(tmp_path, name, 1) for name in ("a", "b")]
    with pytest.raises(ValueError, match=message):
        MixedDataset(datasets, weights)


def test_nothing_cannot_be_mixed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 datasets need"):
        MixedDataset([], [])
    empty = DepthDataset([], name="empty", depth_format=None)
    with pytest.raises(ValueError, match="dataset empty is empty"):
        MixedDataset([folder(tmp_path, "a", 1), empty], [1, 1])
