import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.sunrgbd import RotatedPngDepth, open_sunrgbd
from depthformer_core.geometry.camera import Camera


def rotate_left(millimetres):
    """Turn 16 bits one by one, the top one into the lowest."""
    value = int(millimetres)
    for _ in range(3):
        value = (value * 2) % 65536 + value // 32768
    return value


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((6, 9, 3), np.uint8))


def write_depth(path, millimetres):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9), rotate_left(millimetres), np.uint16))


def make_scene(scene, *, image="0000103", depth=None, millimetres=1500):
    write_image(scene / "image" / f"{image}.jpg")
    write_depth(scene / "depth" / f"{depth or image}.png", millimetres)
    (scene / "intrinsics.txt").write_text("529.5 0 4\n0 528 3\n0 0 1\n")


def test_bits_are_turned_back(tmp_path):
    values = np.array([[0, 1, 2, 7, 999, 8191, 8192, 9870, 40000, 65535]])
    stored = np.vectorize(rotate_left)(values).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), stored)
    depth = RotatedPngDepth().read(tmp_path / "d.png")
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, values.astype(np.float32) / np.float32(1000))


def test_scenes_at_any_depth(tmp_path):
    make_scene(tmp_path / "SUNRGBD" / "kv2" / "kinect2data" / "b", millimetres=2500)
    make_scene(tmp_path / "SUNRGBD" / "xtion" / "a", image="0001-1", depth="0001-2")
    make_scene(tmp_path / "SUNRGBD" / "kv1" / "c")
    (tmp_path / "SUNRGBD" / "kv1" / "c" / "intrinsics.txt").unlink()
    (tmp_path / "SUNRGBD" / "loop").symlink_to(tmp_path / "SUNRGBD")
    dataset = open_sunrgbd(tmp_path, split=None)
    dataset.check()
    assert dataset.name == "sunrgbd"
    assert list(dataset.files) == [
        "SUNRGBD/kv1/c/image/0000103.jpg",
        "SUNRGBD/kv2/kinect2data/b/image/0000103.jpg",
        "SUNRGBD/xtion/a/image/0001-1.jpg",
    ], "the link that leads back is not followed twice"
    frame = dataset[1]
    assert (frame.depth == np.float32(2.5)).all()
    assert frame.camera == Camera(9, 6, 529.5, 528, 4, 3)
    assert dataset[0].camera is None


def test_linked_scenes(tmp_path):
    make_scene(tmp_path / "elsewhere" / "a")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "SUNRGBD").symlink_to(tmp_path / "elsewhere")
    assert len(open_sunrgbd(tmp_path / "root", split=None)) == 1


def test_scene_of_two_files(tmp_path):
    write_image(tmp_path / "scene" / "color.jpg")
    write_depth(tmp_path / "scene" / "depth.png", 1234)
    (tmp_path / "scene" / "intrinsics.txt").write_text("500 0 4 0 500 3 0 0 1")
    dataset = open_sunrgbd(tmp_path, split=None)
    assert list(dataset.files) == ["scene/color.jpg"]
    assert dataset[0].depth[0, 0] == np.float32(1.234)
    assert dataset[0].camera.fx == 500


def test_files_of_other_systems(tmp_path):
    scene = tmp_path / "scene"
    make_scene(scene, image="1", depth="2")
    make_scene(tmp_path / ".Trash")
    write_image(tmp_path / "two" / "COLOR.JPG")
    write_depth(tmp_path / "two" / "depth.png", 2000)
    (tmp_path / "two" / "COLOR.JPG").rename(tmp_path / "two" / "color.JPG")
    (tmp_path / "two" / "depth.png").rename(tmp_path / "two" / "depth.PNG")
    for path in (scene / "image" / "1.jpg", scene / "depth" / "2.png", scene / "intrinsics.txt"):
        path.rename(path.with_suffix(path.suffix.upper()))
    for name in ("image/._1.jpg", "depth/._2.png", "._intrinsics.txt", "depth/.DS_Store"):
        (scene / name).write_bytes(b"\0\5\x16\7")
    dataset = open_sunrgbd(tmp_path, split=None)
    dataset.check()
    assert list(dataset.files) == ["scene/image/1.JPG", "two/color.JPG"]
    assert [frame.depth[0, 0] for frame in dataset] == [1.5, 2]
    assert dataset[0].camera.fx == 529.5


def test_split(tmp_path):
    for name in "ab":
        make_scene(tmp_path / "SUNRGBD" / name)
    line = "SUNRGBD/{0}/image/0000103.jpg SUNRGBD/{0}/depth/0000103.png\r\n"
    (tmp_path / "s.txt").write_bytes(line.format("b").encode())
    dataset = open_sunrgbd(tmp_path, split=tmp_path / "s.txt")
    assert list(dataset.files) == ["SUNRGBD/b/image/0000103.jpg"]
    assert dataset[0].camera.fx == 529.5
    (tmp_path / "s.txt").write_text(line.format("c"))
    with pytest.raises(DatasetError, match=r"line 1 of .*there is no image"):
        open_sunrgbd(tmp_path, split=tmp_path / "s.txt")


def test_scene_with_odd_files(tmp_path):
    make_scene(tmp_path / "scene", image="1")
    write_image(tmp_path / "scene" / "image" / "2.jpg")
    with pytest.raises(DatasetError, match=r"scene has 2 images and 1 depths, .* like '2'"):
        open_sunrgbd(tmp_path, split=None)


def test_malformed_intrinsics(tmp_path):
    make_scene(tmp_path / "scene")
    (tmp_path / "scene" / "intrinsics.txt").write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"intrinsics\.txt must be 9"):
        open_sunrgbd(tmp_path, split=None)


def test_depth_of_8_bits(tmp_path):
    make_scene(tmp_path / "scene")
    cv2.imwrite(str(tmp_path / "scene" / "depth" / "0000103.png"), np.ones((6, 9), np.uint8))
    with pytest.raises(DatasetError, match="8 bits"):
        open_sunrgbd(tmp_path, split=None).check()


def test_unknown_layout(tmp_path):
    with pytest.raises(DatasetError, match="no SUN RGB-D scenes under"):
        open_sunrgbd(tmp_path, split=None)


def test_real_frame(samples):
    dataset = open_sunrgbd(samples / "sunrgbd", split=None)
    dataset.check()
    (frame,) = list(dataset)
    assert frame.rgb.shape == (480, 640, 3)
    seen = frame.depth[frame.depth > 0]
    assert 0.3 < seen.min() < seen.max() < 12
