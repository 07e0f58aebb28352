"""Speed and memory of the frames of a bag: `python -m depthformer_core.benchmark.bag_reading`."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from tqdm import tqdm

from depthformer_core.bags import TYPESTORE, BagWriter
from depthformer_core.bags.message_types import COMPRESSED_IMAGE
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    header,
    scan_message,
    transforms_message,
)
from depthformer_core.data.kitti import (
    CAMERA_FRAME,
    CAMERA_INFO_TOPIC,
    CLOUD_TOPIC,
    IMAGE_TOPIC,
    VELODYNE_FRAME,
)
from depthformer_core.device import peak_memory
from depthformer_core.errors import exit_on_error
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.replay.bag_frames import BagFrame, BagFrames
from depthformer_core.replay.evaluation import evaluate_frames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.job import KEPT
from depthformer_core.replay.prediction_topics import parse_prediction
from depthformer_core.synthetic import Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

_RENDERED = 4  # frames that are repeated
_PERIOD = 100_000_000  # nanoseconds
_START = 1_700_000_000_000_000_000
_FARTHEST = 200.0  # metres
_WARM = 50  # frames after which memory should not grow


@dataclass(frozen=True)
class SpeedOptions:
    """Read a generated bag of JPEG images and whole scans on one core, without a network.

    With sources, their recorded depth is judged as by `depthformer replay`.
    """

    frames: int = 2000
    """Frames of the bag."""
    thin: int = 1
    """Every so many points of each scan are kept; 3 makes a bag of 2,000 frames 1.6 GB."""
    sources: int = 0
    """Topics of depth of half the images' resolution, 0.5 GB each for 2,000 frames, to judge."""


@dataclass(frozen=True)
class Reading:
    """Measurement of one pass over a bag.

    Attributes:
        seconds: Time on the core that a frame took: its image decoded, its scan projected, and its
            recorded depth judged.
        early: Largest memory of the process after the first frames, bytes.
        late: The same at the end.
    """

    seconds: float
    early: int
    late: int


def write_long_bag(bag: Path, *, frames: int, thin: int, sources: int = 0) -> None:
    """Write a bag that repeats a few frames of a generated drive."""
    drive = Drive(13, frames=_RENDERED)
    half = drive.camera.resized(drive.camera.height // 2, drive.camera.width // 2)
    images, scans, depths = [], [], []
    for frame in range(_RENDERED):
        rgb, depth = drive.picture(frame)
        near = cv2.resize(depth, (half.width, half.height), interpolation=cv2.INTER_NEAREST)
        depths.append(np.where(near < _FARTHEST, 1.05 * near, np.inf).astype(np.float32))
        images.append(cv2.imencode(".jpg", rgb[..., ::-1])[1].ravel())
        scans.append(drive.scan(frame)[::thin])
    topic = f"{IMAGE_TOPIC}/compressed"
    transforms = [(VELODYNE_FRAME, CAMERA_FRAME, np.linalg.inv(VELO_TO_CAMERA))]
    with BagWriter(bag) as writer:
        message = transforms_message(transforms, stamp=_START)
        writer.write("/tf_static", message, stamp=_START, latched=True)
        for frame in range(frames):
            stamp = _START + frame * _PERIOD
            info = camera_info_message(drive.camera, stamp=stamp, frame_id=CAMERA_FRAME)
            image = TYPESTORE.types[COMPRESSED_IMAGE](
                header=header(stamp=stamp, frame_id=CAMERA_FRAME),
                format="jpeg",
                data=images[frame % _RENDERED],
            )
            scan = scan_message(scans[frame % _RENDERED], stamp=stamp, frame_id=VELODYNE_FRAME)
            pose = drive.pose(frame % _RENDERED) @ VELO_TO_CAMERA
            motion = transforms_message([("odom", VELODYNE_FRAME, pose)], stamp=stamp)
            writer.write("/tf", motion, stamp=stamp)
            writer.write(CAMERA_INFO_TOPIC, info, stamp=stamp)
            writer.write(topic, image, stamp=stamp)
            writer.write(CLOUD_TOPIC, scan, stamp=stamp)
            for source in range(sources):
                known = camera_info_message(half, stamp=stamp, frame_id=CAMERA_FRAME)
                depth = depths[frame % _RENDERED]
                made = depth_message(depth, stamp=stamp, frame_id=CAMERA_FRAME)
                writer.write(f"/source_{source}/camera_info", known, stamp=stamp)
                writer.write(f"/source_{source}/depth", made, stamp=stamp + _PERIOD // 2)


class _Watch:
    """All frames of a bag, and the time and memory that go by until the next is wanted."""

    def __init__(self, bag: BagFrames) -> None:
        self.frames_read = 0
        self.seconds = 0.0
        self.early = 0
        self._bag = bag

    def __len__(self) -> int:
        return len(self._bag)

    def __iter__(self) -> Iterator[BagFrame]:
        # Time on the core: others may use the machine.
        start = time.process_time()
        for item in self._bag:
            yield item
            self.frames_read += 1
            if self.frames_read == _WARM:
                self.early = _memory()
        self.seconds = time.process_time() - start


def _memory() -> int:
    return peak_memory(torch.device("cpu"))


def measure(options: SpeedOptions) -> Reading:
    """Write a bag and read it."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="depthformer-speed-") as folder:
        bag = Path(folder) / "bag"
        write_long_bag(bag, frames=options.frames, thin=options.thin, sources=options.sources)
        predictions = tuple(
            parse_prediction(f"/source_{source}/depth") for source in range(options.sources)
        )
        frames = BagFrames(bag, FrameOptions(predictions=predictions))
        watch = _Watch(frames)
        if options.sources:
            protocol = Protocol(max_depth=80.0)
            evaluate_frames([], watch, frames, protocol, keep=KEPT, progress=True)
        else:
            for _ in tqdm(watch, unit="frame"):
                pass
        late = _memory()
    return Reading(watch.seconds / watch.frames_read, watch.early or late, late)


@exit_on_error("bag_reading")
def main() -> None:
    """Run the measurement from the command line."""
    options = tyro.cli(SpeedOptions)
    reading = measure(options)
    print(
        f"{options.frames} frames: {1e3 * reading.seconds:.1f} ms of a core each; largest memory "
        f"{reading.early / 1e6:.0f} MB after {_WARM} frames, {reading.late / 1e6:.0f} MB at the end"
    )


if __name__ == "__main__":
    main()
