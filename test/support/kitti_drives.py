"""Generated drives in KITTI's layout."""

import cv2
import numpy as np

MIDNIGHT = 1_316_995_200_000_000_000  # 2011-09-26 in UTC


CAMERAS = """calib_time: 09-Jan-2012 13:57:47
S_rect_02: 6.4e+01 2.4e+01
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 40 0 32 4 0 40 12 0 0 0 1 0
"""


VELODYNE = """calib_time: 15-Mar-2012 11:37:16
R: 0 -1 0 0 0 -1 1 0 0
T: 0 -0.1 -0.3
delta_f: 0.0 0.0
"""


def make_drive(root, *, images=(0, 1, 2), scans=(0, 2, 3)):
    """Drive of 64x24 pixels with one point straight ahead of the Velodyne in each scan."""
    drive = root / "2011_09_26" / "2011_09_26_drive_0099_sync"
    for folder in ("image_02", "velodyne_points"):
        (drive / folder / "data").mkdir(parents=True)
    (drive.parent / "calib_cam_to_cam.txt").write_text(CAMERAS)
    (drive.parent / "calib_velo_to_cam.txt").write_text(VELODYNE)
    for frame in images:
        pixels = np.full((24, 64, 3), (0, 0, 50 + frame), np.uint8)
        cv2.imwrite(str(drive / "image_02" / "data" / f"{frame:010d}.png"), pixels)
    for frame in scans:
        scan = np.array([[10.3 + frame, 0, 0, 0.5], [20.3, 0, 0, 0.1], [-5, 0, 0, 0.1]], "<f4")
        scan.tofile(drive / "velodyne_points" / "data" / f"{frame:010d}.bin")
    return drive


def write_timestamps(drive, sensor, lines):
    (drive / sensor / "timestamps.txt").write_text("".join(f"{line}\n" for line in lines))
