"""Drives of KITTI's raw data."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from kitti_drives import (
    CAMERAS,
    MIDNIGHT,
    VELODYNE,
    make_drive,
    write_timestamps,
)

from depthformer_core.bags import BagReader
from depthformer_core.data.images import read_depth_png, read_rgb
from depthformer_core.data.kitti import (
    CAMERA_INFO_TOPIC,
    CLOUD_TOPIC,
    IMAGE_TOPIC,
    KittiDrive,
    KittiError,
    drive_to_bag,
)
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_scan

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


DAY = SAMPLES / "kitti_raw" / "2011_09_26"


needs_samples = pytest.mark.skipif(not DAY.is_dir(), reason=f"no KITTI samples at {SAMPLES}")


def at(tenths):
    """A time on the drive's day, tenths of a second after its midnight."""
    return f"2011-09-26 00:00:{tenths // 10:02}.{tenths % 10}00000000"


def test_generated_drive(tmp_path):
    drive = KittiDrive(make_drive(tmp_path))
    assert (drive.images, drive.scans) == ([0, 1, 2], [0, 2, 3])
    assert (drive.camera.width, drive.camera.height) == (64, 24)
    assert (drive.camera.fx, drive.camera.cx, drive.camera.cy) == (40, 32, 12)
    np.testing.assert_array_equal(drive.image(1)[0, 0], [51, 0, 0])
    # Camera 2 sits 0.1 m left of camera 0 (column 4 of P over fx), so points move right.
    seen = drive.velo_to_camera @ (10.3, 0, 0, 1)
    np.testing.assert_allclose(seen, [0.1, -0.1, 10.0, 1], atol=1e-12)
    depth = drive.scan_depth(2)
    row, column = np.nonzero(depth)
    assert list(zip(row, column, strict=True)) == [(12, 32)], "two points fall on one pixel"
    assert depth[12, 32] == pytest.approx(12.0), "the nearest wins, what is behind is left out"
    assert drive.image_stamp(2) == MIDNIGHT + 200_000_000
    assert drive.scan_stamp(3) == MIDNIGHT + 300_000_000


def test_timestamps_have_nanoseconds(tmp_path):
    drive = make_drive(tmp_path)
    times = ("25.961661696", "26.5", "26.000000001")
    write_timestamps(drive, "image_02", [f"2011-09-26 13:02:{time}" for time in times])
    source = KittiDrive(drive)
    start = MIDNIGHT + (13 * 3600 + 2 * 60 + 25) * 10**9
    stamps = [source.image_stamp(frame) - start for frame in range(3)]
    assert stamps == [961_661_696, 1_500_000_000, 1_000_000_001]
    assert source.scan_stamp(0) - start == 961_661_696, "frames of one number belong together"
    assert source.scans == [0, 2]


@pytest.mark.parametrize("sensor", ["image_02", "velodyne_points"])
@pytest.mark.parametrize("content", ["", "\n", "\n \r\n\n"], ids=["empty", "a line", "lines"])
def test_timestamps_without_a_time_are_none(tmp_path, sensor, content):
    drive = make_drive(tmp_path)
    (drive / sensor / "timestamps.txt").write_bytes(content.encode())
    source = KittiDrive(drive)
    assert (source.images, source.scans) == ([0, 1, 2], [0, 2, 3])
    assert source.image_stamp(2) == source.scan_stamp(2) == MIDNIGHT + 200_000_000
    other = {"image_02": "velodyne_points", "velodyne_points": "image_02"}[sensor]
    write_timestamps(drive, other, [at(5 * frame) for frame in range(4)])
    source = KittiDrive(drive)
    assert source.image_stamp(2) == source.scan_stamp(2) == MIDNIGHT + 1_000_000_000


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["Unix", "Windows"])
def test_timestamps_as_editors_leave_them(tmp_path, mark, end):
    drive = make_drive(tmp_path)
    times = ["2011-09-26 00:00:01", " 2011-09-26 00:00:02.5 ", "", "2011-09-26 00:00:04.25", ""]
    for sensor in ("image_02", "velodyne_points"):
        (drive / sensor / "timestamps.txt").write_bytes((mark + end.join(times)).encode())
    for name in ("timestamps_start.txt", "timestamps_end.txt"):
        (drive / "velodyne_points" / name).write_text("soon\n")
    source = KittiDrive(drive)
    assert (source.images, source.scans) == ([0, 1], [0, 3])
    stamps = [source.image_stamp(0), source.image_stamp(1), source.scan_stamp(3)]
    assert [stamp - MIDNIGHT for stamp in stamps] == [10**9, 2_500_000_000, 4_250_000_000]
    with pytest.raises(KittiError, match=r"image_02/timestamps\.txt has no time of frame 2"):
        source.image_stamp(2)


def test_scans_that_the_drive_lacks_are_left_out(tmp_path):
    """Drive 0009 of the first day has blank lines where scans are missing."""
    drive = make_drive(tmp_path, images=range(5), scans=(0, 1, 4))
    write_timestamps(drive, "image_02", [at(frame) for frame in range(5)])
    write_timestamps(drive, "velodyne_points", [at(0), at(1), "", "", at(4)])
    source = KittiDrive(drive)
    assert (source.images, source.scans) == ([0, 1, 2, 3, 4], [0, 1, 4])
    assert source.scan_stamp(4) == MIDNIGHT + 400_000_000
    notes = drive_to_bag(drive, tmp_path / "bag")
    assert notes == [f"2 of 5 frames of {drive} have no scan: the first is 0000000002."]
    with BagReader(tmp_path / "bag") as reader:
        stamps = [item.stamp for item in reader.messages([CLOUD_TOPIC])]
    assert stamps == [MIDNIGHT, MIDNIGHT + 100_000_000, MIDNIGHT + 400_000_000]


@pytest.mark.parametrize(
    ("images", "scans", "image_lines", "scan_lines", "left", "notes"),
    [
        pytest.param(3, 3, "000", "0-0", ([0, 1, 2], [0, 2]),
                     ["1 of 3 scans of {} have no time, skipped: the first is 0000000001."],
                     id="blank"),
        pytest.param(3, 3, "0", "000", ([0], [0, 1, 2]),
                     ["2 of 3 images of {} have no time, skipped: the first is 0000000001."],
                     id="fewer lines than files"),
        pytest.param(2, 2, "00000", "00000", ([0, 1], [0, 1]), [], id="more lines than files"),
        pytest.param(2, 3, "000", "000", ([0, 1], [0, 1, 2]),
                     ["1 of 3 frames of {} have no image: the first is 0000000002."],
                     id="no image"),
        pytest.param(3, 0, "00000", "-----", ([0, 1, 2], []), [], id="no scans at all"),
    ],
)  # fmt: skip
def test_what_a_drive_lacks_is_said(tmp_path, images, scans, image_lines, scan_lines, left, notes):
    drive = make_drive(tmp_path, images=range(images), scans=range(scans))
    for sensor, lines in (("image_02", image_lines), ("velodyne_points", scan_lines)):
        times = [at(i) if mark == "0" else "" for i, mark in enumerate(lines)]
        write_timestamps(drive, sensor, times)
    source = KittiDrive(drive)
    assert (source.images, source.scans) == left
    assert source.notes == [note.format(drive) for note in notes]
    assert drive_to_bag(drive, tmp_path / "bag") == source.notes


def test_files_of_other_systems(tmp_path):
    """Suffixes in capitals, and files of file managers in folders."""
    drive = make_drive(tmp_path)
    images, scans = drive / "image_02" / "data", drive / "velodyne_points" / "data"
    for path in (*images.iterdir(), *scans.iterdir()):
        path.rename(path.with_suffix(path.suffix.upper()))
    for folder, name in ((images, "._0000000001.png"), (images, "Thumbs.db"),
                         (scans, "._0000000001.bin"), (scans, ".DS_Store")):  # fmt: skip
        (folder / name).write_bytes(b"\0\5\x16\7")
    for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
        path = drive.parent / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    source = KittiDrive(drive)
    assert (source.images, source.scans) == ([0, 1, 2], [0, 2, 3])
    assert source.scan_depth(2)[12, 32] == pytest.approx(12)
    assert source.image(1).shape == (24, 64, 3)


@pytest.mark.parametrize("beside", [True, False], ids=["beside calibrations", "elsewhere"])
@pytest.mark.parametrize("name", ["2011_09_26_drive_0098_sync", "holiday"])
def test_a_link_to_a_drive(tmp_path, beside, name):
    """Of the day it lies in where that has calibrations, else of its target's."""
    drive = make_drive(tmp_path / "store")
    day = tmp_path / "day" / "2011_09_26"
    day.mkdir(parents=True)
    if beside:
        (day / "calib_cam_to_cam.txt").write_text(CAMERAS.replace("40 0 32", "50 0 32"))
        (day / "calib_velo_to_cam.txt").write_text(VELODYNE)
    (day / name).symlink_to(drive)
    source = KittiDrive(day / name)
    assert source.camera.fx == (50 if beside and name != "holiday" else 40)
    assert source.scan_stamp(0) == MIDNIGHT


def test_size_without_images_is_calibrated(tmp_path):
    drive = KittiDrive(make_drive(tmp_path, images=()))
    assert (drive.camera.width, drive.camera.height) == (64, 24)
    assert drive.scan_depth(0).shape == (24, 64)


def break_nothing_there(drive):
    shutil.rmtree(drive)


def break_no_frames(drive):
    for folder in ("image_02", "velodyne_points"):
        shutil.rmtree(drive / folder)


def break_lost_calibration(drive):
    (drive.parent / "calib_velo_to_cam.txt").unlink()


def break_lost_line(drive):
    (drive.parent / "calib_cam_to_cam.txt").write_text(CAMERAS.replace("P_rect_02", "P_rect_03"))


def break_short_line(drive):
    (drive.parent / "calib_cam_to_cam.txt").write_text(CAMERAS.replace("0 0 1 0\n", "0 0 1\n"))


def break_words_in_line(drive):
    (drive.parent / "calib_velo_to_cam.txt").write_text(VELODYNE.replace("-0.3", "far"))


def break_nan_in_line(drive):
    (drive.parent / "calib_velo_to_cam.txt").write_text(VELODYNE.replace("-0.3", "nan"))


def break_binary_calibration(drive):
    (drive.parent / "calib_cam_to_cam.txt").write_bytes(b"\xff\xfe\x00")


def break_damaged_image(drive):
    (drive / "image_02" / "data" / "0000000001.png").write_bytes(b"no picture")


def break_small_image(drive):
    path = drive / "image_02" / "data" / "0000000001.png"
    cv2.imwrite(str(path), np.zeros((10, 20, 3), np.uint8))


def break_short_scan(drive):
    path = drive / "velodyne_points" / "data" / "0000000002.bin"
    path.write_bytes(path.read_bytes()[:-3])


def break_other_timestamps(drive):
    write_timestamps(drive, "image_02", [*[""] * 9, "2011-09-26 13:02:25.9"])


def break_timestamps_in_utf_16(drive):
    (drive / "image_02" / "timestamps.txt").write_text("2011-09-26 13:02:25.9", "utf-16")


def break_singular_calibration(drive):
    path = drive.parent / "calib_cam_to_cam.txt"
    path.write_text(CAMERAS.replace("0 0 1 0\n", "0 0 0 0\n"))


def break_rotation(drive):
    path = drive.parent / "calib_velo_to_cam.txt"
    path.write_text(re.sub(r"(?m)^R: .*$", "R: 0 0 0 0 0 0 0 0 0", VELODYNE))


def break_camera_without_focal_length(drive):
    (drive.parent / "calib_cam_to_cam.txt").write_text(CAMERAS.replace("40 0 32", "0 0 32"))


def break_malformed_timestamp(drive):
    write_timestamps(drive, "image_02", ["2011-09-26 13:02:25.9", "soon", "later"])


def break_impossible_timestamp(drive):
    write_timestamps(drive, "image_02", ["2011-09-26 13:72:25.9"])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (break_nothing_there, "drive_0099_sync does not exist"),
        (break_no_frames, "drive_0099_sync is no KITTI drive"),
        (break_lost_calibration, "calib_velo_to_cam.txt"),
        (break_lost_line, r"calib_cam_to_cam.txt has no P_rect_02"),
        (break_short_line, r"P_rect_02 of .*calib_cam_to_cam.txt must be 12"),
        (break_words_in_line, r"T of .*calib_velo_to_cam.txt is malformed.*'far'"),
        (break_nan_in_line, r"T of .*calib_velo_to_cam.txt must be 3 finite"),
        (break_binary_calibration, r"calib_cam_to_cam.txt"),
        (break_damaged_image, r"0000000001.png"),
        (break_small_image, r"0000000001.png has size 20x10, the drive 64x24"),
        (break_short_scan, r"0000000002.bin is truncated: 45 bytes"),
        (break_other_timestamps, r"drive_0099_sync has a time: .*3 of 3 images .*no time.*3 scans"),
        (break_timestamps_in_utf_16, r"image_02/timestamps\.txt: it is UTF-16"),
        (break_singular_calibration, r"P_rect_02 of .*calib_cam_to_cam.txt is no camera"),
        (break_rotation, r"R of .*calib_velo_to_cam.txt or R_rect_00 of .* is no rotation"),
        (break_camera_without_focal_length, r"P_rect_02 of .*calib_cam_to_cam.txt is no camera"),
        (break_malformed_timestamp, r"line 2 of .*timestamps.txt is malformed: 'soon'"),
        (break_impossible_timestamp, r"line 1 of .*timestamps.txt is malformed: '2011"),
    ],
    ids=lambda value: value.__name__.removeprefix("break_") if callable(value) else "",
)
def test_fault_is_named(tmp_path, damage, text):
    drive = make_drive(tmp_path)
    damage(drive)
    with pytest.raises(KittiError, match=text):
        drive_to_bag(drive, tmp_path / "bag")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2011_09_26"]


@pytest.mark.parametrize("name", ["holiday", "2011_13_26_drive_0001_sync"])
def test_folder_that_is_no_drive(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(KittiError, match=name):
        KittiDrive(tmp_path / name)


def test_unsynchronized_drives_are_refused(tmp_path):
    drive = make_drive(tmp_path)
    drive = drive.rename(drive.with_name("2011_09_26_drive_0099_extract"))
    with pytest.raises(KittiError, match=r"0099_extract is neither synchronized nor rectified"):
        KittiDrive(drive)


def test_missing_frames_are_named(tmp_path):
    drive = KittiDrive(make_drive(tmp_path))
    with pytest.raises(KittiError, match="no image of frame 3"):
        drive.image(3)
    with pytest.raises(KittiError, match="no scan of frame 1"):
        drive.scan(1)


@needs_samples
def test_real_drive_without_timestamps(tmp_path):
    drive = KittiDrive(DAY / "2011_09_26_drive_0052_sync")
    assert drive.images == drive.scans == list(range(12))
    assert (drive.camera.width, drive.camera.height) == (1242, 375)
    assert (drive.camera.fx, drive.camera.cx) == (721.5377, 609.5593)
    assert drive.image_stamp(7) == MIDNIGHT + 700_000_000
    depth = drive.scan_depth(0)
    assert 0.03 < (depth > 0).mean() < 0.05  # one projected scan covers about 4 %
    # The road lies 1.65 m below the camera: most points of the lane ahead agree.
    row, column = np.nonzero(depth[300:, 560:660])
    metres = depth[300:, 560:660][row, column]
    height = metres * (row + 300 - drive.camera.cy) / drive.camera.fy
    assert np.median(height) == pytest.approx(1.65, abs=0.1)
    drive_to_bag(drive.root, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert {topic.name: topic.count for topic in reader.topics.values()} == {
            IMAGE_TOPIC: 12,
            CAMERA_INFO_TOPIC: 12,
            CLOUD_TOPIC: 12,
            "/tf_static": 1,
        }


@needs_samples
def test_real_drive_of_some_frames():
    """JPEG images of frames 5-16, timestamps of all 108 frames, no scans."""
    drive = KittiDrive(DAY / "2011_09_26_drive_0001_sync")
    assert drive.images == list(range(5, 17))
    assert drive.scans == []
    assert drive.image(5).shape == (375, 1242, 3)
    line = (drive.root / "image_02" / "timestamps.txt").read_text().splitlines()[5]
    seconds = MIDNIGHT // 10**9 + 13 * 3600 + 2 * 60 + int(line[17:19])
    assert drive.image_stamp(5) == seconds * 10**9 + int(line[20:])


@needs_samples
@pytest.mark.parametrize("frame", ["000000", "000001"])
def test_projection_with_another_camera(frame):
    """A scan of the object set lands where its calibration's own product of matrices puts it."""
    folder = SAMPLES / "kitti_object" / "training"
    lines = (folder / "calib" / f"{frame}.txt").read_text().splitlines()
    values = {name: np.array(text.split(), float) for name, text in (
        line.split(":") for line in lines if line
    )}  # fmt: skip
    rectify, raw = np.eye(4), np.eye(4)
    rectify[:3, :3] = values["R0_rect"].reshape(3, 3)
    raw[:3] = values["Tr_velo_to_cam"].reshape(3, 4)
    projection = values["P2"].reshape(3, 4)
    height, width = read_rgb(folder / "image_2" / f"{frame}.png").shape[:2]
    scan = np.fromfile(folder / "velodyne" / f"{frame}.bin", np.float32).reshape(-1, 4)
    homogeneous = np.concatenate((scan[:, :3], np.ones((len(scan), 1))), axis=1)
    u, v, z = projection @ rectify @ raw @ homogeneous.T
    column, row = np.rint(u / z), np.rint(v / z)
    seen = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    wanted = np.full((height, width), np.inf)
    np.minimum.at(wanted, (row[seen].astype(int), column[seen].astype(int)), z[seen])
    wanted[np.isinf(wanted)] = 0

    baseline = np.eye(4)
    baseline[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    camera = Camera(width, height, projection[0, 0], projection[1, 1], *projection[:2, 2])
    depth = project_scan(scan, baseline @ rectify @ raw, camera)
    assert (depth > 0).sum() > 10_000
    differing = np.abs(depth - wanted) > 1e-3
    assert differing.mean() < 1e-4  # rounding may move a point on a pixel's edge


@needs_samples
def test_truth_of_the_depth_set_reads():
    truth = SAMPLES / "kitti_depth/train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02"
    depth = read_depth_png(truth / "0000000005.png", scale=256)
    assert depth.shape == (375, 1242)
    assert 0.15 < (depth > 0).mean() < 0.25
    assert 1 < depth[depth > 0].min() < depth.max() < 90
