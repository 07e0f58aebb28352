"""Batches of training: their sampling, reading and augmentation."""

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data.augment import Augmentation, augment
from depthformer_core.data.dataset import DatasetError, DepthDataset, Frame
from depthformer_core.distributed import rank, world_size
from depthformer_core.errors import DepthFormerError
from depthformer_core.training.cache import ImageCache
from depthformer_core.training.prepared import PreparedFrame, prepare
from depthformer_core.types import FloatArray, Rgb

# An image of the dataset in one of the passes over it.
Draw = tuple[int, int]

Augment = Callable[[Rgb, FloatArray, np.random.Generator], tuple[FloatArray, FloatArray]]
"""Augmentation of your own: takes an image (H, W, 3) in RGB, 0 to 255, its depth (H, W), metres, 0
where there is no truth, and the source of all randomness; returns image (h, w, 3), likewise, and
depth (h, w), of one size for all images."""


@dataclass(frozen=True)
class Batch:
    """Augmented images with truth.

    Attributes:
        pixels: (B, H, W, 3), RGB, 0-255, float32.
        truth: (B, 1, H, W), metres, 0 where there is none.
        files: Names of the images.
    """

    pixels: Tensor
    truth: Tensor
    files: tuple[str, ...]

    def pin_memory(self) -> "Batch":
        """Move to memory that a GPU reads without waiting; the loader calls this."""
        return Batch(self.pixels.pin_memory(), self.truth.pin_memory(), self.files)


class BatchSampler(Sampler[list[Draw]]):
    """Sampler of this process's share of every batch; the seed alone decides the order.

    Passes over the dataset follow each other without a gap: a batch may hold the last images of
    one and the first of the next. All processes together see the images of a single process.

    Args:
        images: Images of the dataset.
        batch_size: Images of a share.
        seed: Seed of the run.
        start: Batches to skip, which an earlier part of the run has seen.
        end: Batches of the whole run.
    """

    def __init__(self, images: int, *, batch_size: int, seed: int, start: int, end: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.end = end

    def __iter__(self) -> Iterator[list[Draw]]:
        """Iterate over the draws of each batch."""
        order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        for batch in range(self.start, self.end):
            first = (batch * world_size() + rank()) * self.batch_size
            draws: list[Draw] = []
            for position in range(first, first + self.batch_size):
                epoch, place = divmod(position, self.images)
                if order[0] != epoch:
                    rng = np.random.default_rng((self.seed, epoch))
                    order = epoch, rng.permutation(self.images)
                draws.append((epoch, int(order[1][place])))
            yield draws

    def __len__(self) -> int:
        """Count the remaining batches."""
        return self.end - self.start


def training_sample(
    frame: Frame,
    *,
    model: DepthFormerConfig,
    augmentation: Augmentation | Augment,
    far: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Bring a frame to the focal length that a network knows, see `prepare`, and augment it.

    Args:
        frame: An image with truth.
        model: The network.
        augmentation: Its augmentation.
        far: As of `prepare`.
        rng: Source of all randomness.

    Returns:
        Image (h, w, 3) in RGB, 0 to 255, and depth (h, w), see `augment`.

    Raises:
        DatasetError: The frame has no truth or does not fit the augmentation.
    """
    return _augmented(prepare(frame, model=model, far=far), augmentation, rng)


def _augmented(
    frame: PreparedFrame, augmentation: Augmentation | Augment, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    if isinstance(augmentation, Augmentation):
        try:
            return augment(frame.rgb, frame.depth, augmentation=augmentation, rng=rng)
        except DepthFormerError as error:
            raise DatasetError(f"{frame.file}: {error}") from error
    rgb, depth = (np.asarray(array) for array in augmentation(frame.rgb, frame.depth, rng))
    if depth.ndim != 2 or rgb.shape != (*depth.shape, 3):
        raise DatasetError(
            f"{frame.file}: the augmentation must return an image (h, w, 3) and depth (h, w), "
            f"got {rgb.shape} and {depth.shape}"
        )
    # The loader needs arrays of its own.
    return np.array(rgb, np.float32), np.array(depth, np.float32)


class TrainingSamples(Dataset[tuple[Tensor, Tensor, str]]):
    """Training samples; the augmentation of a draw is always the same.

    An item is an image (h, w, 3) in RGB, 0 to 255, its depth (1, h, w), and its name.

    Args:
        dataset: Images with truth.
        model: The network.
        augmentation: Its augmentation.
        far: As of `prepare`.
        seed: Seed of the run.
        cache: Folder of an `ImageCache`; None keeps nothing.

    Raises:
        DatasetError: The folder of the cache cannot be made.
    """

    def __init__(
        self,
        dataset: DepthDataset,
        *,
        model: DepthFormerConfig,
        augmentation: Augmentation | Augment,
        far: float,
        seed: int,
        cache: Path | None = None,
    ) -> None:
        self.dataset = dataset
        self.model = model
        self.augmentation = augmentation
        self.far = far
        self.seed = seed
        self.cache = None if cache is None else ImageCache(cache, model=model, far=far)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor, str]:
        """Read and augment an image for one of the passes.

        Raises:
            DatasetError: The image cannot be read, or does not fit the augmentation.
        """
        epoch, index = draw
        if self.cache is not None:
            frame = self.cache.read(self.dataset, index)
        else:
            frame = prepare(self.dataset[index], model=self.model, far=self.far)
        rng = np.random.default_rng((self.seed, epoch, index))
        pixels, depth = _augmented(frame, self.augmentation, rng)
        return torch.from_numpy(pixels), torch.from_numpy(depth)[None], frame.file


def load_batches(
    dataset: DepthDataset,
    *,
    model: DepthFormerConfig,
    augmentation: Augmentation | Augment,
    far: float,
    sampler: BatchSampler,
    workers: int,
    pin_memory: bool,
    cache: Path | None = None,
) -> Iterable[Batch]:
    """Read and augment batches in the background.

    Args:
        dataset: Images with truth.
        model: The network that is trained.
        augmentation: Their augmentation.
        far: As of `prepare`.
        sampler: The images of each batch.
        workers: Processes that read; 0 reads while the training waits.
        pin_memory: Whether the batches go to a GPU.
        cache: Folder of an `ImageCache`; None keeps nothing.

    Raises:
        DatasetError: The folder of the cache cannot be made.
    """
    samples = TrainingSamples(
        dataset,
        model=model,
        augmentation=augmentation,
        far=far,
        seed=sampler.seed,
        cache=cache,
    )
    return DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
    )


def _collate(samples: list[tuple[Tensor, Tensor, str]]) -> Batch:
    pixels, truth, files = zip(*samples, strict=True)
    sizes = {image.shape[:2]: file for image, file in zip(pixels, files, strict=True)}
    if len(sizes) > 1:
        shown = ", ".join(f"{file} {w}x{h}" for (h, w), file in sizes.items())
        raise DatasetError(f"the augmentation must give all images one size, got {shown}")
    return Batch(torch.stack(pixels), torch.stack(truth), files)


def _start_worker(_: int) -> None:
    # One core a worker: more would slow the training.
    cv2.setNumThreads(0)
    # A terminal sends Ctrl-C to this process too, but the training still needs the batches of its
    # iteration, and ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not the training's handler, which a forked process begins with.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
