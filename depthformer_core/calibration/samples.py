"""Pairs of predicted and true depth, in blocks of images that resemble each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatArray

Array = npt.NDArray[np.float64]

# Distances are sampled alike in ranges whose ends are so many times as far, from a decimetre on.
_NEAREST, _RATIO = 0.1, 1.4


@dataclass(frozen=True, eq=False)
class Samples:
    """Pairs of predicted and true depth.

    Attributes:
        predicted: (N,), metres, positive.
        true: (N,), metres, positive.
        weight: (N,), positive: how much each counts.
        block: (N,), int64: the part of the drive that each is of, from 0; what holds in one part
            must hold in the others.

    Raises:
        DepthFormerError: There are none, or depths are not positive.
    """

    predicted: Array
    true: Array
    weight: Array
    block: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Reject what nothing can be fitted to."""
        if not len(self.true):
            raise DepthFormerError("there is no pair of predicted and true depth")
        for name in ("predicted", "true", "weight"):
            values = getattr(self, name)
            if not (np.isfinite(values) & (values > 0)).all():
                raise DepthFormerError(f"{name} values of samples must be positive and finite")

    @property
    def blocks(self) -> int:
        """Number of the blocks."""
        return int(self.block.max()) + 1

    def part(self, chosen: npt.NDArray[np.bool_]) -> "Samples":
        """Return some of the samples; the blocks keep their numbers."""
        return Samples(
            self.predicted[chosen], self.true[chosen], self.weight[chosen], self.block[chosen]
        )

    def weighted(self, factors: Array) -> "Samples":
        """Return the samples with the weights of the blocks multiplied, without those of weight 0.

        Args:
            factors: One for each block, (B,), at least 0.
        """
        weight = self.weight * factors[self.block]
        kept = weight > 0
        return Samples(self.predicted[kept], self.true[kept], weight[kept], self.block[kept])


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """Pairs of predicted and true depth of one image.

    Attributes:
        predicted: float32 (N,), metres.
        true: float32 (N,), metres.
        weight: float32 (N,), of sum 1: the mean over them is about that over all pixels.
        pixels: Number of pixels that they were drawn from.
    """

    predicted: FloatArray
    true: FloatArray
    weight: FloatArray
    pixels: int


def sample_image(
    predicted: FloatArray,
    true: FloatArray,
    *,
    most: int,
    max_depth: float,
    rng: np.random.Generator,
) -> ImageSamples:
    """Draw pixels of an image, from all distances alike, each weighted by what it stands for.

    Args:
        predicted: (H, W), metres.
        true: (H, W), metres; 0, NaN and infinity where there is none.
        most: Number of pixels to draw at most.
        max_depth: True depth counts up to here, metres.
        rng: Source of the choice.
    """
    known = np.isfinite(predicted) & (predicted > 0) & (true > 0) & (true <= max_depth)
    given, truth = predicted[known], true[known]
    pixels = len(truth)
    ranges = np.floor(np.log(truth / _NEAREST) / np.log(_RATIO)).astype(np.int64)
    order = rng.permutation(pixels)
    order = order[np.argsort(ranges[order], kind="stable")]
    _, starts, counts = np.unique(ranges[order], return_index=True, return_counts=True)
    chosen, weights = [], []
    share = most // max(1, len(counts))
    for start, count in zip(starts, counts, strict=True):
        drawn = min(int(count), max(1, share))
        chosen.append(order[start : start + drawn])
        weights.append(np.full(drawn, count / drawn / pixels))
    if not chosen:
        empty = np.empty(0, np.float32)
        return ImageSamples(empty, empty, empty, 0)
    places = np.concatenate(chosen)
    return ImageSamples(
        given[places].astype(np.float32),
        truth[places].astype(np.float32),
        np.concatenate(weights).astype(np.float32),
        pixels,
    )


def join(images: Sequence[ImageSamples], *, blocks: int) -> Samples:
    """Join the samples of images, in contiguous blocks of about as many images.

    Args:
        images: Samples of each, in the order of time.
        blocks: Number of blocks at most.

    Raises:
        DepthFormerError: There are no samples.
    """
    used = [image for image in images if image.pixels]
    if not used:
        raise DepthFormerError("no image has both predicted and true depth")
    count = min(blocks, len(used))
    lengths = [len(image.true) for image in used]
    block = np.repeat(np.arange(len(used)) * count // len(used), lengths)

    def joined(name: str) -> Array:
        values = np.concatenate([getattr(image, name) for image in used])
        return np.asarray(values, np.float64)

    return Samples(joined("predicted"), joined("true"), joined("weight"), block)
