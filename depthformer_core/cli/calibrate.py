"""`depthformer calibrate`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from depthformer_core.bags.errors import ReplayError
from depthformer_core.calibration.calibration_file import write_calibration
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.truths import (
    CameraHeight,
    Distance,
    MeasuredDepth,
    TapeDistances,
    Truth,
)
from depthformer_core.cli.predict import find_images
from depthformer_core.cli.topics import TopicOptions, TruthOptions
from depthformer_core.data.dataset import Frame
from depthformer_core.data.images import read_rgb
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.paths import user_path
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.network import NetworkOptions, load_network
from depthformer_core.signals import Signals, exit_at_sigterm

# A shorter drive shows one place.
_SHORT = 10.0  # seconds
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class CalibrateOptions:
    """Find the correction that a network's metres need on your camera.

    Compares the network's depth with a LiDAR, a depth camera, a few distances taken with a tape, or
    the height of the camera over flat ground. Writes a YAML file that --calibration of predict,
    evaluate and replay and the node's depth.calibration apply, and a picture of it. Writes nothing,
    with exit code 1, if no correction helps beyond chance.
    """

    source: tyro.conf.Positional[Path]
    """A ROS 2 or ROS 1 bag; with --intrinsics, an image or a folder of images."""
    output: Path = field(default_factory=lambda: Path("calibration.yaml"))
    """File that is written."""
    topics: tyro.conf.OmitArgPrefixes[TopicOptions] = field(default_factory=TopicOptions)
    """Topics of the bag, found by their types where there is but one of a kind."""
    network: tyro.conf.OmitArgPrefixes[NetworkOptions] = field(default_factory=NetworkOptions)
    """The network."""
    distance: Annotated[tuple[tuple[int, int, float], ...], tyro.conf.UseAppendAction] = ()
    """ROW COLUMN METRES of a pixel of the (rectified) image, measured along the optical axis while
    the camera stood still; give it once for each distance. Five, near and far, are good."""
    camera_height: float | None = None
    """Height of the camera over flat ground, metres."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy of the images, pixels, where the source is images."""
    images: int = 300
    """Images to use at most, evenly over the source."""
    truth: tyro.conf.OmitArgPrefixes[TruthOptions] = field(default_factory=TruthOptions)
    """The truth, and how images and truth come together."""


def calibrate(options: CalibrateOptions) -> None:
    """Run `depthformer calibrate`."""
    with exit_at_sigterm():
        _calibrate(options)


def _check(options: CalibrateOptions) -> None:
    """Refuse what cannot be done."""
    if options.images < 1:
        raise DepthFormerError(f"--images must be positive, got {options.images}")
    if not options.truth.max_depth > 0:
        raise DepthFormerError(f"--max-depth must be positive, got {options.truth.max_depth}")
    if options.distance and options.camera_height is not None:
        raise DepthFormerError("--distance and --camera-height are two ways: take one of them")
    if options.network.calibration is not None:
        raise DepthFormerError("--calibration is applied elsewhere: here one is made")


def _calibrate(options: CalibrateOptions) -> None:
    _check(options)
    output = user_path(options.output)
    if output.is_dir():
        raise DepthFormerError(f"--output must be a file, {output} is a folder")
    frames: _Frames
    if options.intrinsics is None:
        frames = _BagFrames(options)
        truth = _truth(options, frames)
        if isinstance(truth, MeasuredDepth) and frames.bag.topics.no_truth:
            raise ReplayError(
                f"{frames.bag.topics.no_truth}; without truth, --distance or --camera-height helps"
            )
    else:
        frames = _ImageFrames(options)
        truth = _truth(options, frames)
        if isinstance(truth, MeasuredDepth):
            raise DepthFormerError("images have no truth: give --distance, or --camera-height")
    with Signals():
        options.network.import_runtime()  # a signal meanwhile ends the process
        from depthformer_core.replay.calibration import calibrate as find
        from depthformer_core.replay.calibration import format_choice
    predictor = load_network(options.network)
    print(f"truth: {truth.name}", flush=True)
    result = find(predictor, tqdm(frames, unit="image"), truth)
    print(f"{truth.images} images, {truth.pairs} pairs\n\n{format_choice(result.choice)}\n")
    for note in [*frames.notes(), *truth.notes()]:
        print(note, file=sys.stderr)
    if result.calibration is None:
        reasons = {trial.name: trial.verdict for trial in result.choice.trials if trial.verdict}
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise DepthFormerError(
            f"no correction helps beyond chance ({told}): leave the depth as it is; nothing was "
            "written"
        )
    write_calibration(output, result.calibration)
    written = [str(output), *_draw(output, truth, result.calibration.correction)]
    print(f"Wrote {' and '.join(written)}")


def _draw(output: Path, truth: Truth, correction: DepthCorrection) -> list[str]:
    """Draw the correction beside its file, where Matplotlib is installed."""
    try:
        from depthformer_core.evaluation.calibration_plot import plot_calibration
    except ModuleNotFoundError as error:
        print(f"There is no picture without {error.name}.", file=sys.stderr)
        return []
    picture = output.with_suffix(".png")
    with replacing(picture) as temporary:
        temporary.write_bytes(plot_calibration(truth.samples(), correction))
    return [str(picture)]


def _truth(options: CalibrateOptions, frames: "_Frames") -> Truth:
    if options.distance:
        return TapeDistances([Distance(*values) for values in options.distance])
    if options.camera_height is not None:
        return CameraHeight(options.camera_height, rotate=options.network.rotate)
    return MeasuredDepth(frames.truth, images=len(frames), max_depth=options.truth.max_depth)


class _Frames:
    """Images of one camera, evenly chosen from many.

    Attributes:
        truth: What measured depth is of, in words.
    """

    truth = ""

    def __init__(self, total: int, most: int) -> None:
        self._step = max(1, -(-total // most))
        self._count = -(-total // self._step)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Return sentences on what may mislead."""
        return []


class _BagFrames(_Frames):
    """Images of a bag."""

    def __init__(self, options: CalibrateOptions) -> None:
        choice = options.truth.of_frames(options.topics)
        self._measured = not options.distance and options.camera_height is None
        self.bag = BagFrames(
            user_path(options.source),
            choice if self._measured else replace(choice, truth="none"),
        )
        super().__init__(len(self.bag), options.images)
        self.truth = self.bag.topics.truth
        self._stamps: list[int] = []

    def __iter__(self) -> Iterator[Frame]:
        for item in self.bag:
            if item.index % self._step == 0:
                self._stamps.append(item.stamp)
                yield item.frame

    def notes(self) -> list[str]:
        if not self._measured:
            return [f"{count} images: {reason}." for reason, count in self.bag.rejected.items()]
        notes = list(self.bag.notes)
        seconds = (max(self._stamps) - min(self._stamps)) / _SECOND
        if seconds < _SHORT:
            notes.append(
                f"The images are of {seconds:.1f} s: the intervals are of this place alone. "
                "A minute of driving is better."
            )
        return notes


class _ImageFrames(_Frames):
    """Image files."""

    def __init__(self, options: CalibrateOptions) -> None:
        assert options.intrinsics is not None
        self._files: Sequence[Path] = find_images((str(options.source),))
        self._intrinsics = options.intrinsics
        super().__init__(len(self._files), options.images)

    def __iter__(self) -> Iterator[Frame]:
        for file in self._files[:: self._step]:
            rgb = read_rgb(file)
            camera = Camera(rgb.shape[1], rgb.shape[0], *self._intrinsics)
            yield Frame(file.name, rgb, None, camera)
