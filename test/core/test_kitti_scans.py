import pickle
import re

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.kitti import KittiDrive
from depthformer_core.data.kitti_scans import open_kitti_raw
from depthformer_core.geometry.camera import Camera

DAY = "2011_09_26"
CAMERAS = "S_rect_02: 64 24\nR_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: 40 0 32 0 0 40 12 0 0 0 1 0\n"
VELODYNE = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n"


def drive_name(number):
    return f"{DAY}_drive_{number:04d}_sync"


def file_name(number, frame, suffix=".png"):
    return f"{DAY}/{drive_name(number)}/image_02/data/{frame:010d}{suffix}"


def make_drive(folder, number, *, images=(0, 1), scans=(0, 1), suffix=".png"):
    """Drive with one point straight ahead in each scan, at 10 m plus the frame's number."""
    drive = folder / DAY / drive_name(number)
    for frame in images:
        path = drive / "image_02" / "data" / f"{frame:010d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((24, 64, 3), (0, 0, frame), np.uint8))
    for frame in scans:
        path = drive / "velodyne_points" / "data" / f"{frame:010d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.array([[10 + frame, 0, 0, 0.5]], "<f4").tofile(path)
    (drive.parent / "calib_cam_to_cam.txt").write_text(CAMERAS)
    (drive.parent / "calib_velo_to_cam.txt").write_text(VELODYNE)
    return drive


@pytest.mark.parametrize("base", ["", "raw", "kitti_raw"])
def test_drives_by_day(tmp_path, base):
    make_drive(tmp_path / base, 2, images=(0, 1, 2), scans=(1, 2, 3), suffix=".jpg")
    make_drive(tmp_path / base, 1)
    make_drive(tmp_path / base, 3, scans=())
    make_drive(tmp_path / base, 4, images=())
    dataset = open_kitti_raw(tmp_path, split=None)
    dataset.check()
    assert dataset.name == "kitti_raw"
    assert list(dataset.files) == [
        file_name(1, 0),
        file_name(1, 1),
        file_name(2, 1, ".jpg"),
        file_name(2, 2, ".jpg"),
    ], "frames with image and scan"
    frame = pickle.loads(pickle.dumps(dataset))[3]
    assert frame.camera == Camera(64, 24, 40, 40, 32, 12)
    assert [int(index) for index in np.argwhere(frame.depth)[0]] == [12, 32]
    assert frame.depth.max() == 12


def write_times(drive, sensor, present):
    times = [f"2011-09-26 13:02:25.{i}" if there else "" for i, there in enumerate(present)]
    (drive / sensor / "timestamps.txt").write_text("\n".join(times) + "\n")


def test_frames_that_a_drive_lacks_are_counted(tmp_path, capsys):
    """Blank lines stand where scans are missing, as in drive 0009 of the first day."""
    drive = make_drive(tmp_path, 9, images=(0, 1, 2, 3, 4), scans=(0, 1, 4))
    write_times(drive, "image_02", [1, 0, 1, 1, 1])
    write_times(drive, "velodyne_points", [1, 1, 0, 0, 1])
    make_drive(tmp_path, 1)
    dataset = open_kitti_raw(tmp_path, split=None)
    assert list(dataset.files) == [
        *(file_name(1, 0), file_name(1, 1), file_name(9, 0), file_name(9, 4)),
    ]
    assert dataset.notes == (
        "3 frames lack their image, scan or time and are skipped: the first is "
        f"{drive_name(9)}, frame 0000000001.",
    )
    dataset.check(progress=True)
    assert capsys.readouterr().err.startswith(dataset.notes[0] + "\n")
    (tmp_path / "s.txt").write_text("\n".join(file_name(9, frame) for frame in (0, 3, 4)))
    assert open_kitti_raw(tmp_path, split=tmp_path / "s.txt").notes == (
        "1 frames lack their image, scan or time and are skipped: the first is "
        f"{drive_name(9)}, frame 0000000003.",
    )


def test_whole_drives_need_no_note(tmp_path, capsys):
    make_drive(tmp_path, 1)
    dataset = open_kitti_raw(tmp_path, split=None)
    dataset.check(progress=True)
    assert dataset.notes == ()
    assert capsys.readouterr().err.lstrip().startswith("checking kitti_raw")


def break_timestamps(drive):
    (drive / "velodyne_points" / "timestamps.txt").write_text("2011-09-26 13:02:25.1\nsoon\n")


def break_images(drive):
    for path in (drive / "image_02" / "data").iterdir():
        path.write_bytes(b"no picture")


def break_frames(drive):
    for path in drive.glob("*/data/*"):
        path.unlink()


def break_date(drive):
    drive.rename(drive.with_name("2011_13_26_drive_0002_sync"))


def break_synchronization(drive):
    drive.rename(drive.with_name("2011_09_26_drive_0002_extract"))


UNUSABLE = [
    (
        break_timestamps,
        r"line 2 of .*0002_sync/velodyne_points/timestamps\.txt is malformed: 'soon'",
    ),
    (break_images, r"0002_sync/image_02/data/0000000000\.png"),
    (break_frames, r"0002_sync is no KITTI drive"),
    (break_date, r"2011_13_26_drive_0002_sync has no date"),
    (break_synchronization, r"0002_extract is neither synchronized"),
]


@pytest.mark.parametrize(
    ("damage", "text"), UNUSABLE, ids=lambda value: getattr(value, "__name__", "")
)
def test_an_unusable_drive_does_not_affect_others(tmp_path, damage, text):
    damage(make_drive(tmp_path, 2))
    with pytest.raises(DatasetError, match=text):
        open_kitti_raw(tmp_path, split=None)
    make_drive(tmp_path, 1)
    make_drive(tmp_path, 3)
    dataset = open_kitti_raw(tmp_path, split=None)
    assert list(dataset.files) == [
        *(file_name(1, 0), file_name(1, 1), file_name(3, 0), file_name(3, 1)),
    ]
    (note,) = dataset.notes
    assert note.startswith("1 of 3 drives are skipped: ")
    assert re.search(text, note)
    dataset.check()


def test_a_drive_of_a_split_that_cannot_be_used(tmp_path):
    break_timestamps(make_drive(tmp_path, 2))
    make_drive(tmp_path, 1)
    split = tmp_path / "s.txt"
    split.write_text(f"{file_name(1, 0)}\n{file_name(2, 0)}\n")
    dataset = open_kitti_raw(tmp_path, split=split)
    assert list(dataset.files) == [file_name(1, 0)]
    assert dataset.notes[0].startswith("1 of 2 drives are skipped: ")
    split.write_text(file_name(2, 0))
    with pytest.raises(DatasetError, match="is malformed: 'soon'"):
        open_kitti_raw(tmp_path, split=split)
    split.write_text(file_name(1, 0))
    assert open_kitti_raw(tmp_path, split=split).notes == ()


def test_files_of_other_systems(tmp_path):
    drive = make_drive(tmp_path, 1, suffix=".PNG")
    for folder in (drive, drive.parent, drive / "image_02" / "data"):
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "._0000000000.png").write_bytes(b"\0")
    (drive.parent / ".ipynb_checkpoints_drive_").mkdir()
    (tmp_path / "._2011_09_26").write_bytes(b"\0")
    dataset = open_kitti_raw(tmp_path, split=None)
    dataset.check()
    assert list(dataset.files) == [file_name(1, 0, ".PNG"), file_name(1, 1, ".PNG")]
    (tmp_path / "s.txt").write_bytes(b"\xef\xbb\xbf" + file_name(1, 1).encode() + b"\r\n")
    assert len(open_kitti_raw(tmp_path, split=tmp_path / "s.txt")) == 1


@pytest.mark.parametrize("split", [False, True], ids=["all", "split"])
def test_links_to_drives_keep_their_names(tmp_path, split):
    """A dataset that is put together by links, as of git-annex, with targets of other names."""
    store = make_drive(tmp_path / "store", 7).rename(tmp_path / "store" / "a1b2")
    image = store / "image_02" / "data" / "0000000000.png"
    image.rename(tmp_path / "SHA256E-s1")
    image.symlink_to(tmp_path / "SHA256E-s1")
    day = tmp_path / "root" / DAY
    day.mkdir(parents=True)
    for path in (tmp_path / "store" / DAY).iterdir():
        (day / path.name).symlink_to(path)
    (day / drive_name(1)).symlink_to(store)
    (tmp_path / "s.txt").write_text(file_name(1, 0))
    for root in (tmp_path / "root", day / drive_name(1)):
        dataset = open_kitti_raw(root, split=tmp_path / "s.txt" if split else None)
        dataset.check()
        assert list(dataset.files) == [file_name(1, 0), file_name(1, 1)][: 1 if split else 2]
        assert dataset[0].depth.max() == 10


def test_drives_in_two_layouts_count_once(tmp_path):
    make_drive(tmp_path / "raw", 1)
    (tmp_path / "input").symlink_to(tmp_path / "raw")
    assert list(open_kitti_raw(tmp_path, split=None).files) == [file_name(1, 0), file_name(1, 1)]


def test_one_drive_without_scans(tmp_path):
    with pytest.raises(DatasetError, match="no frame with image and scan"):
        open_kitti_raw(make_drive(tmp_path, 1, scans=()), split=None)


def test_one_drive(tmp_path, monkeypatch):
    drive = make_drive(tmp_path, 1)
    assert list(open_kitti_raw(drive, split=None).files) == [file_name(1, 0), file_name(1, 1)]
    monkeypatch.chdir(drive)
    dataset = open_kitti_raw(type(drive)("."), split=None)
    assert dataset.files[0] == file_name(1, 0)
    assert dataset[1].depth.max() == 11


@pytest.mark.parametrize("root", ["days", "drive"])
def test_split(tmp_path, root):
    drive = make_drive(tmp_path, 1, images=(0, 1, 2), scans=(0, 1))
    make_drive(tmp_path, 2)
    split = tmp_path / "s.txt"
    lines = (file_name(1, 2), f"{file_name(1, 1, '.jpg')} None 721.5", f"/{file_name(1, 0)}")
    split.write_text("\n".join(lines))
    dataset = open_kitti_raw(drive if root == "drive" else tmp_path, split=split)
    assert list(dataset.files) == [file_name(1, 0), file_name(1, 1)], "frame 2 has no scan"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (file_name(1, 7), r"line 1 of .*: there is no image .*07\.png"),
        (f"{DAY}/calib_cam_to_cam.txt", "line 1 of .*: the image must be DAY/DRIVE/image_02"),
        (file_name(1, 2), "no frame with image and scan .* among the images of"),
    ],
    ids=["missing", "no-image", "no-scan"],
)
def test_bad_split(tmp_path, line, message):
    make_drive(tmp_path, 1, images=(0, 1, 2), scans=(0, 1))
    (tmp_path / "s.txt").write_text(line)
    with pytest.raises(DatasetError, match=message):
        open_kitti_raw(tmp_path, split=tmp_path / "s.txt")


def test_unknown_layout(tmp_path):
    with pytest.raises(DatasetError, match="no KITTI images under"):
        open_kitti_raw(tmp_path, split=None)


def test_no_scans(tmp_path):
    make_drive(tmp_path, 1, scans=())
    with pytest.raises(DatasetError, match="no frame with image and scan"):
        open_kitti_raw(tmp_path, split=None)


def test_missing_calibration(tmp_path):
    drive = make_drive(tmp_path, 1)
    (drive.parent / "calib_velo_to_cam.txt").unlink()
    with pytest.raises(DatasetError, match=r"calib_velo_to_cam\.txt"):
        open_kitti_raw(tmp_path, split=None)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_damaged_scan(tmp_path, damage):
    drive = make_drive(tmp_path, 1)
    dataset = open_kitti_raw(tmp_path, split=None)
    scan = drive / "velodyne_points" / "data" / "0000000001.bin"
    if damage == "missing":
        scan.unlink()
    else:
        scan.write_bytes(scan.read_bytes()[: 10 if damage == "cut" else 0])
    with pytest.raises(DatasetError, match=r"0000000001\.bin"):
        dataset.check()
    if damage != "empty":
        with pytest.raises(DatasetError, match=r"0000000001\.bin"):
            dataset[1]


def test_real_frames(samples):
    dataset = open_kitti_raw(samples, split=None)
    dataset.check()
    assert list(dataset.files) == [file_name(52, frame) for frame in range(12)]
    frame = dataset[3]
    drive = KittiDrive(samples / "kitti_raw" / DAY / drive_name(52))
    assert frame.camera == drive.camera
    np.testing.assert_array_equal(frame.depth, drive.scan_depth(3))
    np.testing.assert_array_equal(frame.rgb, drive.image(3))


def test_truth_is_another_with_another_calibration(tmp_path):
    drive = make_drive(tmp_path, 1)
    before = open_kitti_raw(tmp_path, split=None)
    assert before.fingerprint(0) not in (None, before.fingerprint(1))
    assert before.fingerprint(0) == open_kitti_raw(tmp_path, split=None).fingerprint(0)
    (drive.parent / "calib_velo_to_cam.txt").write_text(VELODYNE.replace("T: 0", "T: 1"))
    assert open_kitti_raw(tmp_path, split=None).fingerprint(0) != before.fingerprint(0)
