"""Drives of KITTI's raw data (Geiger et al., "Vision meets Robotics", IJRR 2013)."""

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from depthformer_core.bags import BagWriter, Storage
from depthformer_core.bags.messages import (
    camera_info_message,
    image_message,
    scan_message,
    transforms_message,
)
from depthformer_core.data.images import ImageError, read_rgb
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import TextFileError, read_text
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.sparse_depth import project_scan
from depthformer_core.paths import absolute, listed
from depthformer_core.types import FloatArray, FloatingArray

IMAGE_TOPIC = "/kitti/camera_color_left/image_raw"
CAMERA_INFO_TOPIC = "/kitti/camera_color_left/camera_info"
CLOUD_TOPIC = "/kitti/velo/pointcloud"
CAMERA_FRAME = "camera_color_left"
VELODYNE_FRAME = "velo_link"


_PERIOD = 100_000_000  # synchronized drives run at 10 Hz
_NAME = re.compile(r"(\d{4})_(\d\d)_(\d\d)_drive_\d{4}_\w+")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")
_CAMERAS = "calib_cam_to_cam.txt"
_VELODYNE = "calib_velo_to_cam.txt"
_TIMES = "timestamps.txt"


class KittiError(DepthFormerError):
    """A drive with a missing or malformed part; the message names the file."""


class KittiDrive:
    """One synchronized and rectified drive: left colour camera and Velodyne.

    A frame may have an image, a scan or both; an image or a scan with a blank or missing line in
    the timestamps is skipped, as are those that KITTI itself lacks. KITTI's clock is taken for
    UTC. Where one sensor has no timestamps, the other's count, as frames of one number were taken
    together; where neither has, the frames are 0.1 s apart from the midnight their day began with.

    Args:
        root: Folder `.../2011_09_26/2011_09_26_drive_0001_sync` with `image_02/data`,
            `velodyne_points/data` or both; the folder above holds the `calib_*.txt` of the day.

    Attributes:
        images: Frame numbers that have an image and its time, ascending.
        scans: Frame numbers that have a scan and its time, ascending.
        frames: Frame numbers that have an image or a scan, with or without a time, ascending.
        camera: Rectified left colour camera.
        velo_to_camera: 4x4 matrix that takes Velodyne points (x forward, y left, z up) to the
            optical frame of `camera`, metres.

    Raises:
        KittiError: The folder is no synchronized drive, or a calibration or a timestamp is
            malformed, or a calibration missing.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise KittiError(f"drive {self.root} does not exist")
        home = drive_folder(self.root)
        self._day = _day(home)
        self._images = _frames(self.root / "image_02" / "data", {".png", ".jpg", ".jpeg"})
        self._scans = _frames(self.root / "velodyne_points" / "data", {".bin"})
        if not self._images and not self._scans:
            raise KittiError(
                f"{self.root} is no KITTI drive: neither image_02/data nor velodyne_points/data "
                "holds a frame"
            )
        self.frames = sorted({*self._images, *self._scans})
        stamps = [
            _timestamps(self.root / name / _TIMES) for name in ("image_02", "velodyne_points")
        ]
        self._image_stamps = stamps[0] or stamps[1]
        self._scan_stamps = stamps[1] or stamps[0]
        self.images = _timed(self._images, self._image_stamps)
        self.scans = _timed(self._scans, self._scan_stamps)
        self._calibrate(home.parent)

    @property
    def notes(self) -> list[str]:
        """Sentences on missing parts of the drive."""
        sentences = []
        for kind, files, timed in (
            ("image", self._images, self.images),
            ("scan", self._scans, self.scans),
        ):
            # A drive may have no such sensor at all.
            lacking = [frame for frame in self.frames if frame not in files] if files else []
            sentences += _lack(lacking, f"{len(self.frames)} frames", self.root, kind)
            lost = sorted(files.keys() - timed)
            sentences += _lack(lost, f"{len(files)} {kind}s", self.root, "time", ", skipped")
        return sentences

    def image_path(self, frame: int) -> Path:
        """Return the file of a frame's image.

        Raises:
            KittiError: The frame has no image.
        """
        return self._path(self._images, frame, "image")

    def image(self, frame: int) -> npt.NDArray[np.uint8]:
        """Read the image of a frame, (H, W, 3) RGB.

        Raises:
            KittiError: The frame has no image, or one that is damaged or of another size.
        """
        path = self.image_path(frame)
        rgb = _read_image(path)
        if rgb.shape[:2] != (self.camera.height, self.camera.width):
            raise KittiError(
                f"{path} has size {rgb.shape[1]}x{rgb.shape[0]}, "
                f"the drive {self.camera.width}x{self.camera.height}"
            )
        return rgb

    def image_stamp(self, frame: int) -> int:
        """Return the time of a frame's image, nanoseconds since the epoch.

        Raises:
            KittiError: The drive's timestamps have none for the frame.
        """
        return self._stamp(self._image_stamps, frame, "image_02")

    def scan_path(self, frame: int) -> Path:
        """Return the file of a frame's scan.

        Raises:
            KittiError: The frame has no scan.
        """
        return self._path(self._scans, frame, "scan")

    def scan(self, frame: int) -> FloatArray:
        """Read the scan of a frame, (N, 4): x, y, z (Velodyne's frame, metres), reflectance.

        Raises:
            KittiError: The frame has no scan or a truncated one.
        """
        path = self.scan_path(frame)
        data = path.read_bytes()
        if len(data) % 16:
            raise KittiError(f"scan {path} is truncated: {len(data)} bytes are no whole points")
        return np.frombuffer(data, "<f4").reshape(-1, 4)

    def scan_stamp(self, frame: int) -> int:
        """Return the time at which a frame's scan faced forward, nanoseconds since the epoch.

        Raises:
            KittiError: The drive's timestamps have none for the frame.
        """
        return self._stamp(self._scan_stamps, frame, "velodyne_points")

    def scan_depth(self, frame: int) -> FloatArray:
        """Project the scan of a frame to a sparse depth image.

        Returns:
            (H, W), metres along the optical axis; the nearest point of a pixel, 0 where none is.

        Raises:
            KittiError: As for `scan`.
        """
        return project_scan(self.scan(frame), self.velo_to_camera, self.camera)

    def _path(self, paths: dict[int, Path], frame: int, what: str) -> Path:
        if frame not in paths:
            raise KittiError(f"drive {self.root} has no {what} of frame {frame}")
        return paths[frame]

    def _stamp(self, stamps: dict[int, int], frame: int, sensor: str) -> int:
        if not stamps:
            return self._day + frame * _PERIOD
        if frame not in stamps:
            raise KittiError(f"{self.root / sensor / _TIMES} has no time of frame {frame}")
        return stamps[frame]

    def _calibrate(self, folder: Path) -> None:
        cameras = CalibrationFile(folder / _CAMERAS)
        velodyne = CalibrationFile(folder / _VELODYNE)
        projection = cameras.matrix("P_rect_02", 3, 4)
        if self.images:
            height, width = _read_image(self._images[self.images[0]]).shape[:2]
        else:
            width, height = (int(value) for value in cameras.matrix("S_rect_02", 1, 2)[0])
        intrinsics = projection[:, :3]
        fx, fy, cx, cy = (float(intrinsics[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        try:
            self.camera = Camera(width, height, fx, fy, cx, cy)
            offset = np.linalg.solve(intrinsics, projection[:, 3:])
        except ValueError as error:  # NumPy's of a singular matrix too
            raise KittiError(f"P_rect_02 of {folder / _CAMERAS} is no camera: {error}") from error
        raw = _rigid(velodyne.matrix("R", 3, 3), velodyne.matrix("T", 3, 1))
        rectify = _rigid(cameras.matrix("R_rect_00", 3, 3), np.zeros((3, 1)))
        # The projection matrix starts from camera 0; its last column is where camera 2 sits.
        baseline = _rigid(np.eye(3), offset)
        self.velo_to_camera = baseline @ rectify @ raw
        if not np.isclose(np.linalg.det(self.velo_to_camera[:3, :3]), 1, atol=0.01):
            raise KittiError(
                f"R of {folder / _VELODYNE} or R_rect_00 of {folder / _CAMERAS} is no rotation"
            )


def drive_to_bag(
    drive: Path,
    bag: Path,
    *,
    storage: Storage = "mcap",
    frames: int | None = None,
    progress: bool = False,
) -> list[str]:
    """Write a drive as a ROS 2 bag on KITTI's usual topics.

    The images come with their `camera_info` (rectified: no distortion, K and P of the left colour
    camera alone), the scans as clouds of x, y, z, intensity. `/tf_static` holds the transform
    from `velo_link` to `camera_color_left`, which is the camera's optical frame.

    Args:
        drive: Folder as for `KittiDrive`.
        bag: Folder of the bag; must not exist yet.
        storage: Format of the bag's file.
        frames: Only this many of the first frame numbers, or none for all.
        progress: Whether to show a bar on the terminal.

    Returns:
        Sentences on missing parts of the drive.

    Raises:
        KittiError: The drive is missing something or damaged, or none of its frames has a time.
        BagError: The bag exists already.
        DepthFormerError: `frames` is not positive.
    """
    source = KittiDrive(drive)
    if frames is not None and frames < 1:
        raise DepthFormerError(f"frames must be positive, got {frames}")
    wanted = set(sorted({*source.images, *source.scans})[:frames])
    events = [(source.image_stamp(i), "image", i) for i in source.images if i in wanted]
    events += [(source.scan_stamp(i), "scan", i) for i in source.scans if i in wanted]
    if not events:
        raise KittiError(f"no frame of drive {drive} has a time: {' '.join(source.notes)}")
    events.sort()
    velodyne_from_camera = np.linalg.inv(source.velo_to_camera)
    transforms = [(VELODYNE_FRAME, CAMERA_FRAME, velodyne_from_camera)]
    with BagWriter(bag, storage=storage) as writer:
        start = events[0][0]
        message = transforms_message(transforms, stamp=start)
        writer.write("/tf_static", message, stamp=start, latched=True)
        for stamp, kind, frame in tqdm(events, unit="message", disable=not progress):
            if kind == "scan":
                message = scan_message(source.scan(frame), stamp=stamp, frame_id=VELODYNE_FRAME)
                writer.write(CLOUD_TOPIC, message, stamp=stamp)
                continue
            message = camera_info_message(source.camera, stamp=stamp, frame_id=CAMERA_FRAME)
            writer.write(CAMERA_INFO_TOPIC, message, stamp=stamp)
            message = image_message(source.image(frame), stamp=stamp, frame_id=CAMERA_FRAME)
            writer.write(IMAGE_TOPIC, message, stamp=stamp)
    return source.notes


def drive_folder(root: Path) -> Path:
    """Return the absolute path of a drive; of a link only if it lies beside a day's calibrations.

    Any other link to a drive is as good as the drive itself.
    """
    path = absolute(root)
    named = _NAME.fullmatch(path.name) is not None
    return path if named and (path.parent / _CAMERAS).is_file() else root.resolve()


class CalibrationFile:
    """A calibration file of KITTI: lines of `name: numbers`.

    Args:
        path: The file.

    Raises:
        KittiError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            lines = read_text(path, kind="calibration").split("\n")
        except TextFileError as error:
            raise KittiError(str(error)) from error
        self._values = dict(line.split(":", 1) for line in lines if ":" in line)

    def matrix(self, name: str, rows: int, columns: int) -> FloatingArray:
        """Return the numbers of a name as a matrix.

        Raises:
            KittiError: The name is missing, or its numbers are malformed or of another count.
        """
        if name not in self._values:
            raise KittiError(f"calibration {self._path} has no {name}")
        text = self._values[name]
        try:
            values = np.array([float(number) for number in text.split()])
        except ValueError as error:
            raise KittiError(f"{name} of {self._path} is malformed: {error}") from error
        if values.size != rows * columns or not np.isfinite(values).all():
            raise KittiError(
                f"{name} of {self._path} must be {rows * columns} finite numbers, "
                f"got {text.strip()!r}"
            )
        return values.reshape(rows, columns)


def _rigid(rotation: FloatingArray, translation: FloatingArray) -> FloatingArray:
    return np.block([[rotation, translation], [np.zeros((1, 3)), np.ones((1, 1))]])


def _day(root: Path) -> int:
    """Return the midnight of the drive's day, nanoseconds since the epoch."""
    match = _NAME.fullmatch(root.name)
    if root.name.endswith("_extract"):
        raise KittiError(
            f"drive {root} is neither synchronized nor rectified: take its _sync drive"
        )
    if match is None:
        raise KittiError(
            f"{root} is no KITTI drive: the folder must be named like 2011_09_26_drive_0001_sync"
        )
    year, month, day = (int(part) for part in match.groups())
    try:
        midnight = datetime(year, month, day, tzinfo=timezone.utc)
    except ValueError as error:
        raise KittiError(f"drive {root} has no date: {error}") from error
    return int(midnight.timestamp()) * 1_000_000_000


def _frames(folder: Path, suffixes: set[str]) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    files = (item for item in listed(folder) if item.suffix.lower() in suffixes)
    return {int(item.stem): item for item in files if item.stem.isdecimal()}


def _read_image(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return read_rgb(path)
    except ImageError as error:
        raise KittiError(str(error)) from error


def _timestamps(path: Path) -> dict[int, int]:
    """Read the times by frame, nanoseconds since the epoch; none without the file.

    The first line is frame 0. Blank lines are those of frames that the sensor lacks.
    """
    if not path.exists():
        return {}
    try:
        lines = read_text(path, kind="timestamps").split("\n")
    except TextFileError as error:
        raise KittiError(str(error)) from error
    stamps = {}
    for frame, line in enumerate(lines):
        if not line.strip():
            continue
        match = _TIME.fullmatch(line.strip())
        try:
            # An empty text is no time either.
            whole = datetime.strptime(match[1] if match else "", "%Y-%m-%d %H:%M:%S")
        except ValueError as error:
            raise KittiError(f"line {frame + 1} of {path} is malformed: {line!r}") from error
        assert match is not None
        seconds = int(whole.replace(tzinfo=timezone.utc).timestamp())
        stamps[frame] = seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))
    return stamps


def _timed(files: dict[int, Path], stamps: dict[int, int]) -> list[int]:
    """Return the frames with a time, ascending; all where there are no times."""
    return sorted(frame for frame in files if not stamps or frame in stamps)


def _lack(frames: list[int], total: str, root: Path, kind: str, end: str = "") -> list[str]:
    """Return a sentence on incomplete frames, in a list; an empty list if all are complete."""
    if not frames:
        return []
    return [
        f"{len(frames)} of {total} of {root} have no {kind}{end}: the first is {frames[0]:010d}."
    ]
