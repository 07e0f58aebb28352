import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.nyu import open_nyu
from depthformer_core.geometry.camera import Camera


def make_pair(images, depths, number, *, size=(480, 640)):
    for folder in (images, depths):
        folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(images / f"rgb_{number:05d}.jpg"), np.zeros((*size, 3), np.uint8))
    depth = np.full(size, 1000 * number, np.uint16)
    cv2.imwrite(str(depths / f"sync_depth_{number:05d}.png"), depth)


def test_scenes(tmp_path):
    make_pair(tmp_path / "study", tmp_path / "study", 2)
    make_pair(tmp_path / "bathroom", tmp_path / "bathroom", 1)
    (tmp_path / "bathroom" / "rgb_00009.jpg").touch()
    (tmp_path / "bathroom" / "poster.jpg").touch()
    dataset = open_nyu(tmp_path, split=None)
    dataset.check()
    assert dataset.name == "nyu"
    assert list(dataset.files) == ["bathroom/rgb_00001.jpg", "study/rgb_00002.jpg"]
    frame = dataset[1]
    assert frame.rgb.shape == (480, 640, 3)
    assert (frame.depth == 2).all()
    assert frame.camera.width == 640
    assert frame.camera.fx == pytest.approx(518.8579, abs=1e-4)
    assert frame.camera.cy == pytest.approx(253.73617, abs=1e-5)


@pytest.mark.parametrize("scene", ["", "study"])
def test_folders_of_rgb_and_depth(tmp_path, scene):
    make_pair(tmp_path / scene / "rgb", tmp_path / scene / "depth", 3)
    dataset = open_nyu(tmp_path, split=None)
    assert list(dataset.files) == [f"{scene}/rgb/rgb_00003.jpg".lstrip("/")]
    assert (dataset[0].depth == 3).all()


def test_files_of_other_systems(tmp_path):
    make_pair(tmp_path / "study", tmp_path / "study", 2)
    make_pair(tmp_path / ".Trash", tmp_path / ".Trash", 3)
    for path in (tmp_path / "study").iterdir():
        path.rename(path.with_suffix(path.suffix.upper()))
    for name in ("._rgb_00002.jpg", "._sync_depth_00002.png"):
        (tmp_path / "study" / name).write_bytes(b"\0\5\x16\7")
    dataset = open_nyu(tmp_path, split=None)
    dataset.check()
    assert list(dataset.files) == ["study/rgb_00002.JPG"]
    assert (dataset[0].depth == 2).all()


def test_split(tmp_path):
    for number in (1, 2, 3):
        make_pair(tmp_path / "study", tmp_path / "study", number)
    line = "/study/rgb_{0:05d}.jpg /study/sync_depth_{0:05d}.png 518.8579\n"
    (tmp_path / "s.txt").write_text(line.format(3) + line.format(1))
    dataset = open_nyu(tmp_path, split=tmp_path / "s.txt")
    assert list(dataset.files) == ["study/rgb_00001.jpg", "study/rgb_00003.jpg"]
    assert dataset[0].camera.fx == pytest.approx(518.8579, abs=1e-4)
    (tmp_path / "s.txt").write_text(line.format(7))
    with pytest.raises(DatasetError, match=r"line 1 of .*there is no image .*rgb_00007\.jpg"):
        open_nyu(tmp_path, split=tmp_path / "s.txt")


def test_unknown_layout(tmp_path):
    with pytest.raises(DatasetError, match="no NYU frames under"):
        open_nyu(tmp_path, split=None)


def test_other_size(tmp_path):
    make_pair(tmp_path, tmp_path, 1, size=(240, 320))
    with pytest.raises(DatasetError, match="has size 320x240, nyu has 640x480"):
        open_nyu(tmp_path, split=None)[0]


def test_real_frames(samples):
    dataset = open_nyu(samples / "nyu", split=None)
    dataset.check()
    assert list(dataset.files) == ["rgb/rgb_00000.jpg", "rgb/rgb_00050.jpg"]
    for frame in dataset:
        assert frame.camera == Camera(
            640, 480, frame.camera.fx, frame.camera.fy, frame.camera.cx, frame.camera.cy
        )
        seen = frame.depth[frame.depth > 0]
        assert 0.5 < seen.min() < seen.max() < 10
