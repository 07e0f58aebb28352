"""Generated drives on disk: as a bag, and in the layout of KITTI."""

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from tqdm import tqdm

from depthformer_core.bags import BagWriter, Storage
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    image_message,
    scan_message,
    transforms_message,
)
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.data.kitti import (
    CAMERA_FRAME,
    CAMERA_INFO_TOPIC,
    CLOUD_TOPIC,
    IMAGE_TOPIC,
    VELODYNE_FRAME,
)
from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic.drive import Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

DEPTH_TRUTH_TOPIC = "/kitti/camera_color_left/depth_truth"
ODOM_FRAME = "odom"

_START = 1_700_000_000_000_000_000  # stamp of the first frame, nanoseconds since the epoch
_DAY = datetime(2000, 1, 1, 12)
_DRIVES = 10_000


def write_bag(
    drive: Drive, bag: Path, *, storage: Storage = "mcap", progress: bool = False
) -> None:
    """Write a drive's sensor data as a ROS 2 bag.

    The topics are KITTI's for the left colour camera and the Velodyne, and `depth_truth` beside
    them: 32FC1, metres, +Inf in the sky (REP 117). `/tf_static` holds the scanner's pose on
    the car, `/tf` its pose in `odom`, the frame of the scanner in the first frame.

    Args:
        drive: The drive.
        bag: Folder of the bag; must not exist yet.
        storage: Format of the bag's file.
        progress: Whether to show a bar on the terminal.

    Raises:
        BagError: The bag exists already.
    """
    transforms = [(VELODYNE_FRAME, CAMERA_FRAME, np.linalg.inv(VELO_TO_CAMERA))]
    to_odom = np.linalg.inv(drive.pose(0) @ VELO_TO_CAMERA)
    with BagWriter(bag, storage=storage) as writer:
        message = transforms_message(transforms, stamp=_START)
        writer.write("/tf_static", message, stamp=_START, latched=True)
        for frame in tqdm(range(drive.frames), unit="frame", disable=not progress):
            stamp = _START + round(frame / drive.rate * 1e9)
            moved = to_odom @ drive.pose(frame) @ VELO_TO_CAMERA
            pose = transforms_message([(ODOM_FRAME, VELODYNE_FRAME, moved)], stamp=stamp)
            writer.write("/tf", pose, stamp=stamp)
            rgb, depth = drive.picture(frame)
            info = camera_info_message(drive.camera, stamp=stamp, frame_id=CAMERA_FRAME)
            image = image_message(rgb, stamp=stamp, frame_id=CAMERA_FRAME)
            truth = depth_message(depth, stamp=stamp, frame_id=CAMERA_FRAME)
            cloud = scan_message(drive.scan(frame), stamp=stamp, frame_id=VELODYNE_FRAME)
            writer.write(CAMERA_INFO_TOPIC, info, stamp=stamp)
            writer.write(IMAGE_TOPIC, image, stamp=stamp)
            writer.write(DEPTH_TRUTH_TOPIC, truth, stamp=stamp)
            writer.write(CLOUD_TOPIC, cloud, stamp=stamp)


def write_kitti(drive: Drive, root: Path, *, progress: bool = False) -> None:
    """Write a drive's sensor data as KITTI's raw data, with annotated depth beside it.

    `root` gets `2000_01_01/2000_01_01_drive_NNNN_sync` with `image_02` and `velodyne_points`, the
    day's calibration, and `data_depth_annotated` with the exact depth of every pixel up to 255 m.
    NNNN is the drive's seed.

    Args:
        drive: The drive.
        root: Folder to write; must not exist yet.
        progress: Whether to show a bar on the terminal.

    Raises:
        DepthFormerError: The root exists already, or the seed has more than four digits.
    """
    if not 0 <= drive.seed < _DRIVES:
        raise DepthFormerError(f"KITTI numbers drives 0 to {_DRIVES - 1}, got seed {drive.seed}")
    if root.exists():
        raise DepthFormerError(f"{root} exists already")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as name:
        tree = Path(name) / root.name
        day = f"{_DAY:%Y_%m_%d}"
        label = f"{day}_drive_{drive.seed:04}_sync"
        sensors = tree / day / label
        images, scans = sensors / "image_02", sensors / "velodyne_points"
        truths = tree / "data_depth_annotated" / label / "proj_depth" / "groundtruth" / "image_02"
        for folder in (images / "data", scans / "data", truths):
            folder.mkdir(parents=True)
        _write_calibration(tree / day, drive)
        for sensor in (images, scans):
            times = (_DAY + timedelta(seconds=k / drive.rate) for k in range(drive.frames))
            lines = (f"{time:%Y-%m-%d %H:%M:%S.%f}000\n" for time in times)
            (sensor / "timestamps.txt").write_text("".join(lines), encoding="utf-8")
        for frame in tqdm(range(drive.frames), unit="frame", disable=not progress):
            rgb, depth = drive.picture(frame)
            write_png(images / "data" / f"{frame:010}.png", rgb)
            write_depth_png(truths / f"{frame:010}.png", depth, scale=256)
            drive.scan(frame).astype("<f4").tofile(scans / "data" / f"{frame:010}.bin")
        shutil.move(tree, root)


def _write_calibration(folder: Path, drive: Drive) -> None:
    camera = drive.camera
    identity = np.eye(3).ravel()
    projection = [camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0]
    _write_values(
        folder / "calib_cam_to_cam.txt",
        {
            "R_rect_00": identity,
            "S_rect_02": [camera.width, camera.height],
            "R_rect_02": identity,
            "P_rect_02": projection,
        },
    )
    _write_values(
        folder / "calib_velo_to_cam.txt",
        {"R": VELO_TO_CAMERA[:3, :3].ravel(), "T": VELO_TO_CAMERA[:3, 3]},
    )


def _write_values(path: Path, values: dict[str, object]) -> None:
    lines = (
        f"{name}: {' '.join(f'{value:.9e}' for value in np.asarray(row, np.float64))}\n"
        for name, row in values.items()
    )
    path.write_text("".join(lines), encoding="utf-8")
