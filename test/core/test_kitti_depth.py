import shutil

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.kitti_depth import annotated_frames, open_kitti_eigen
from depthformer_core.geometry.camera import Camera

DAY = "2011_09_28"
DRIVE = f"{DAY}_drive_0001_sync"
OTHER = f"{DAY}_drive_0002_sync"
PUBLISHED = Camera(9, 6, 707.0493, 707.0493, 604.0814, 180.5066)


def make_image(folder, drive, frame, *, camera="image_02", suffix=".png"):
    path = folder / drive[:10] / drive / camera / "data" / f"{frame:010d}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9, 3), (0, 0, frame), np.uint8))
    return path.relative_to(folder).as_posix()


def make_depth(folder, drive, frame, *, camera="image_02", metres=None):
    path = folder / drive / "proj_depth" / "groundtruth" / camera / f"{frame:010d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9), 256 * (metres or frame), np.uint16))
    return path.relative_to(folder).as_posix()


@pytest.mark.parametrize("images", ["input", "raw", "kitti_raw", "raw_data", ""])
@pytest.mark.parametrize(
    "depths",
    ["gt_depth", "data_depth_annotated/train", "kitti_depth/train", "train", "gt_depth/train", ""],
)
def test_layouts(tmp_path, images, depths):
    file = make_image(tmp_path / images, DRIVE, 5)
    make_depth(tmp_path / depths, DRIVE, 5)
    dataset = open_kitti_eigen(tmp_path, part="train", split=None)
    dataset.check()
    assert (dataset.name, list(dataset.files)) == ("kitti_eigen", [file])
    frame = dataset[0]
    np.testing.assert_array_equal(frame.rgb[0, 0], [5, 0, 0])
    assert (frame.depth == 5).all()
    assert frame.camera == PUBLISHED


def test_pairs_of_the_tree(tmp_path):
    for frame in (2, 1, 3):
        make_image(tmp_path / "raw", DRIVE, frame)
        make_image(tmp_path / "raw", DRIVE, frame, camera="image_03")
    make_image(tmp_path / "raw", OTHER, 4, suffix=".jpg")
    for frame in (1, 2, 9):
        make_depth(tmp_path / "train", DRIVE, frame)
    make_depth(tmp_path / "train", DRIVE, 1, camera="image_03")
    make_depth(tmp_path / "train", OTHER, 4)
    dataset = open_kitti_eigen(tmp_path, part="train", split=None)
    assert list(dataset.files) == [
        f"{DAY}/{DRIVE}/image_02/data/0000000001.png",
        f"{DAY}/{DRIVE}/image_02/data/0000000002.png",
        f"{DAY}/{OTHER}/image_02/data/0000000004.jpg",
    ]
    both = annotated_frames(tmp_path, part="train", cameras=("image_02", "image_03"))
    assert [source.file.split("/")[2] for source in both] == ["image_02"] * 2 + ["image_03"] + [
        "image_02"
    ]


def test_parts(tmp_path):
    for drive, part in ((DRIVE, "train"), (OTHER, "val")):
        make_image(tmp_path, drive, 1)
        make_depth(tmp_path / "data_depth_annotated" / part, drive, 1)
    drives = {
        part: [
            file.split("/")[1] for file in open_kitti_eigen(tmp_path, part=part, split=None).files
        ]
        for part in ("train", "val", "test")
    }
    assert drives == {"train": [DRIVE], "val": [OTHER], "test": [OTHER]}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_layout_without_parts(tmp_path, part):
    make_image(tmp_path / "input", DRIVE, 1)
    make_depth(tmp_path / "gt_depth", DRIVE, 1)
    assert len(open_kitti_eigen(tmp_path, part=part, split=None)) == 1


def test_frames_in_two_layouts_count_once(tmp_path):
    make_image(tmp_path / "raw", DRIVE, 1)
    make_depth(tmp_path / "data_depth_annotated" / "train", DRIVE, 1)
    (tmp_path / "gt_depth").symlink_to(tmp_path / "data_depth_annotated" / "train")
    (tmp_path / "input").symlink_to(tmp_path / "raw")
    assert len(open_kitti_eigen(tmp_path, part="train", split=None)) == 1


def test_split(tmp_path):
    raw = tmp_path / "raw"
    lines = [
        (make_image(raw, OTHER, 7), make_depth(tmp_path / "val", OTHER, 7)),
        (
            make_image(raw, DRIVE, 2, suffix=".jpg").replace(".jpg", ".png"),
            make_depth(tmp_path / "train", DRIVE, 2),
        ),
        (make_image(raw, DRIVE, 3), None),
    ]
    text = "".join(f"{image} {depth} 721.5\n" for image, depth in lines)
    (tmp_path / "s.txt").write_text(text)
    dataset = open_kitti_eigen(tmp_path, part="test", split=tmp_path / "s.txt")
    assert list(dataset.files) == [
        f"{DAY}/{DRIVE}/image_02/data/0000000002.jpg",
        f"{DAY}/{OTHER}/image_02/data/0000000007.png",
    ], "drives of any part, in the order of their names"
    assert [frame.depth[0, 0] for frame in dataset] == [2, 7]
    assert dataset[0].camera == PUBLISHED


def test_files_of_other_systems(tmp_path):
    image, depth = make_image(tmp_path, DRIVE, 1), make_depth(tmp_path, DRIVE, 1)
    (tmp_path / "s.txt").write_bytes(f"\ufeff{image} {depth}\r\n".encode())
    paths = [next(tmp_path.rglob(f"{folder}/**/0000000001.png")) for folder in (DAY, "proj_depth")]
    for path in paths:
        path.rename(path.with_suffix(".PNG"))
        (path.parent / "._0000000001.png").write_bytes(b"\0\5\x16\7")
        (path.parent / ".DS_Store").write_bytes(b"\0")
    for split in (None, tmp_path / "s.txt"):
        dataset = open_kitti_eigen(tmp_path, part="train", split=split)
        dataset.check()
        assert list(dataset.files) == [f"{DAY}/{DRIVE}/image_02/data/0000000001.PNG"]
        assert dataset[0].depth[0, 0] == 1


@pytest.mark.parametrize("missing", ["image", "depth"])
def test_split_with_a_missing_file(tmp_path, missing):
    image, depth = make_image(tmp_path, DRIVE, 1), make_depth(tmp_path, DRIVE, 1)
    good = f"{image} {depth}"
    wrong = good.replace(image, image.replace("01.png", "02.png"))
    if missing == "depth":
        wrong = good.replace(depth, depth.replace("01.png", "02.png"))
    (tmp_path / "s.txt").write_text(f"{good}\n{wrong}\n")
    with pytest.raises(DatasetError, match=rf"line 2 of .*s\.txt: there is no {missing} .*02\.png"):
        open_kitti_eigen(tmp_path, part="train", split=tmp_path / "s.txt")


def calibrate(folder, text):
    (folder / DAY / "calib_cam_to_cam.txt").write_text(text)


def test_calibration_of_the_day(tmp_path):
    make_image(tmp_path, DRIVE, 1)
    make_image(tmp_path, DRIVE, 1, camera="image_03")
    make_depth(tmp_path, DRIVE, 1)
    make_depth(tmp_path, DRIVE, 1, camera="image_03")
    calibrate(
        tmp_path, "P_rect_02: 70 0 4 0 0 71 3 0 0 0 1 0\nP_rect_03: 80 0 4.5 9 0 81 3 0 0 0 1 0\n"
    )
    left, right = annotated_frames(tmp_path, part="train", cameras=("image_02", "image_03"))
    assert left.intrinsics == (70, 71, 4, 3)
    assert right.intrinsics == (80, 81, 4.5, 3)


def test_unknown_day_has_no_camera(tmp_path):
    drive = "2020_01_01_drive_0001_sync"
    make_image(tmp_path, drive, 1)
    make_depth(tmp_path, drive, 1)
    assert open_kitti_eigen(tmp_path, part="train", split=None)[0].camera is None


def test_malformed_calibration(tmp_path):
    make_image(tmp_path, DRIVE, 1)
    make_depth(tmp_path, DRIVE, 1)
    calibrate(tmp_path, "P_rect_02: 70 0\n")
    with pytest.raises(DatasetError, match=r"P_rect_02 of .*calib_cam_to_cam\.txt"):
        open_kitti_eigen(tmp_path, part="train", split=None)


def test_root_without_images(tmp_path):
    make_depth(tmp_path / "train", DRIVE, 1)
    with pytest.raises(DatasetError, match=r"no KITTI images under .*input, raw, kitti_raw"):
        open_kitti_eigen(tmp_path, part="train", split=None)


def test_root_without_depth(tmp_path):
    make_image(tmp_path, DRIVE, 1)
    with pytest.raises(DatasetError, match=r"no annotated depth under .*gt_depth"):
        open_kitti_eigen(tmp_path, part="train", split=None)


def test_part_that_is_empty(tmp_path):
    make_image(tmp_path, DRIVE, 1)
    make_depth(tmp_path / "train", DRIVE, 1)
    with pytest.raises(DatasetError, match=r"part val under .*: 1 annotated drives, in train"):
        open_kitti_eigen(tmp_path, part="val", split=None)


def test_images_and_depth_of_other_frames(tmp_path):
    make_image(tmp_path, DRIVE, 1)
    make_depth(tmp_path, DRIVE, 2)
    with pytest.raises(DatasetError, match="no image_02 of part train"):
        open_kitti_eigen(tmp_path, part="train", split=None)


def test_real_frames(samples):
    dataset = open_kitti_eigen(samples, part="train", split=None)
    dataset.check()
    assert list(dataset.files) == [
        f"2011_09_26/2011_09_26_drive_0001_sync/image_02/data/{frame:010d}.jpg"
        for frame in range(5, 17)
    ]
    frame = dataset[0]
    assert frame.camera == Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
    seen = frame.depth[frame.depth > 0]
    assert 0.15 < seen.size / frame.depth.size < 0.25
    assert 4 < seen.min() < seen.max() < 90


def test_real_frames_by_the_official_split(samples, tmp_path):
    drive = "2011_09_26_drive_0001_sync"
    line = (
        f"2011_09_26/{drive}/image_02/data/{{0}}.png "
        f"{drive}/proj_depth/groundtruth/image_02/{{0}}.png 721.5377\n"
    )
    (tmp_path / "s.txt").write_text(line.format("0000000006") + line.format("0000000005"))
    dataset = open_kitti_eigen(samples, part="test", split=tmp_path / "s.txt")
    assert [file[-14:] for file in dataset.files] == ["0000000005.jpg", "0000000006.jpg"]


def test_official_test_split_is_readable(samples, tmp_path):
    split = samples.parent / "splits" / "kitti_eigen_test.txt"
    first = next(
        line for line in sorted(split.read_text().split("\n")) if "None" not in line and line
    )
    shutil.copy(split, tmp_path / "s.txt")
    with pytest.raises(
        DatasetError, match=rf"line \d+ of .*s\.txt: there is no image {first.split()[0]}"
    ):
        open_kitti_eigen(samples, part="test", split=tmp_path / "s.txt")
