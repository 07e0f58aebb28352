"""Generated frames as a dataset."""

import pickle

import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.open import open_dataset
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import SyntheticDataset
from depthformer_core.synthetic.rendering.noise import grain_window
from depthformer_core.training.config import TrainingData, ValidationData

TINY = Camera(128, 40, 75.0, 75.0, 64.0, 18.0)


def test_frame():
    dataset = SyntheticDataset(part="val", camera=TINY)
    frame = dataset[7]
    assert frame.file == dataset.files[7] == "val/2000007.png"
    assert frame.camera == TINY
    assert frame.rgb.shape == (40, 128, 3)
    assert frame.depth.shape == (40, 128)
    assert frame.depth.dtype == np.float32
    seen = np.isfinite(frame.depth)
    assert 0 < frame.depth.min() < frame.depth[seen].max() <= 80
    assert (frame.depth[~seen] == np.inf).all()
    assert 0 < seen.mean() < 1
    dataset.check()


def test_copies_render_the_same():
    dataset = SyntheticDataset(part="train", camera=TINY)
    copy = pickle.loads(pickle.dumps(dataset))
    copy[3]
    one, other = dataset[49_999], copy[49_999]
    np.testing.assert_array_equal(one.rgb, other.rgb)
    np.testing.assert_array_equal(one.depth, other.depth)


def test_parts_share_no_scene():
    parts = {part: SyntheticDataset(part=part) for part in ("train", "val", "test")}
    seeds = {part: {file.split("/")[1] for file in data.files} for part, data in parts.items()}
    assert {part: len(found) for part, found in seeds.items()} == {
        "train": 50_000,
        "val": 100,
        "test": 200,
    }
    assert len(seeds["train"] | seeds["val"] | seeds["test"]) == 50_300
    assert all(len(parts[part]) == len(seeds[part]) for part in parts)


def test_ends():
    dataset = SyntheticDataset(part="val", camera=TINY)
    with pytest.raises(IndexError):
        dataset[100]
    with pytest.raises(DatasetError, match="got 'dev'"):
        SyntheticDataset(part="dev")


def test_kitti_camera_by_name():
    frame = open_dataset("synthetic", None, part="test")[0]
    assert frame.rgb.shape == (375, 1242, 3)


def test_training_takes_it_by_name():
    data = TrainingData(name="synthetic")
    assert len(data.open()) == 50_000
    assert len(ValidationData().open(data)) == 100


def test_validation_on_it_needs_no_root(tmp_path):
    data = TrainingData(root=tmp_path, name="folder", depth_scale=256)
    assert len(ValidationData(name="synthetic").open(data)) == 100


def test_crests_hide_what_is_behind_them() -> None:
    # Over the crest of this road, grazing pixels once got the depth of the ground at the camera.
    frame = SyntheticDataset(part="test")[4]
    assert frame.depth.min() > 3


@pytest.mark.parametrize("size", [(20, 30), (800, 2100), (1100, 100), (2050, 4100)])
def test_noise_covers_images_of_any_size(size):
    assert grain_window(1, 1000, 2000, *size).shape == size
