import pickle

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    Source,
    find_picture,
    list_pictures,
)
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.geometry.camera import Camera


def make_source(folder, index, *, size=(6, 9), depth=True, intrinsics=(10.0, 11.0, 4.0, 3.0)):
    """Frame with its number as red and as metres."""
    image, truth = folder / f"{index}.png", folder / f"{index}_depth.png"
    cv2.imwrite(str(image), np.full((*size, 3), (0, 0, index), np.uint8))
    if depth:
        cv2.imwrite(str(truth), np.full(size, 256 * index, np.uint16))
    return Source(f"x/{index}.png", image, truth if depth else None, intrinsics)


def make_dataset(folder, **options):
    sources = [make_source(folder, index) for index in (3, 1, 2)]
    return DepthDataset(sources, name="toy", depth_format=PngDepth(256.0), **options)


def test_frames(tmp_path):
    dataset = make_dataset(tmp_path)
    assert len(dataset) == 3
    assert list(dataset.files) == ["x/3.png", "x/1.png", "x/2.png"], "the order is the caller's"
    frame = dataset[1]
    assert frame.file == "x/1.png"
    assert (frame.rgb.shape, frame.rgb.dtype) == ((6, 9, 3), np.uint8)
    np.testing.assert_array_equal(frame.rgb[0, 0], [1, 0, 0])
    assert (frame.depth.dtype, frame.depth.shape) == (np.float32, (6, 9))
    assert (frame.depth == 1).all()
    assert frame.camera == Camera(9, 6, 10.0, 11.0, 4.0, 3.0)
    assert [frame.file for frame in dataset] == list(dataset.files)
    with pytest.raises(IndexError):
        dataset[3]


def test_workers_get_a_copy(tmp_path):
    dataset = pickle.loads(pickle.dumps(make_dataset(tmp_path)))
    assert dataset[2].file == "x/2.png"
    assert (dataset[2].depth == 2).all()


def test_frames_without_truth_and_camera(tmp_path):
    sources = [make_source(tmp_path, 1, depth=False, intrinsics=None)]
    dataset = DepthDataset(sources, name="toy", depth_format=None)
    dataset.check()
    assert dataset[0].depth is None
    assert dataset[0].camera is None


def test_depth_needs_a_format(tmp_path):
    with pytest.raises(ValueError, match="no depth_format"):
        DepthDataset([make_source(tmp_path, 1)], name="toy", depth_format=None)


def test_sizes_that_differ(tmp_path):
    dataset = make_dataset(tmp_path)
    cv2.imwrite(str(tmp_path / "1_depth.png"), np.ones((6, 8), np.uint16))
    with pytest.raises(DatasetError, match=r"1_depth\.png has size 8x6, its image .*1\.png 9x6"):
        dataset[1]


def test_size_of_the_dataset(tmp_path):
    assert make_dataset(tmp_path, size=(6, 9))[0].rgb.shape == (6, 9, 3)
    with pytest.raises(DatasetError, match=r"3\.png has size 9x6, toy has 640x480"):
        make_dataset(tmp_path, size=(480, 640))[0]


@pytest.mark.parametrize("name", ["1.png", "1_depth.png"], ids=["image", "depth"])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_file_is_read_late(tmp_path, name, damage):
    dataset = make_dataset(tmp_path)
    (tmp_path / name).unlink()
    if damage == "damaged":
        (tmp_path / name).write_bytes(b"no picture")
    assert dataset[0].file == "x/3.png"
    with pytest.raises(DatasetError, match=name):
        dataset[1]
    with pytest.raises(DatasetError, match=name):
        dataset.check()


def test_check_of_good_files(tmp_path, capsys):
    dataset = make_dataset(tmp_path)
    dataset.check()
    assert capsys.readouterr() == ("", "")
    dataset.check(progress=True)
    assert "checking toy" in capsys.readouterr().err


def test_notes_come_before_the_check(tmp_path, capsys):
    dataset = make_dataset(tmp_path, notes=["One is missing.", "Two are odd."])
    assert dataset.notes == ("One is missing.", "Two are odd.")
    dataset.check()
    assert capsys.readouterr() == ("", "")
    dataset.check(progress=True)
    assert capsys.readouterr().err.startswith("One is missing.\nTwo are odd.\n")
    assert make_dataset(tmp_path).notes == ()


def test_check_takes_jpeg(tmp_path):
    cv2.imwrite(str(tmp_path / "1.jpg"), np.zeros((4, 4, 3), np.uint8))
    source = Source("1.jpg", tmp_path / "1.jpg", None)
    DepthDataset([source], name="toy", depth_format=None).check()


def test_check_looks_at_depth(tmp_path):
    dataset = make_dataset(tmp_path)
    cv2.imwrite(str(tmp_path / "2_depth.png"), np.ones((6, 9), np.uint8))
    with pytest.raises(DatasetError, match=r"2_depth\.png must be .* 8 bits"):
        dataset.check()


@pytest.mark.parametrize(
    ("there", "requested", "found"),
    [
        (["a.png"], "a.png", "a.png"),
        (["a.jpg"], "a.png", "a.jpg"),
        (["a.png"], "a.jpg", "a.png"),
        (["a.jpeg"], "a.png", "a.jpeg"),
        (["a.jpg", "a.png"], "a.jpg", "a.jpg"),
        (["a.PNG"], "a.png", "a.PNG"),
        (["a.JPG"], "a.png", "a.JPG"),
        (["a.png"], "a.JPG", "a.png"),
        (["b.jpg", "a.txt"], "a.png", None),
    ],
    ids=[
        "same",
        "png-is-jpg",
        "jpg-is-png",
        "png-is-jpeg",
        "both",
        "capitals",
        "jpg-in-capitals",
        "small-letters",
        "none",
    ],
)
def test_find_picture(tmp_path, there, requested, found):
    for name in there:
        (tmp_path / name).touch()
    assert find_picture(tmp_path / requested) == (tmp_path / found if found else None)


def test_list_pictures(tmp_path):
    for name in ("b.JPG", "a.jpg", "a.png", "c.txt", "0.jpeg", "._a.png", ".c.jpg", "Thumbs.db"):
        (tmp_path / name).touch()
    names = {stem: path.name for stem, path in list_pictures(tmp_path).items()}
    assert list(names.items()) == [("0", "0.jpeg"), ("a", "a.png"), ("b", "b.JPG")]
    assert list_pictures(tmp_path / "none") == {}
