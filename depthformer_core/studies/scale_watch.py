"""What the watch on the scale finds: `python -m depthformer_core.studies.scale_watch`.

Drives through generated streets at 10 Hz, with their exact depth and with that of a network: on
flat streets, behind a wrong focal length, and on streets with slopes and traffic.
"""

import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Vector3
from depthformer_core.geometry.scale_watch import ScaleWatch, is_off
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.synthetic import Mount, Scene, render, street_camera
from depthformer_core.synthetic.drive import STREET_CAMERA
from depthformer_core.synthetic.rendering.render import trace
from depthformer_core.types import FloatingArray

RATE = 10.0
"""Frames a second."""

MOUNTS = (Mount(0.5), Mount(1.65, math.radians(-2)), Mount(2.4, math.radians(-6)))
"""Of a small robot, a car and a lorry: height and pitch."""

FOCAL_ERRORS = (0.75, 1.25)
"""Focal lengths of camera_info over the true one."""

_CAR = MOUNTS[1]
_SPEED = 8.0  # metres a second
_FIRST = 5_000_000  # seed; no part of the generated dataset has it
# In camera heights: how much flat ground may leave its tangent, and up to where.
_FLAT, _AHEAD = 0.02, 12.0
_LIMIT = 80.0  # metres
_SIZES = (STREET_CAMERA, Camera(1920, 1080, 1100.0, 1100.0, 959.5, 500.0))
_LOOKS = 200


@dataclass(frozen=True)
class ScaleWatchOptions:
    """Measure what the watch on the scale finds on generated streets."""

    streets: int = 200
    """Streets with slopes and traffic, with exact depth."""
    predicted: int = 10
    """Streets of each kind whose depth a network predicts; 0 for none."""
    frames: int = 12
    """Frames of each street, at 10 Hz."""
    checkpoint: str = "small"
    """A safetensors file, or a preset's name."""
    width: int = 312
    """Columns of the images."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        """Reject values nothing can be measured with."""
        if self.streets < 1 or self.predicted < 0:
            raise DepthFormerError(
                f"streets must be positive, got {self.streets} and {self.predicted}"
            )
        if not 10 <= self.frames <= 100:
            raise DepthFormerError(f"frames must be 10 to 100, got {self.frames}")
        if not 96 <= self.width <= 1920:
            raise DepthFormerError(f"width must be 96 to 1920, got {self.width}")


@dataclass(frozen=True)
class Drive:
    """What the watch said on one street.

    Attributes:
        scales: Of each frame; NaN where it was not sure.
        said: The reading's scale after each frame; NaN while unknown.
        true: Typical predicted over true depth of the ground's half of the images.
    """

    scales: list[float]
    said: list[float]
    true: float

    @property
    def seconds(self) -> float:
        """Time until the first warning; NaN without one."""
        warnings = (i / RATE for i, scale in enumerate(self.said) if is_off(scale))
        return next(warnings, math.nan)


def flat_streets(mount: Mount) -> Iterator[Scene]:
    """Yield scenes whose first metres are flat, without end."""
    seed = _FIRST
    while True:
        scene = Scene(seed, length=_SPEED * 100 / RATE)
        seed += 1
        ahead = np.arange(0.0, _SPEED * 3 + _AHEAD * mount.height, 1.0)
        height = -scene.road.place(ahead, scene.lane)[:, 1]
        bent = height - height[0] - scene.road.grade(0.0) * ahead
        if np.abs(bent).max() < _FLAT * mount.height:
            yield scene


def busy_streets() -> Iterator[Scene]:
    """Yield scenes with slopes, and every other one with queues or walls, without end."""
    seed = _FIRST + 500_000
    while True:
        yield Scene(seed, length=_SPEED * 100 / RATE, congested=seed % 4 == 1, walled=seed % 4 == 3)
        seed += 1


def drive(
    scene: Scene,
    mount: Mount,
    camera: Camera,
    *,
    frames: int,
    ratio: float = 1.0,
    predictor: DepthPredictor | None = None,
) -> Drive:
    """Drive along a scene and watch.

    Args:
        scene: The street.
        mount: The mounting of the camera, which the watch knows.
        camera: The true camera.
        frames: Number of frames.
        ratio: Focal length of camera_info over the true one.
        predictor: Predicts the depth; without, it is exact.
    """
    claimed = dataclasses.replace(camera, fx=camera.fx * ratio, fy=camera.fy * ratio)
    up: Vector3 = (0.0, -math.cos(mount.pitch), math.sin(mount.pitch))
    watch = ScaleWatch(mount.height, up=up)
    scales, said, true = [], [], []
    for frame in range(frames):
        seconds = frame / RATE
        pose = mount.pose(scene, _SPEED * seconds)
        depth, exact = _see(scene, camera, pose, frame, claimed=claimed, predictor=predictor)
        scales.append(watch.add(seconds, depth, claimed))
        said.append(watch.reading.scale)
        lower = slice(int(camera.cy), None)
        near = exact[lower] < _AHEAD * mount.height
        true.append(float(np.nanmedian(depth[lower][near] / exact[lower][near])))
    return Drive(scales, said, float(np.median(true)))


def _see(
    scene: Scene,
    camera: Camera,
    pose: FloatingArray,
    frame: int,
    *,
    claimed: Camera,
    predictor: DepthPredictor | None,
) -> tuple[FloatingArray, FloatingArray]:
    """Return the depth of a frame and its exact depth."""
    if predictor is not None:
        rgb, exact = render(scene, camera, pose, time=frame / RATE, grain=frame)
        return predictor.predict(rgb, claimed).depth, exact
    nearness = trace(scene, camera, pose, time=frame / RATE).hits.nearness
    exact = np.asarray(1 / np.maximum(nearness, np.float32(1e-9)), np.float32)
    return np.where(exact < _LIMIT, exact, np.float32(np.nan)), exact


def measure(options: ScaleWatchOptions) -> str:
    """Measure everything and return the tables in Markdown."""
    camera = street_camera(
        options.width,
        round(options.width * STREET_CAMERA.height / STREET_CAMERA.width),
        focal=STREET_CAMERA.fx * options.width / STREET_CAMERA.width,
    )
    rows = [
        "| depth | streets | camera | said, middle 90 % | farthest off | depth over truth "
        "| frames with ground | warned | after, s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    predictors: list[DepthPredictor | None] = [None]
    if options.predicted:
        predictors.append(DepthPredictor.from_checkpoint(options.checkpoint, device=options.device))
    for predictor in predictors:
        busy, flat = options.predicted, options.predicted
        if predictor is None:
            busy, flat = options.streets, max(1, options.streets // 20)
        cases = [("flat", flat_streets(mount), mount, flat, 1.0) for mount in MOUNTS]
        cases += [
            (f"flat, focal length x {ratio:g}", flat_streets(_CAR), _CAR, flat, ratio)
            for ratio in FOCAL_ERRORS
        ]
        cases.append(("slopes and traffic", busy_streets(), _CAR, busy, 1.0))
        source = "exact" if predictor is None else options.checkpoint
        for name, streets, mount, count, ratio in cases:
            chosen = itertools.islice(streets, count)
            drives = [
                drive(
                    scene,
                    mount,
                    camera,
                    frames=options.frames,
                    ratio=ratio,
                    predictor=predictor,
                )
                for scene in tqdm(chosen, f"{source}, {name}", count, file=sys.stderr)
            ]
            place = f"{mount.height:g} m, {math.degrees(mount.pitch):+.0f}°"
            rows.append(_row(source, f"{count} {name}", place, drives))
    return "\n".join([*rows, "", *_times()])


def _row(source: str, streets: str, place: str, drives: list[Drive]) -> str:
    said = np.array([scale for drive in drives for scale in drive.said])
    said = said[~np.isnan(said)]
    scales = np.array([scale for drive in drives for scale in drive.scales])
    seconds = [drive.seconds for drive in drives if not math.isnan(drive.seconds)]
    known = len(said) > 0
    cells = [
        source,
        streets,
        place,
        "{:.3f} to {:.3f}".format(*np.quantile(said, (0.05, 0.95))) if known else "none",
        f"{np.abs(said - 1).max():.1%}" if known else "none",
        f"{np.median([drive.true for drive in drives]):.2f}",
        f"{np.mean(~np.isnan(scales)):.0%}",
        f"{len(seconds)} of {len(drives)}",
        f"{max(seconds):.1f}" if seconds else "never",
    ]
    return f"| {' | '.join(cells)} |"


def _times() -> list[str]:
    """Return a table of the processor time that a frame takes."""
    rows = ["| image | median, ms | 95th percentile, ms |", "| --- | ---: | ---: |"]
    rng = np.random.default_rng(0)
    for camera in _SIZES:
        _, down = camera.slopes()
        depth = np.where(down > 0, _CAR.height / np.maximum(down, 1e-3), np.nan)
        noise = np.exp(rng.normal(0, 0.03, (camera.height, camera.width)))
        image = (depth[:, None] * noise).astype(np.float32)
        watch = ScaleWatch(_CAR.height, up=(0.0, -1.0, 0.0))
        spent = []
        for frame in range(_LOOKS):
            start = time.thread_time()
            watch.add(frame / RATE, image, camera)
            spent.append(1e3 * (time.thread_time() - start))
        middle, high = np.quantile(spent, (0.5, 0.95))
        rows.append(f"| {camera.width}x{camera.height} | {middle:.2f} | {high:.2f} |")
    return rows


@exit_on_error("scale_watch")
def main() -> None:
    """Measure and print tables."""
    print(measure(tyro.cli(ScaleWatchOptions)))


if __name__ == "__main__":
    main()
