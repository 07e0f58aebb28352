"""`depthformer synthesize`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from depthformer_core.bags import Storage
from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic import (
    CAMERA_HEIGHT,
    STREET_CAMERA,
    Drive,
    Mount,
    Theme,
    street_camera,
    write_bag,
    write_kitti,
)


@dataclass(frozen=True)
class SynthesizeOptions:
    """Generate a drive with exact depth: images, laser scans, calibration."""

    output: tyro.conf.Positional[Path]
    """Output: a folder that does not exist yet."""
    form: Literal["bag", "kitti"] = "bag"
    """A ROS 2 bag, or a tree like KITTI's: raw drive, scans and annotated depth."""
    seed: int = 0
    """Seed of the world."""
    frames: int = 100
    """Number of frames."""
    theme: Theme | None = None
    """Kind of place; the seed decides without."""
    rate: float = 10.0
    """Frames a second."""
    speed: float | None = None
    """Metres a second; what one drives there without."""
    traffic: bool = True
    """Whether the other cars move."""
    width: int = STREET_CAMERA.width
    """Columns of the images."""
    height: int = STREET_CAMERA.height
    """Rows of the images."""
    focal: float = STREET_CAMERA.fx
    """Focal length, pixels."""
    center: tuple[float, float] | None = None
    """Column and row of the principal point; where KITTI has it, scaled to the size, without."""
    camera_height: float = CAMERA_HEIGHT
    """Height of the camera over the road, metres."""
    storage: Storage = "mcap"
    """Format of the bag."""


def synthesize(options: SynthesizeOptions) -> None:
    """Run `depthformer synthesize`."""
    if not 0.3 < options.camera_height < 10:
        raise DepthFormerError(f"camera-height must be 0.3 to 10 m, got {options.camera_height}")
    camera = street_camera(options.width, options.height, focal=options.focal)
    if options.center is not None:
        cx, cy = options.center
        camera = replace(camera, cx=cx, cy=cy)
    drive = Drive(
        options.seed,
        frames=options.frames,
        camera=camera,
        mount=Mount(height=options.camera_height),
        rate=options.rate,
        speed=options.speed,
        theme=options.theme,
        traffic=options.traffic,
    )
    if options.form == "bag":
        write_bag(drive, options.output, storage=options.storage, progress=True)
    else:
        write_kitti(drive, options.output, progress=True)
    print(f"Wrote {options.output}: {options.frames} frames, {drive.scene.theme}")
