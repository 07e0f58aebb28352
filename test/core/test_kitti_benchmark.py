import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.kitti_benchmark import open_kitti_benchmark
from depthformer_core.geometry.camera import Camera

DRIVE = "2011_09_26_drive_0002_sync"
CAMERA = "700 0 4 0 710 3 0 0 1"


def write_image(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9, 3), (0, 0, value), np.uint8))


def write_depth(path, metres=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9), 256 * metres, np.uint16))


def write_camera(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CAMERA)


def make_raw(root, *, part):
    for camera in ("image_02", "image_03"):
        write_image(root / "raw" / DRIVE[:10] / DRIVE / camera / "data" / "0000000005.png")
        drive = root / "data_depth_annotated" / part / DRIVE
        write_depth(drive / "proj_depth" / "groundtruth" / camera / "0000000005.png")


def make_validation(folder):
    for frame in (8, 5):
        name = f"{DRIVE}_{{}}_{frame:010d}_image_03"
        write_image(folder / "image" / f"{name.format('image')}.png", frame)
        write_depth(folder / "groundtruth_depth" / f"{name.format('groundtruth_depth')}.png", frame)
        write_camera(folder / "intrinsics" / f"{name.format('image')}.txt")


def test_training_frames_of_both_cameras(tmp_path):
    make_raw(tmp_path, part="train")
    dataset = open_kitti_benchmark(tmp_path, part="train", split=None)
    dataset.check()
    assert dataset.name == "kitti_benchmark"
    assert [file.split("/")[2] for file in dataset.files] == ["image_02", "image_03"]
    assert dataset[1].camera.fx == 721.5377


def test_files_of_other_systems(tmp_path):
    folder = tmp_path / "val_selection_cropped"
    make_validation(folder)
    for path in [*folder.rglob("*.*")]:
        path.rename(path.with_suffix(path.suffix.upper()))
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    dataset = open_kitti_benchmark(tmp_path, part="val", split=None)
    dataset.check()
    assert list(dataset.files) == [f"{DRIVE}_image_{frame:010d}_image_03.PNG" for frame in (5, 8)]
    assert (dataset[1].depth[0, 0], dataset[1].camera.fx) == (8, 700)


@pytest.mark.parametrize("base", ["", "depth_selection"])
def test_validation(tmp_path, base):
    make_validation(tmp_path / base / "val_selection_cropped")
    dataset = open_kitti_benchmark(tmp_path, part="val", split=None)
    dataset.check()
    assert list(dataset.files) == [f"{DRIVE}_image_{frame:010d}_image_03.png" for frame in (5, 8)]
    frame = dataset[0]
    assert (frame.rgb[0, 0, 0], frame.depth[0, 0]) == (5, 5)
    assert frame.camera == Camera(9, 6, 700, 710, 4, 3)


@pytest.mark.parametrize("part", ["train", "val"])
def test_split_of_raw_frames(tmp_path, part):
    make_raw(tmp_path, part="val")
    image = f"{DRIVE[:10]}/{DRIVE}/image_03/data/0000000005.png"
    depth = f"{DRIVE}/proj_depth/groundtruth/image_03/0000000005.png"
    (tmp_path / "s.txt").write_text(f"{image} {depth}\n")
    dataset = open_kitti_benchmark(tmp_path, part=part, split=tmp_path / "s.txt")
    assert list(dataset.files) == [image]


@pytest.mark.parametrize(
    ("images", "cameras"),
    [
        ("test_depth_prediction_anonymous/image", "test_depth_prediction_anonymous/intrinsics"),
        (
            "depth_selection/test_depth_prediction_anonymous/image",
            "depth_selection/test_depth_prediction_anonymous/intrinsics",
        ),
        ("benchmark_test", "benchmark_cam"),
        ("benchmark_test", "benchmark_test_cam"),
    ],
    ids=["download", "selection", "release", "release-code"],
)
def test_test_images(tmp_path, images, cameras):
    for frame in range(3):
        write_image(tmp_path / images / f"{frame:010d}.png", frame)
        write_camera(tmp_path / cameras / f"{frame:010d}.txt")
    dataset = open_kitti_benchmark(tmp_path, part="test", split=None)
    dataset.check()
    assert list(dataset.files) == ["0000000000.png", "0000000001.png", "0000000002.png"]
    assert dataset[2].depth is None
    assert dataset[2].camera == Camera(9, 6, 700, 710, 4, 3)
    (tmp_path / "s.txt").write_text("0000000002.png\n0000000001.png\n")
    dataset = open_kitti_benchmark(tmp_path, part="test", split=tmp_path / "s.txt")
    assert list(dataset.files) == ["0000000001.png", "0000000002.png"]
    (tmp_path / "s.txt").write_text("0000000002.png\n0000000003.png\n")
    with pytest.raises(DatasetError, match=r"line 2 of .*: there is no image 0000000003\.png"):
        open_kitti_benchmark(tmp_path, part="test", split=tmp_path / "s.txt")


def test_test_images_without_cameras(tmp_path):
    write_image(tmp_path / "benchmark_test" / "0000000000.png")
    assert open_kitti_benchmark(tmp_path, part="test", split=None)[0].camera is None


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("train", "no KITTI images under"),
        ("val", "no KITTI validation images under .*val_selection_cropped"),
        ("test", "no KITTI test images under .*test_depth_prediction_anonymous/image, .*benchmark"),
    ],
)  # fmt: skip
def test_unknown_layout(tmp_path, part, message):
    with pytest.raises(DatasetError, match=message):
        open_kitti_benchmark(tmp_path, part=part, split=None)


@pytest.mark.parametrize("kind", ["groundtruth_depth", "intrinsics"])
def test_incomplete_validation(tmp_path, kind):
    folder = tmp_path / "val_selection_cropped"
    make_validation(folder)
    missing = min((folder / kind).iterdir())
    missing.unlink()
    with pytest.raises(DatasetError, match=missing.name):
        open_kitti_benchmark(tmp_path, part="val", split=None)
