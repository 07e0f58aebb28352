"""What a calibration finds: `python -m depthformer_core.studies.calibration`.

The depth of generated drives is bent by 1.3 x + 0.5 m, and calibrated by a LiDAR and by five
distances; drives with nothing to correct are to be left alone; a real drive is calibrated on its
first half and evaluated on its second.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.truths import Distance, MeasuredDepth, TapeDistances, Truth
from depthformer_core.data.dataset import Frame
from depthformer_core.data.kitti import drive_to_bag
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.evaluation.evaluate import evaluate
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.calibration import calibrate
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic import Drive, street_camera
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA
from depthformer_core.types import FloatArray

_CAMERA = street_camera(414, 125, focal=240.5)
_SEED = 1000  # of the first drive
_RATE = 0.5  # frames a second
_NEAR, _FAR = 7.0, 60.0  # metres; the road begins at 6
_DISTANCES = (7.0, 10.0, 15.0, 25.0, 40.0)  # metres
_TAPE_IMAGES = 5
_FARTHEST = 80.0  # metres
_EDGE = 1.03


@dataclass(frozen=True)
class CalibrationStudyOptions:
    """Measure what a calibration finds, and what it leaves alone."""

    checkpoint: str = "small"
    """A safetensors file, or a preset's name."""
    drives: int = 24
    """Generated drives."""
    frames: int = 12
    """Images of each, two seconds apart."""
    real: Path | None = None
    """Drive of KITTI's raw data, to be calibrated on its first half."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        """Reject values nothing can be measured with."""
        if self.drives < 1 or self.frames < 5:
            raise DepthFormerError(
                f"drives must be positive and frames at least 5, got {self.drives}, {self.frames}"
            )


@dataclass(frozen=True)
class Noise:
    """Errors of a simulated network without bias: deviations of the logarithm of depth.

    Attributes:
        image: Common to an image.
        patch: Common to its neighbourhoods, a sixteenth of the image wide.
        pixel: Of each pixel alone.
        wild: Share of pixels that are wrong by a factor, of deviation 1.
    """

    image: float = 0.0
    patch: float = 0.0
    pixel: float = 0.0
    wild: float = 0.0

    def add(self, depth: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return depth with errors, of the same shape."""
        height, width = depth.shape
        patches = rng.normal(size=(6, 16)).astype(np.float32)
        logarithm = self.image * rng.normal() + self.pixel * rng.normal(size=depth.shape)
        logarithm += self.patch * np.asarray(cv2.resize(patches, (width, height)))
        wild = rng.random(depth.shape) < self.wild
        logarithm += wild * rng.normal(size=depth.shape)
        return np.asarray(depth * np.exp(logarithm), np.float32)


_NONE = Noise()
_LITTLE = Noise(image=0.01, patch=0.03, pixel=0.03, wild=0.02)
# About the errors of `small` on streets that it knows.
_MUCH = Noise(image=0.02, patch=0.1, pixel=0.05, wild=0.05)


def bend(depth: FloatArray) -> FloatArray:
    """Return wrong depth: 1.3 x + 0.5 m."""
    bent: FloatArray = np.float32(1.3) * depth + np.float32(0.5)
    return bent


def bend_error(correction: DepthCorrection | None, *, near: float, far: float) -> float:
    """Return the largest relative error of bent and corrected depth between two depths.

    It is NaN without a correction.
    """
    if correction is None:
        return np.nan
    depth = np.linspace(near, far, 200, dtype=np.float32)
    return float(np.abs(correction.apply(bend(depth)) / depth - 1).max())


@dataclass(frozen=True, eq=False)
class StudyFrame:
    """Image of a generated drive.

    Attributes:
        frame: The image, with the LiDAR's truth.
        exact: Exact depth, (H, W), metres; NaN in the sky.
        predicted: The network's depth, (H, W), metres.
    """

    frame: Frame
    exact: FloatArray
    predicted: FloatArray


def drive_frames(seed: int, frames: int, predictor: DepthPredictor) -> list[StudyFrame]:
    """Render a drive, and predict its depth."""
    drive = Drive(seed, frames=frames, camera=_CAMERA, rate=_RATE)
    made = []
    for index in range(frames):
        rgb, depth = drive.picture(index)
        points = drive.scan(index)[:, :3]
        truth = scan_truth([(points, VELO_TO_CAMERA)], _CAMERA, keep_hidden=False)
        made.append(
            StudyFrame(
                Frame(f"{index}", rgb, truth, _CAMERA),
                np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan)),
                predictor.predict(rgb, _CAMERA).depth,
            )
        )
    return made


def found(truth: Truth, pairs: Iterable[tuple[Frame, FloatArray]]) -> DepthCorrection | None:
    """Calibrate by pairs of image and predicted depth."""
    for frame, depth in pairs:
        truth.add(frame, depth)
    return truth.choose().correction


def lidar(frames: list[StudyFrame]) -> MeasuredDepth:
    """Return truth of the LiDAR of a drive."""
    return MeasuredDepth("LiDAR", images=len(frames), max_depth=_FARTHEST)


def tape(exact: FloatArray) -> list[Distance]:
    """Measure five distances in an image, on what is about as far all around."""
    around = np.ones((7, 7), np.uint8)
    known = np.where(np.isfinite(exact), exact, np.float32(1000))
    flat = cv2.dilate(known, around) < _EDGE * cv2.erode(known, around)
    distances = []
    for wanted in _DISTANCES:
        away = np.where(flat, np.abs(np.log(known / wanted)), np.inf)
        row, column = np.unravel_index(int(away.argmin()), exact.shape)
        distances.append(Distance(int(row), int(column), float(exact[row, column])))
    return distances


def by_tape(
    first: StudyFrame, predicted: FloatArray, *, noise: Noise, rng: np.random.Generator
) -> float:
    """Return the error of a calibration by tape before a street, over the measured distances."""
    distances = tape(first.exact)
    # The camera stands still: the errors of neighbourhoods stay, those of pixels do not.
    steady = dataclasses.replace(noise, image=0, pixel=0, wild=0).add(predicted, rng)
    changing = dataclasses.replace(noise, patch=0)
    images = ((first.frame, bend(changing.add(steady, rng))) for _ in range(_TAPE_IMAGES))
    correction = found(TapeDistances(distances), images)
    return bend_error(correction, near=distances[0].metres, far=distances[-1].metres)


def abs_rel(frames: list[StudyFrame], correction: DepthCorrection | None, *, bent: bool) -> float:
    """Return the AbsRel of the network's depth of a drive, bent or not, and corrected."""
    depths = iter(frames)

    def predict(*_: object) -> FloatArray:
        depth = next(depths).predicted
        depth = bend(depth) if bent else depth
        return depth if correction is None else correction.apply(depth)

    result = evaluate(predict, [one.frame for one in frames], protocol=Protocol(max_depth=80.0))
    return result.mean["abs_rel"]


def measure(options: CalibrationStudyOptions) -> Iterator[str]:
    """Measure generated drives; return lines of a table."""
    predictor = DepthPredictor.from_checkpoint(options.checkpoint, device=options.device)
    noises = {"exact": _NONE, "little noise": _LITTLE, "much noise": _MUCH}
    errors: dict[str, list[float]] = {}
    wrong: dict[str, int] = {}
    network: list[tuple[float, float, float]] = []
    for number in tqdm(range(options.drives), unit="drive", file=sys.stderr):
        frames = drive_frames(_SEED + number, options.frames, predictor)
        for name, noise in noises.items():
            rng = np.random.default_rng(number)
            depths = [noise.add(one.exact, rng) for one in frames]
            images = [one.frame for one in frames]
            bent = found(lidar(frames), zip(images, map(bend, depths), strict=True))
            errors.setdefault(f"LiDAR, {name}", []).append(bend_error(bent, near=_NEAR, far=_FAR))
            errors.setdefault(f"five distances, {name}", []).append(
                by_tape(frames[0], frames[0].exact, noise=noise, rng=rng)
            )
            left = found(lidar(frames), zip(images, depths, strict=True))
            wrong[name] = wrong.get(name, 0) + (left is not None)
        errors.setdefault("five distances, the network's depth", []).append(
            by_tape(frames[0], frames[0].predicted, noise=_NONE, rng=np.random.default_rng(0))
        )
        predicted = [(one.frame, one.predicted) for one in frames]
        wrong["the network"] = wrong.get("the network", 0) + (
            found(lidar(frames), predicted) is not None
        )
        half = len(frames) // 2
        bent = found(lidar(frames), ((frame, bend(depth)) for frame, depth in predicted[:half]))
        rest = frames[half:]
        network.append(
            (
                abs_rel(rest, None, bent=False),
                abs_rel(rest, None, bent=True),
                abs_rel(rest, bent, bent=True),
            )
        )
    yield "| bent by 1.3 x + 0.5 m, found by | largest error: median | 95 % | worst | refused |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, values in errors.items():
        middle, most, worst = np.nanquantile(values, (0.5, 0.95, 1))
        refused = f"{np.isnan(values).sum()} of {len(values)}"
        yield f"| {name} | {middle:.1%} | {most:.1%} | {worst:.1%} | {refused} |"
    yield ""
    yield "| nothing to correct | drives | corrected all the same |"
    yield "| --- | ---: | ---: |"
    for name, count in wrong.items():
        yield f"| {name} | {options.drives} | {count} |"
    own, bent_rel, after = np.mean(network, axis=0)
    yield ""
    yield (
        "The network's depth, bent; calibrated on first halves, AbsRel of second halves: "
        f"{own:.3f} unbent, {bent_rel:.3f} bent, {after:.3f} corrected"
    )


def measure_real(options: CalibrationStudyOptions, drive: Path) -> str:
    """Calibrate a real drive on its first half, and evaluate it on its second."""
    predictor = DepthPredictor.from_checkpoint(options.checkpoint, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        drive_to_bag(drive, bag)
        items = [item.frame for item in BagFrames(bag, FrameOptions(truth="lidar"))]
    half = len(items) // 2
    truth = MeasuredDepth("LiDAR", images=half, max_depth=_FARTHEST)
    result = calibrate(predictor, items[:half], truth)
    protocol = Protocol(max_depth=80.0)
    rest = [item for item in items[half:] if item.depth is not None]
    before = evaluate(predictor.predict_depth, rest, protocol=protocol).mean["abs_rel"]
    text = f"{drive.name}, {half} images, then {len(rest)}: AbsRel {before:.3f} before, "
    if result.calibration is None:
        return f"{text}no correction helps"
    predictor.calibration = result.calibration
    after = evaluate(predictor.predict_depth, rest, protocol=protocol).mean["abs_rel"]
    correction = result.calibration.correction
    return f"{text}{after:.3f} after ({correction.kind}: {correction.corrected})"


@exit_on_error("calibration")
def main() -> None:
    """Measure and print tables."""
    options = tyro.cli(CalibrationStudyOptions)
    for line in measure(options):
        print(line)
    if options.real is not None:
        print(f"\n{measure_real(options, options.real)}")


if __name__ == "__main__":
    main()
