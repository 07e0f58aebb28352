from typing import get_args

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.open import DatasetName, Part, open_dataset

ON_DISK = [name for name in get_args(DatasetName) if name != "synthetic"]


def make_pair(root):
    for folder in ("rgb", "depth"):
        (root / folder).mkdir()
    cv2.imwrite(str(root / "rgb" / "a.png"), np.zeros((4, 5, 3), np.uint8))
    cv2.imwrite(str(root / "depth" / "a.png"), np.full((4, 5), 500, np.uint16))


@pytest.mark.parametrize("part", get_args(Part))
def test_open(tmp_path, part):
    make_pair(tmp_path)
    dataset = open_dataset("folder", tmp_path, part=part, depth_scale=1000)
    assert dataset[0].depth[0, 0] == 0.5


@pytest.mark.parametrize("name", ON_DISK)
def test_missing_root(tmp_path, name):
    with pytest.raises(DatasetError, match=rf"root .*nowhere of {name} is no folder"):
        open_dataset(name, tmp_path / "nowhere", part="train")


@pytest.mark.parametrize("name", ON_DISK)
def test_unknown_layout(tmp_path, name):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        open_dataset(name, tmp_path, part="test")


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("kitti_eigen", ""),
        ("kitti_benchmark", ""),
        ("kitti_raw", ""),
        ("nyu", "nyu"),
        ("sunrgbd", "sunrgbd"),
    ],
)
def test_every_name_opens_its_dataset(samples, name, root):
    dataset = open_dataset(name, samples / root, part="train")
    assert dataset.name == name
    assert len(dataset) > 0


@pytest.mark.parametrize("name", [name for name in get_args(DatasetName) if name != "folder"])
def test_scale_out_of_place(tmp_path, name):
    with pytest.raises(ValueError, match=f"depth_scale is for dataset folder alone, {name}"):
        open_dataset(name, tmp_path, part="train", depth_scale=256)


def test_unknown_arguments(tmp_path):
    with pytest.raises(ValueError, match=r"dataset must be one of .* got 'kitty'"):
        open_dataset("kitty", tmp_path, part="train")
    with pytest.raises(ValueError, match=r"part must be one of .* got 'dev'"):
        open_dataset("nyu", tmp_path, part="dev")


def test_synthetic_has_no_files(tmp_path):
    assert open_dataset("synthetic", None, part="val").name == "synthetic"
    with pytest.raises(ValueError, match=f"no root or split, got {tmp_path} and None"):
        open_dataset("synthetic", tmp_path, part="val")
    with pytest.raises(DatasetError, match="nyu needs a root"):
        open_dataset("nyu", None, part="val")
