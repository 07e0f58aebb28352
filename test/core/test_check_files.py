"""Files of a data set are checked once on each machine."""

import shutil
from pathlib import Path

import pytest
from training_runs import write_pairs

from depthformer_core.data.check import check_files
from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.open import open_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> DepthDataset:
    write_pairs(tmp_path)
    return open_dataset("folder", tmp_path / "train", part="train", depth_scale=1000)


def test_a_wrong_file_is_named(dataset: DepthDataset, tmp_path: Path) -> None:
    check_files(dataset)
    (tmp_path / "train" / "rgb" / "4.png").write_text("no picture")
    with pytest.raises(DatasetError, match=r"4\.png is no PNG or JPEG file"):
        check_files(dataset)


def test_other_processes_of_the_machine_open_no_file(
    dataset: DepthDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthformer_core.data.check.local_rank", lambda: 1)
    shutil.rmtree(tmp_path / "train")
    check_files(dataset)


def test_the_others_end_where_one_finds_a_wrong_file(
    dataset: DepthDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthformer_core.data.check.local_rank", lambda: 1)
    monkeypatch.setattr("depthformer_core.data.check.any_process", lambda _: True)
    with pytest.raises(DatasetError, match="see the error of process 0"):
        check_files(dataset)
