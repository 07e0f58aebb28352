"""Speed and memory of training, beside a plain loop."""

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from depthformer_core.benchmark import machine
from depthformer_core.benchmark.process import BenchmarkProcess
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.device import peak_memory, resolve_device, resolve_precision
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.normalize import normalize
from depthformer_core.models import create_model
from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.ops.deformable_attention import ms_deform_attn, ms_deform_attn_reference
from depthformer_core.synthetic import STREET_CAMERA, Drive
from depthformer_core.training.batches import BatchSampler, load_batches, training_sample
from depthformer_core.training.config import TrainingConfig, TrainingData
from depthformer_core.training.losses import training_loss
from depthformer_core.training.presets import training_preset
from depthformer_core.training.trainer import Trainer

_DRIVE = "2011_09_26_drive_0001_sync"
_IMAGES = 8  # at least so many, and a batch
_SPACING = 9.0  # metres the camera drives between two images
_DENSITY = 0.16  # share of the pixels below the horizon that KITTI's annotated depth has
_SEED = 0


@dataclass(frozen=True)
class Run:
    """One iteration of a loop.

    Attributes:
        seconds: Its duration.
        waited: Seconds of that in which the network had no images.
        peak_memory: Largest memory of the loop's process so far, bytes: the GPU's, or resident on
            the CPU without the processes that read images.
    """

    seconds: float
    waited: float
    peak_memory: int


@dataclass(frozen=True)
class LoopTiming:
    """A loop's counted iterations.

    Attributes:
        runs: One an iteration.
    """

    runs: list[Run]

    @property
    def median(self) -> float:
        """Median iteration, seconds."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def data_wait(self) -> float:
        """Share of the time in which the network had no images."""
        return sum(run.waited for run in self.runs) / sum(run.seconds for run in self.runs)

    @property
    def peak_memory(self) -> int:
        """Largest memory, bytes."""
        return max(run.peak_memory for run in self.runs)


@dataclass(frozen=True)
class TrainingResult:
    """Measurements of one network's training.

    Attributes:
        preset: Name of the network.
        precision: Precision of the network.
        batch_size: Images of an iteration.
        height: Height of an image as the network gets it, pixels.
        width: Its width, pixels.
        ours: The loop of `train`.
        plain: A straightforward loop.
        grid_sample: The loop of `train`, with the usual implementation of the attention; on a GPU
            alone, since it takes a CPU minutes.
    """

    preset: str
    precision: str
    batch_size: int
    height: int
    width: int
    ours: LoopTiming
    plain: LoopTiming
    grid_sample: LoopTiming | None = None

    @property
    def speedup(self) -> float:
        """Median over the pairs of iterations of the plain loop's time over ours."""
        return self.ratio(self.plain)

    def ratio(self, loop: LoopTiming) -> float:
        """Compute the median over the pairs of iterations of a loop's time over ours."""
        pairs = zip(loop.runs, self.ours.runs, strict=True)
        return statistics.median(its.seconds / ours.seconds for its, ours in pairs)


def run_training_benchmark(
    presets: list[str],
    *,
    size: tuple[int, int] | None = None,
    batch_size: int = 1,
    runs: int = 5,
    workers: int = 4,
    device: str = "auto",
    precision: str = "auto",
) -> list[TrainingResult]:
    """Time iterations of training on generated images in KITTI's layout.

    All loops read the same PNG files and train the same network from the same start with the
    same augmentation and loss. The plain one reads and augments between its iterations and has
    the optimizer of PyTorch's defaults. They run in turns, an iteration after another.

    Args:
        presets: Names of networks.
        size: Height and width of the random crop, pixels; that of each preset's recipe without.
        batch_size: Images of an iteration.
        runs: Counted iterations of each loop, after one that is not counted.
        workers: Processes that read images for our loop.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32 or bfloat16.

    Returns:
        One result a preset, in order.

    Raises:
        DepthFormerError: An argument is out of range, the images are too small for a crop, or a
            process failed; the message names the reason.
    """
    if runs < 1 or workers < 1:
        raise DepthFormerError(f"runs and workers must be positive, got {runs} and {workers}")
    if batch_size < 1:
        raise DepthFormerError(f"batch_size must be positive, got {batch_size}")
    target = resolve_device(device)
    numbers = resolve_precision(precision, target)
    loops = {"ours": _prepare_ours, "plain": _prepare_plain}
    if target.type == "cuda":
        loops["grid_sample"] = _prepare_grid_sample
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = TrainingData(root=root, name="kitti_eigen", workers=workers)
        setups = []
        for preset in presets:
            recipe = _recipe(preset, size=size, batch_size=batch_size)
            config = replace(recipe, data=data, device=device, precision=numbers)
            setups.append(_Setup(preset, config, runs + 1))
        write_drive(root, images=max(_IMAGES, batch_size))
        for setup in setups:
            _Images(setup.config)[0]  # reports a crop that does not fit before anything is timed
        total = len(presets) * len(loops) * (runs + 1)
        with tqdm(total=total, unit="iteration", file=sys.stderr) as progress:
            for setup in setups:
                progress.set_description(setup.preset)
                measured: dict[str, list[Run]] = {name: [] for name in loops}
                with contextlib.ExitStack() as stack:
                    baselines = {
                        name: stack.enter_context(BenchmarkProcess(prepare, setup))
                        for name, prepare in loops.items()
                    }
                    for _ in range(runs + 1):
                        for name, baseline in baselines.items():
                            measured[name].append(baseline.run())
                            progress.update()
                timings = {name: LoopTiming(list_[1:]) for name, list_ in measured.items()}
                crop = setup.config.augment.size
                results.append(
                    TrainingResult(
                        setup.preset,
                        numbers,
                        batch_size,
                        *crop,
                        timings["ours"],
                        timings["plain"],
                        timings.get("grid_sample"),
                    )
                )
    return results


def write_drive(root: Path, *, images: int) -> None:
    """Write a generated drive in the layout of the release's KITTI folder.

    Args:
        root: Folder that gets `input` and `gt_depth`.
        images: Images to write, 1242x375, with truth as sparse as KITTI's.
    """
    drive = Drive(_SEED, frames=images, rate=1.0, speed=_SPACING, traffic=False)
    rng = np.random.default_rng(_SEED)
    pictures = root / "input" / _DRIVE[:10] / _DRIVE / "image_02" / "data"
    truths = root / "gt_depth" / _DRIVE / "proj_depth" / "groundtruth" / "image_02"
    for index in range(images):
        rgb, depth = drive.picture(index)
        seen = rng.random(depth.shape) < _DENSITY
        seen[: int(STREET_CAMERA.cy)] = False
        for folder in (pictures, truths):
            folder.mkdir(parents=True, exist_ok=True)
        write_png(pictures / f"{index:010}.png", rgb)
        write_depth_png(truths / f"{index:010}.png", np.where(seen, depth, 0.0), scale=256)


def format_training_table(results: list[TrainingResult]) -> str:
    """Format results as a Markdown table."""
    rows = [
        "| preset | precision | batch | crop | loop | images/s | median s | waiting for images "
        "| peak memory GB | ratio |",
        "| --- | --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        loops = {"ours": result.ours, "plain": result.plain, "grid_sample": result.grid_sample}
        for name, timing in loops.items():
            if timing is None:
                continue
            ratio = result.ratio(timing)
            rows.append(
                f"| {result.preset} | {result.precision} | {result.batch_size} "
                f"| {result.height}x{result.width} | {name} "
                f"| {result.batch_size / timing.median:.3f} | {timing.median:.3f} "
                f"| {timing.data_wait:.1%} | {timing.peak_memory / 1e9:.2f} | {ratio:.2f} |"
            )
    return "\n".join(rows)


def training_to_json(results: list[TrainingResult]) -> str:
    """Write results and the machine as JSON."""
    rows = [
        {
            **asdict(result),
            "ours_images_per_second": result.batch_size / result.ours.median,
            "plain_images_per_second": result.batch_size / result.plain.median,
            "ours_data_wait": result.ours.data_wait,
            "plain_data_wait": result.plain.data_wait,
            "ours_peak_memory": result.ours.peak_memory,
            "plain_peak_memory": result.plain.peak_memory,
            "speedup": result.speedup,
        }
        for result in results
    ]
    return json.dumps({"machine": machine(), "results": rows}, indent=2)


@dataclass(frozen=True)
class _Setup:
    """Arguments of all loops."""

    preset: str
    config: TrainingConfig
    iterations: int


def _recipe(preset: str, *, size: tuple[int, int] | None, batch_size: int) -> TrainingConfig:
    config = training_preset(preset)
    augmentation = config.augment if size is None else replace(config.augment, size=size)
    optim = replace(config.optim, batch_size=batch_size)
    return replace(config, augment=augmentation, optim=optim)


def _prepare_grid_sample(setup: _Setup) -> Callable[[], Run]:
    return _prepare_ours(setup, attend=ms_deform_attn_reference)


def _prepare_ours(
    setup: _Setup, *, attend: Callable[..., Tensor] = ms_deform_attn
) -> Callable[[], Run]:
    config = setup.config
    device = resolve_device(config.device)
    torch.manual_seed(_SEED)
    model = create_model(setup.preset)
    for module in model.modules():
        if isinstance(module, DeformableAttention):
            module.attend = attend
    trainer = Trainer(
        model,
        config.optim,
        device=device,
        precision=resolve_precision(config.precision, device),
        seed=_SEED,
    )
    dataset = config.data.open()
    sampler = BatchSampler(
        len(dataset), batch_size=config.optim.batch_size, seed=_SEED, start=0, end=setup.iterations
    )
    batches = iter(
        load_batches(
            dataset,
            model=config.model,
            augmentation=config.augment,
            far=config.far,
            sampler=sampler,
            workers=config.data.workers,
            pin_memory=device.type == "cuda",
        )
    )

    def run() -> Run:
        start = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        trainer.step([batch])
        return _measure(start, ready, device)

    return run


def _prepare_plain(setup: _Setup) -> Callable[[], Run]:
    config = setup.config
    device = resolve_device(config.device)
    half = resolve_precision(config.precision, device) == "bfloat16"
    torch.manual_seed(_SEED)
    model = create_model(setup.preset).to(device).train()
    optim = config.optim
    optimizer = AdamW(
        model.parameters(), lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay
    )
    batches = _endless(
        DataLoader(_Images(config), batch_size=optim.batch_size, shuffle=True, drop_last=True)
    )

    def run() -> Run:
        start = time.perf_counter()
        image, truth = next(batches)
        ready = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            maps = model(image.to(device))
        loss = training_loss(maps, truth.to(device), name=optim.loss)
        loss.backward()
        clip_grad_norm_(model.parameters(), optim.max_grad_norm)
        optimizer.step()
        loss.item()
        return _measure(start, ready, device)

    return run


def _measure(start: float, ready: float, device: torch.device) -> Run:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Run(time.perf_counter() - start, ready - start, peak_memory(device))


class _Images(Dataset[tuple[Tensor, Tensor]]):
    """Normalised images and their truth, computed on access."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.dataset = config.data.open()
        self.rng = np.random.default_rng(_SEED)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels, depth = training_sample(
            self.dataset[index],
            model=self.config.model,
            augmentation=self.config.augment,
            far=self.config.far,
            rng=self.rng,
        )
        return normalize(torch.from_numpy(pixels)), torch.from_numpy(depth)[None]


def _endless(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
