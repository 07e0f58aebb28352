"""Measure how fast training images are read: `python -m depthformer_core.benchmark.reading`."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.data.dataset import DepthDataset, DepthFormat, Source
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.data.folder import NpyDepth
from depthformer_core.data.images import write_depth_png
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import STREET_CAMERA, SyntheticDataset, street_camera
from depthformer_core.training.batches import TrainingSamples
from depthformer_core.training.presets import training_preset

_KITTI_DENSITY = 0.16  # share of the pixels below the horizon that KITTI's annotated depth has


@dataclass(frozen=True)
class ReadingOptions:
    """Measure how fast one core reads and augments training images, with and without a cache."""

    images: int = 8
    """Images of each kind."""
    passes: int = 5
    """Counted passes over them, in turns without and with the cache."""

    def __post_init__(self) -> None:
        """Reject numbers that nothing can be measured with."""
        for name in ("images", "passes"):
            if getattr(self, name) < 1:
                raise DepthFormerError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class ImageKind:
    """Images as a dataset stores them.

    Attributes:
        name: Their name in the table.
        camera: Their camera.
        presets: Recipes that are measured on them.
        image: Suffix of the colour images, .png or .jpg; empty for images that are generated.
        depth_scale: Steps per metre of the depth PNG files; None for NumPy files.
        density: Share of the pixels below the horizon that have truth.
    """

    name: str
    camera: Camera
    presets: tuple[str, ...]
    image: str = ""
    depth_scale: float | None = None
    density: float = 1.0


KINDS = (
    ImageKind(
        "KITTI: PNG, sparse depth PNG",
        STREET_CAMERA,
        ("small", "swin_tiny_kitti"),
        image=".png",
        depth_scale=256.0,
        density=_KITTI_DENSITY,
    ),
    ImageKind(
        "NYU: JPEG, depth PNG",
        street_camera(640, 480, focal=518.8579),
        ("small", "swin_tiny_nyu"),
        image=".jpg",
        depth_scale=1000.0,
    ),
    ImageKind(
        "folder: JPEG, NumPy depth",
        street_camera(1280, 720, focal=700.0),
        ("small", "swin_tiny_kitti"),
        image=".jpg",
    ),
    ImageKind("generated", STREET_CAMERA, ("small", "swin_tiny_kitti")),
)
"""The kinds of images that are measured."""


@dataclass(frozen=True)
class ReadingResult:
    """Measurement of one recipe on one kind of images.

    Attributes:
        kind: Name of the kind.
        preset: Name of the recipe.
        height: Rows of the stored images.
        width: Their columns.
        images: Images of a pass.
        without: Seconds of the core in each pass, without a cache.
        cached: The same with a cache that holds all images.
        stored: Bytes of an image and its depth as files; 0 for generated ones.
        kept: Bytes of an image with its depth in the cache.
    """

    kind: str
    preset: str
    height: int
    width: int
    images: int
    without: list[float]
    cached: list[float]
    stored: float
    kept: float

    @property
    def ratio(self) -> float:
        """Median over the pairs of passes of the time without over that with the cache."""
        return statistics.median(
            slow / fast for slow, fast in zip(self.without, self.cached, strict=True)
        )


def measure(
    options: ReadingOptions,
    *,
    kinds: Sequence[ImageKind] = KINDS,
    size: tuple[int, int] | None = None,
) -> list[ReadingResult]:
    """Write images of each kind, and read them for training with one core.

    The files are read from memory, where the system keeps them after the first pass.

    Args:
        options: How much is measured.
        kinds: What is measured.
        size: Height and width of the random crop, pixels; that of each recipe without.

    Raises:
        DepthFormerError: The images do not fit a recipe.
    """
    cv2.setNumThreads(0)
    results = []
    with tempfile.TemporaryDirectory(prefix="depthformer-reading-") as folder:
        for number, kind in enumerate(tqdm(kinds, desc="reading", unit="kind")):
            root = Path(folder) / str(number)
            dataset = write_images(kind, root, options.images)
            results += [
                _measure(kind, preset, dataset, root, options, size) for preset in kind.presets
            ]
    return results


def format_reading_table(results: Sequence[ReadingResult]) -> str:
    """Format results as a Markdown table."""
    rows = [
        "| images | size | recipe | images/s | images/s cached | ratio | MB | MB cached |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        speeds = [
            result.images / statistics.median(times) for times in (result.without, result.cached)
        ]
        stored = f"{result.stored / 1e6:.2f}" if result.stored else "-"
        rows.append(
            f"| {result.kind} | {result.height}x{result.width} | {result.preset} "
            f"| {speeds[0]:.1f} | {speeds[1]:.0f} | {result.ratio:.1f} "
            f"| {stored} | {result.kept / 1e6:.2f} |"
        )
    return "\n".join(rows)


def write_images(kind: ImageKind, root: Path, images: int) -> DepthDataset:
    """Write images of a kind; what is generated is not written.

    Args:
        kind: The kind.
        root: Folder for the files.
        images: Number of images.

    Returns:
        The images as a dataset.

    Raises:
        DepthFormerError: An image cannot be written.
    """
    streets = SyntheticDataset(part="train", camera=kind.camera)
    if not kind.image:
        return streets
    camera = kind.camera
    rng = np.random.default_rng(0)
    files = root / "files"
    files.mkdir(parents=True)
    sources = []
    for index in range(images):
        frame = streets[index]
        assert frame.depth is not None
        seen = rng.random(frame.depth.shape) < kind.density
        if kind.density < 1:
            seen[: int(camera.cy)] = False
        depth = np.where(seen, frame.depth, np.float32(0))
        image = files / f"{index}{kind.image}"
        if not cv2.imwrite(str(image), frame.rgb[..., ::-1]):
            raise DepthFormerError(f"cannot write {image}")
        if kind.depth_scale is None:
            truth = files / f"{index}.npy"
            np.save(truth, depth)
        else:
            truth = files / f"{index}.depth.png"
            write_depth_png(truth, depth, scale=kind.depth_scale)
        intrinsics = camera.fx, camera.fy, camera.cx, camera.cy
        sources.append(Source(image.name, image, truth, intrinsics))
    depth_format: DepthFormat = (
        NpyDepth() if kind.depth_scale is None else PngDepth(kind.depth_scale)
    )
    return DepthDataset(sources, name="folder", depth_format=depth_format)


def _measure(
    kind: ImageKind,
    preset: str,
    dataset: DepthDataset,
    root: Path,
    options: ReadingOptions,
    size: tuple[int, int] | None,
) -> ReadingResult:
    recipe = training_preset(preset)
    augmentation = recipe.augment
    if size is not None:
        augmentation = replace(augmentation, border="none", size=size)
    cache = root / preset
    without, cached = (
        TrainingSamples(
            dataset,
            model=recipe.model,
            augmentation=augmentation,
            far=recipe.far,
            seed=0,
            cache=folder,
        )
        for folder in (None, cache)
    )
    times: tuple[list[float], list[float]] = [], []
    for epoch in range(options.passes + 1):
        for samples, seconds in zip((without, cached), times, strict=True):
            # Time on the core: others may use the machine.
            start = time.process_time()
            for index in range(options.images):
                samples[epoch, index]
            seconds.append(time.process_time() - start)
    # The first pass fills the cache.
    return ReadingResult(
        kind.name,
        preset,
        kind.camera.height,
        kind.camera.width,
        options.images,
        times[0][1:],
        times[1][1:],
        _bytes(root / "files") / options.images,
        _bytes(cache) / options.images,
    )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@exit_on_error("reading")
def main() -> None:
    """Run the measurement from the command line."""
    print(format_reading_table(measure(tyro.cli(ReadingOptions))))


if __name__ == "__main__":
    main()
