"""What depth is compared with: measured depth images, distances by tape, or the camera's height."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depthformer_core.calibration.choice import FEWEST_BLOCKS, Choice, choose_correction
from depthformer_core.calibration.few import choose_factor
from depthformer_core.calibration.fit import Shape, shapes
from depthformer_core.calibration.samples import (
    Array,
    ImageSamples,
    Samples,
    join,
    sample_image,
)
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.ground import fit_ground
from depthformer_core.inference.rotate import image_up
from depthformer_core.types import FloatArray

_BLOCKS = 10
# Of pairs together, and of one image: enough for a curve, little enough for its many fits.
_PAIRS, _OF_IMAGE = 20_000, 2000
_FEWEST_IMAGES = 5
_FEWEST_HEIGHTS = 5
_SEED = 0
# Distances by tape show an offset from this ratio of the farthest to the nearest on.
_RANGE = 1.5
_WINDOW = 2  # pixels around that of a distance
_MOST_DISTANCES = 1000
# The depth of a place moves by less than this share while the camera stands still.
_STILL = 0.1


class Truth(Protocol):
    """What depth is compared with, image by image.

    Attributes:
        name: What it is, in words.
    """

    name: str

    def add(self, frame: Frame, depth: FloatArray) -> None:
        """Add an image and its predicted depth (H, W), metres."""
        ...

    @property
    def images(self) -> int:
        """Number of images that count."""
        ...

    @property
    def pairs(self) -> int:
        """Number of pairs of predicted and true values."""
        ...

    def choose(self) -> Choice:
        """Choose a correction.

        Raises:
            DepthFormerError: There is too little truth.
        """
        ...

    def samples(self) -> Samples:
        """Return the pairs of predicted and true values."""
        ...

    def notes(self) -> list[str]:
        """Return sentences on what may mislead."""
        ...


class MeasuredDepth:
    """Depth images of a LiDAR or a depth camera.

    Args:
        name: What it is, in words.
        images: Number of images that will be added at most.
        max_depth: True depth counts up to here, metres.
    """

    def __init__(self, name: str, *, images: int, max_depth: float) -> None:
        self.name = name
        self._most = max(1, min(_OF_IMAGE, _PAIRS // max(1, images)))
        self._max_depth = max_depth
        self._rng = np.random.default_rng(_SEED)
        self._images: list[ImageSamples] = []

    def add(self, frame: Frame, depth: FloatArray) -> None:
        """Add an image and its predicted depth (H, W), metres; without truth it is left out."""
        if frame.depth is None:
            return
        found = sample_image(
            depth, frame.depth, most=self._most, max_depth=self._max_depth, rng=self._rng
        )
        if found.pixels:
            self._images.append(found)

    @property
    def images(self) -> int:
        """Number of images with truth."""
        return len(self._images)

    @property
    def pairs(self) -> int:
        """Number of pixels with prediction and truth."""
        return sum(image.pixels for image in self._images)

    def samples(self) -> Samples:
        """Return pixels of the images, in ten contiguous blocks of time."""
        if self.images < _FEWEST_IMAGES:
            raise DepthFormerError(
                f"{self.images} images have prediction and truth, a calibration needs "
                f"{_FEWEST_IMAGES} or more, better a minute of driving"
            )
        return join(self._images, blocks=_BLOCKS)

    def choose(self) -> Choice:
        """Choose a factor, factor and offset, or a curve."""
        samples = self.samples()
        return choose_correction(samples, shapes(samples))

    def notes(self) -> list[str]:
        """Return no sentence."""
        return []


@dataclass(frozen=True)
class Distance:
    """Depth of one pixel, measured with a tape.

    Attributes:
        row: Row of the (rectified) image.
        column: Column.
        metres: Distance along the optical axis.

    Raises:
        DepthFormerError: A value is out of range.
    """

    row: int
    column: int
    metres: float

    def __post_init__(self) -> None:
        """Reject what is no distance."""
        if self.row < 0 or self.column < 0 or not 0 < self.metres < math.inf:
            raise DepthFormerError(
                "a distance needs row and column from 0 on and positive metres, got "
                f"{self.row} {self.column} {self.metres:g}"
            )


class TapeDistances:
    """Distances by tape, seen by a camera that stands still.

    Args:
        distances: The distances.

    Raises:
        DepthFormerError: There are none, or too many.
    """

    name = "distances by tape"

    def __init__(self, distances: list[Distance]) -> None:
        if not 1 <= len(distances) <= _MOST_DISTANCES:
            raise DepthFormerError(
                f"there must be 1 to {_MOST_DISTANCES} distances, got {len(distances)}"
            )
        self._distances = distances
        self._seen: list[list[float]] = [[] for _ in distances]
        self._images = 0

    def add(self, frame: Frame, depth: FloatArray) -> None:
        """Add an image and its predicted depth (H, W), metres."""
        height, width = depth.shape
        self._images += 1
        for distance, seen in zip(self._distances, self._seen, strict=True):
            row, column = distance.row, distance.column
            if row >= height or column >= width:
                raise DepthFormerError(
                    f"row {row}, column {column} is outside {frame.file} of {width}x{height} pixels"
                )
            around = depth[
                max(0, row - _WINDOW) : row + _WINDOW + 1,
                max(0, column - _WINDOW) : column + _WINDOW + 1,
            ]
            known = around[np.isfinite(around) & (around > 0)]
            if known.size:
                seen.append(float(np.median(known)))

    @property
    def images(self) -> int:
        """Number of images."""
        return self._images

    @property
    def pairs(self) -> int:
        """Number of distances."""
        return len(self._distances)

    def predicted(self) -> Array:
        """Return the predicted depth of each distance, the median over the images, metres."""
        if not self._images:
            raise DepthFormerError("there is no image to read distances from")
        for distance, seen in zip(self._distances, self._seen, strict=True):
            if not seen:
                raise DepthFormerError(
                    f"row {distance.row}, column {distance.column} has no predicted depth: it lies "
                    "outside what the network reads; --crop none reads everything"
                )
        return np.array([np.median(seen) for seen in self._seen])

    def samples(self) -> Samples:
        """Return predicted and true distances, each a block of its own."""
        count = len(self._distances)
        true = np.array([distance.metres for distance in self._distances])
        return Samples(self.predicted(), true, np.ones(count), np.arange(count))

    def choose(self) -> Choice:
        """Choose a factor, or, with three distances over a range, factor and offset."""
        samples = self.samples()
        if samples.blocks < FEWEST_BLOCKS:
            # Of one distance, the images alone can tell how sure it is.
            predicted = samples.predicted if samples.blocks > 1 else np.array(self._seen[0])
            return choose_factor(samples, samples.true / predicted)
        candidates = {"one factor": Shape("factor")}
        nearest, farthest = float(samples.true.min()), float(samples.true.max())
        if farthest >= _RANGE * nearest:
            candidates["factor and offset"] = Shape("line", (nearest, farthest))
        return choose_correction(samples, candidates)

    def notes(self) -> list[str]:
        """Return sentences on a camera that moved, and on too few distances."""
        notes = []
        if self.pairs < FEWEST_BLOCKS:
            notes.append(
                "With one or two distances, nothing can be held out: the interval is of these "
                "places alone. Measure five, near and far."
            )
        for distance, seen in zip(self._distances, self._seen, strict=True):
            low, high = np.quantile(seen, (0.1, 0.9))
            if high > (1 + _STILL) * low:
                notes.append(
                    f"The depth of row {distance.row}, column {distance.column} goes from "
                    f"{low:.1f} to {high:.1f} m: did the camera or the scene move?"
                )
        return notes


class CameraHeight:
    """The height of the camera over flat ground.

    Args:
        height: Metres.
        rotate: Degrees clockwise by which images become upright, as of `DepthPredictor`.

    Raises:
        DepthFormerError: The height is not positive, or images do not become upright by that.
    """

    name = "height of the camera"

    def __init__(self, height: float, *, rotate: int = 0) -> None:
        if not 0 < height < math.inf:
            raise DepthFormerError(f"the height of the camera must be positive, got {height:g} m")
        self._height = height
        self._up = image_up(rotate)
        self._found: list[float] = []
        self._images = 0

    def add(self, frame: Frame, depth: FloatArray) -> None:
        """Add an image and its predicted depth (H, W), metres; without ground it is left out."""
        if frame.camera is None:
            raise DepthFormerError(f"{frame.file} has no camera to find the ground with")
        self._images += 1
        ground = fit_ground(frame.camera.unproject(depth).reshape(-1, 3), up=self._up)
        if ground is not None:
            self._found.append(ground.height)

    @property
    def images(self) -> int:
        """Number of images with ground."""
        return len(self._found)

    @property
    def pairs(self) -> int:
        """Number of heights."""
        return len(self._found)

    def samples(self) -> Samples:
        """Return predicted and true height of the images, in contiguous blocks of time."""
        count = len(self._found)
        if count < _FEWEST_HEIGHTS:
            raise DepthFormerError(
                f"the ground was found in {count} of {self._images} images, a calibration needs "
                f"{_FEWEST_HEIGHTS} or more: it must be flat, and fill the lower part of the image"
            )
        block = np.arange(count) * min(_BLOCKS, count) // count
        return Samples(np.array(self._found), np.full(count, self._height), np.ones(count), block)

    def choose(self) -> Choice:
        """Choose a factor."""
        samples = self.samples()
        medians = [
            float(np.median(samples.true[inside] / samples.predicted[inside]))
            for inside in (samples.block == block for block in range(samples.blocks))
        ]
        return choose_factor(samples, np.array(medians))

    def notes(self) -> list[str]:
        """Return a sentence on images without ground."""
        missing = self._images - len(self._found)
        return [f"No ground was found in {missing} of {self._images} images."] if missing else []
