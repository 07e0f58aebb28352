"""Count of runs that die at the start: `python -m depthformer_core.studies.convergence`.

A network predicts `min_depth` everywhere and has no gradient if its last ReLU gets only negative
values. The loss then stays near 3, whatever the images.
"""

import json
import math
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import nn
from tqdm import tqdm

from depthformer_core.data.augment import Augmentation, augment
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.files import replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.normalize import normalize
from depthformer_core.models import DepthFormer, create_model
from depthformer_core.synthetic import STREET_CAMERA, Drive
from depthformer_core.training.batches import Batch
from depthformer_core.training.config import Optimization
from depthformer_core.training.trainer import Trainer

_FRAMES = 8
_SPACING = 20.0  # metres between two frames
_MARGIN = 1.2  # size of a frame in units of the crop
_LAST = 5  # iterations that the final loss is the mean of
_STUCK = 0.99  # share of pixels at min_depth from which a network is as good as dead


def start_as_release(model: DepthFormer) -> None:
    """Draw the last convolution's bias as PyTorch does, uniformly around zero."""
    bound = 1 / math.sqrt(model.head.weight[0].numel())
    assert model.head.bias is not None
    nn.init.uniform_(model.head.bias, -bound, bound)


def start_pytorch_decoder(model: DepthFormer) -> None:
    """Draw the decoder as PyTorch does, and keep the last bias above zero."""
    for module in model.decoder.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()


def start_as_pytorch(model: DepthFormer) -> None:
    """Draw decoder and last bias as PyTorch does."""
    start_pytorch_decoder(model)
    start_as_release(model)


STARTS: dict[str, Callable[[DepthFormer], None] | None] = {
    "release": start_as_release,
    "PyTorch": start_as_pytorch,
    "PyTorch, bias above zero": start_pytorch_decoder,
    "ours": None,
}
"""Initialisations by name; None for the network's own, with a last bias above zero."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        start: Name of the start.
        seed: Seed of weights, images and order.
        min_depth_before: Share of the pixels of all frames that had `min_depth` before training.
        min_depth_after: The same after it.
        first_loss: Loss of the first iteration.
        last_loss: Mean loss of the last five.
        died: Whether every pixel has `min_depth` in the end, and the last gradient was zero.
    """

    start: str
    seed: int
    min_depth_before: float
    min_depth_after: float
    first_loss: float
    last_loss: float
    died: bool

    @property
    def stuck(self) -> bool:
        """Whether nearly all pixels are dead in the end."""
        return self.min_depth_after >= _STUCK


@dataclass(frozen=True, kw_only=True)
class ConvergenceOptions:
    """Count the runs that die at the start, for our start and the release's."""

    preset: str = "debug"
    """Network to train."""
    seeds: int = 20
    """Runs of each start."""
    iterations: int = 60
    """Iterations of each run; a third of them is the warm-up, as in the release's recipe."""
    lr: float = 5e-4
    """Peak of the cosine that the learning rate follows."""
    no_warm_up: bool = False
    """Start at the peak."""
    size: tuple[int, int] = (64, 128)
    """Height and width of the images, pixels."""
    batch_size: int = 2
    """Images of an iteration."""
    output: Path | None = None
    """JSON file to write the outcomes to."""

    def __post_init__(self) -> None:
        """Reject values no run can be made with."""
        if self.seeds < 1 or not 1 <= self.batch_size <= _FRAMES:
            raise DepthFormerError(
                f"seeds must be positive and batch_size 1 to {_FRAMES}, "
                f"got {self.seeds} and {self.batch_size}"
            )

    @property
    def optim(self) -> Optimization:
        """Optimizer and loss of the run."""
        return Optimization(
            iterations=self.iterations,
            batch_size=self.batch_size,
            lr=self.lr,
            warm_up=0 if self.no_warm_up else self.iterations // 3,
        )


def train_from(start: str, seed: int, *, options: ConvergenceOptions) -> Outcome:
    """Train a network on a generated drive.

    Args:
        start: One of `STARTS`.
        seed: Seed of weights, images and order; with it, all starts see the same images.
        options: The run.

    Raises:
        DepthFormerError: The start or the preset is unknown.
    """
    if start not in STARTS:
        raise DepthFormerError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    torch.manual_seed(seed)
    model = create_model(options.preset)
    if (initialise := STARTS[start]) is not None:
        initialise(model)
    trainer = Trainer(model, options.optim, device=torch.device("cpu"), seed=seed)
    batches = _batches(options, seed)
    before = _dead_share(model, batches)
    steps = [trainer.step([batches[i % len(batches)]]) for i in range(options.iterations)]
    after = _dead_share(model, batches)
    return Outcome(
        start=start,
        seed=seed,
        min_depth_before=before,
        min_depth_after=after,
        first_loss=steps[0].loss,
        last_loss=statistics.mean(step.loss for step in steps[-_LAST:]),
        died=after == 1.0 and steps[-1].gradient_norm == 0.0,
    )


def count_deaths(options: ConvergenceOptions) -> list[Outcome]:
    """Train every start with every seed, one core a run.

    Raises:
        DepthFormerError: The preset is unknown.
    """
    # Forked processes would inherit locks of threads that do not exist in them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as executor:
        runs = [
            executor.submit(train_from, start, seed, options=options)
            for start in STARTS
            for seed in range(options.seeds)
        ]
        return [run.result() for run in tqdm(runs, unit="run", file=sys.stderr)]


def format_outcomes(outcomes: Sequence[Outcome]) -> str:
    """Format outcomes as a Markdown table."""
    rows = [
        "| start | runs | died | stuck | at min_depth before | after | first loss | last loss "
        "| last loss of the stuck |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for start in dict.fromkeys(outcome.start for outcome in outcomes):
        runs = [outcome for outcome in outcomes if outcome.start == start]
        stuck = [outcome.last_loss for outcome in runs if outcome.stuck]
        living = [outcome.last_loss for outcome in runs if not outcome.stuck]
        rows.append(
            f"| {start} | {len(runs)} | {sum(outcome.died for outcome in runs)} | {len(stuck)} "
            f"| {statistics.mean(outcome.min_depth_before for outcome in runs):.0%} "
            f"| {statistics.mean(outcome.min_depth_after for outcome in runs):.0%} "
            f"| {statistics.median(outcome.first_loss for outcome in runs):.2f} "
            f"| {_median(living)} | {_median(stuck)} |"
        )
    return "\n".join(rows)


@exit_on_error("convergence")
def main() -> None:
    """Run the study from the command line."""
    options = tyro.cli(ConvergenceOptions)
    outcomes = count_deaths(options)
    print(format_outcomes(outcomes))
    if options.output is not None:
        content = {
            "options": {**asdict(options), "output": None},
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def _batches(options: ConvergenceOptions, seed: int) -> list[Batch]:
    """Make batches of augmented frames of a generated drive."""
    height, width = options.size
    camera = _small_camera(math.ceil(height * _MARGIN), math.ceil(width * _MARGIN))
    drive = Drive(seed, frames=_FRAMES, camera=camera, rate=1.0, speed=_SPACING, traffic=False)
    rng = np.random.default_rng(seed)
    augmentation = Augmentation(border="none", size=options.size)
    samples = []
    for index in range(_FRAMES):
        rgb, depth = drive.picture(index)
        truth = np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
        samples.append(augment(rgb, truth, augmentation=augmentation, rng=rng))
    batches = []
    for first in range(0, _FRAMES - options.batch_size + 1, options.batch_size):
        pixels, truths = zip(*samples[first : first + options.batch_size], strict=True)
        batches.append(
            Batch(
                torch.from_numpy(np.stack(pixels)),
                torch.from_numpy(np.stack(truths))[:, None],
                tuple(f"frame {first + i} of drive {seed}" for i in range(len(pixels))),
            )
        )
    return batches


def _small_camera(height: int, width: int) -> Camera:
    """Return KITTI's camera with fewer pixels and about the same view."""
    scale = width / STREET_CAMERA.width
    focal = STREET_CAMERA.fx * scale
    return Camera(width, height, focal, focal, width / 2, height / 2)


def _dead_share(model: DepthFormer, batches: Sequence[Batch]) -> float:
    """Compute the share of the pixels for which a network in training predicts `min_depth`."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        depth = torch.cat([model(normalize(batch.pixels)) for batch in batches])
        # The forward pass changed BatchNorm's statistics.
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return (depth <= model.config.min_depth).float().mean().item()


def _median(losses: Sequence[float]) -> str:
    return f"{statistics.median(losses):.2f}" if losses else "-"


if __name__ == "__main__":
    main()
