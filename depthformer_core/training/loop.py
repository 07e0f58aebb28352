"""A training run, from its configuration to a folder with weights."""

import contextlib
import json
import signal
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depthformer_core.checkpoint import CheckpointError, conversion_note, save_checkpoint
from depthformer_core.data.check import check_files
from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.data.split import describe_frames
from depthformer_core.device import peak_memory, resolve_device, resolve_precision
from depthformer_core.distributed import any_process, process_group, rank, world_size
from depthformer_core.errors import DepthFormerError, first_line
from depthformer_core.evaluation.protocol import Protocol, choose_protocol
from depthformer_core.files import read_json, replacing
from depthformer_core.signals import RecordedSignals
from depthformer_core.training.batches import Batch, BatchSampler, load_batches, training_sample
from depthformer_core.training.cache import cache_note
from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.description import describe_part, describe_run, different_options
from depthformer_core.training.distributed import share_batch_norm
from depthformer_core.training.log import RunLog
from depthformer_core.training.start import start_network
from depthformer_core.training.trainer import NonFiniteError, Step, Trainer
from depthformer_core.training.validation import validate

STATE = "state.safetensors"
BEST = "best.safetensors"
MODEL = "model.safetensors"
RUN = "run.json"

# After so many iterations without a gradient, the network has died.
_DEAD_ITERATIONS = 50
_NO_GRADIENT = 1e-6
_DEEPEST_STRIDE = 32  # pixels of an image for one of the last Swin stage


class TrainingInterrupted(Exception):  # noqa: N818  # requested, no error
    """A signal ended a run; its state is saved.

    Attributes:
        signal: Its number.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number


class DeadNetworkError(DepthFormerError):
    """The gradient has vanished: the network no longer learns. The last state saved is kept."""


def train(config: TrainingConfig, *, dataset: DepthDataset | None = None) -> Path:
    """Train a network.

    Writes to `config.output`: `model.safetensors`, the trained network; `best.safetensors`, that
    of the lowest mean AbsRel; `state.safetensors`, to resume from; `metrics.jsonl`; TensorBoard's
    files; `run.json`, configuration and versions. Under `torchrun` all processes work on
    one run.

    Args:
        config: The run.
        dataset: Images to train on; None for those that `config.data` names.

    Returns:
        The trained network's file.

    Raises:
        DepthFormerError: Data, weights or options do not fit; before the first iteration where that
            can be seen.
        NonFiniteError: A loss is not finite. The state before it is saved.
        DeadNetworkError: There was no gradient for 50 iterations.
        TrainingInterrupted: SIGTERM or SIGINT came. The state is saved.
        CheckpointError: A file cannot be written or read.
    """
    with process_group(resolve_device(config.device)) as device, RecordedSignals() as signals:
        run = _Run(config, dataset=dataset, device=device, signals=signals)
        run.complete()
    return config.output / MODEL


class _Run:
    """The parts of a run, put together and checked."""

    def __init__(
        self,
        config: TrainingConfig,
        *,
        dataset: DepthDataset | None,
        device: torch.device,
        signals: RecordedSignals,
    ) -> None:
        self.config = config
        self.signals = signals
        self.device = device
        self.precision = resolve_precision(config.precision, device)
        optim = config.optim
        shares = world_size() * optim.grad_accumulation_steps
        if optim.batch_size % shares:
            raise DepthFormerError(
                f"optim.batch_size {optim.batch_size} cannot be shared by {world_size()} processes "
                f"with optim.grad_accumulation_steps {optim.grad_accumulation_steps}"
            )
        self.share = optim.batch_size // shares
        alone = self.share == 1 and not (optim.sync_batch_norm and world_size() > 1)
        if alone and config.model.norm == "batch" and max(config.augment.size) <= _DEEPEST_STRIDE:
            height, width = config.augment.size
            raise DepthFormerError(
                f"crops of {width}x{height} pixels leave BatchNorm a single pixel at the deepest "
                "stage: take a larger --augment.size, or more images at a time (--optim.batch-size)"
            )
        self._check_output()
        self.dataset = config.data.open() if dataset is None else dataset
        self.split = config.data.split if dataset is None else None
        self.validation = config.val.open(config.data)
        description = describe_run(config, self.dataset)
        if config.resume:
            self._check_resumed(description)
        self._check_data()
        self.trainer = Trainer(
            start_network(config),
            optim,
            device=device,
            precision=self.precision,
            seed=config.seed,
        )
        if config.resume:
            self.trainer.load(config.output / STATE)
        self._iterations_without_gradient = 0
        if rank() == 0:
            config.output.mkdir(parents=True, exist_ok=True)
            with replacing(config.output / RUN) as temporary:
                temporary.write_text(json.dumps(description, indent=2) + "\n")

    def complete(self) -> None:
        """Run the remaining iterations."""
        with contextlib.ExitStack() as stack:
            log = None
            if rank() == 0:
                log = stack.enter_context(
                    RunLog(
                        self.config.output,
                        done=self.trainer.progress.iteration,
                        iterations=self.config.optim.iterations,
                        batch_size=self.config.optim.batch_size,
                    )
                )
                log.info(self._headline())
                if note := conversion_note(Path(self.config.weights)):
                    log.info(note)
            batches = stack.enter_context(contextlib.closing(self._batches()))
            try:
                self._iterate(batches, log)
            except (TrainingInterrupted, CheckpointError, DeadNetworkError):
                raise
            except BaseException as error:
                if self.trainer.consistent:
                    self._save()
                if self.signals.came:
                    # The signal went to the reading processes too, and they died of it.
                    raise self._interruption() from error
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise DepthFormerError(
                        f"the GPU has too little memory: {first_line(error)} Try "
                        "--activation-checkpointing, more --optim.grad-accumulation-steps or "
                        "a smaller --optim.batch-size"
                    ) from error
                raise
            if log is not None:
                save_checkpoint(self.config.output / MODEL, self.trainer.eval_model)
                log.info(
                    f"Wrote {self.config.output / MODEL}; {log.data_wait:.1%} of the time was "
                    "spent waiting for images"
                )

    def _iterate(self, batches: Iterator[Batch], log: RunLog | None) -> None:
        config, trainer = self.config, self.trainer
        moved = False
        while True:
            done = trainer.progress.iteration
            last = done == config.optim.iterations
            # An evaluation that a signal interrupted is repeated.
            if (
                self.validation is not None
                and trainer.progress.evaluated < done
                and (last or done % config.val.every == 0)
            ):
                self._validate(self.validation, log)
            if any_process(bool(self.signals.came)):
                self._save()
                raise self._interruption()
            if moved and (last or done % config.save_every == 0):
                self._save()
            if last:
                if self._iterations_without_gradient:
                    raise self._death()
                return
            self._step(batches, log)
            moved = True

    def _step(self, batches: Iterator[Batch], log: RunLog | None) -> None:
        """Run one iteration, or skip its batch."""
        began = time.perf_counter()
        parts = [next(batches) for _ in range(self.config.optim.grad_accumulation_steps)]
        waited = time.perf_counter() - began
        try:
            step = self.trainer.step(parts)
        except NonFiniteError as error:
            if not self.config.skip_nonfinite:
                raise
            self.trainer.skip()
            if log is not None:
                log.skipped(self.trainer.progress.iteration, str(error))
            return
        if log is not None:
            seconds = time.perf_counter() - began
            memory = peak_memory(self.device) / 1e9
            log.step(step, seconds=seconds, waited=waited, memory=memory)
        self._check_alive(step)

    def _check_alive(self, step: Step) -> None:
        """Stop a run that no longer learns, before its state replaces a better one."""
        self._iterations_without_gradient = (
            self._iterations_without_gradient + 1 if step.gradient_norm < _NO_GRADIENT else 0
        )
        if self._iterations_without_gradient >= _DEAD_ITERATIONS:
            raise self._death(f", loss {step.loss:.3f}")

    def _death(self, loss: str = "") -> DeadNetworkError:
        state = self.config.output / STATE
        kept = f"{state} is of before; " if state.exists() else ""
        first = self.trainer.progress.iteration - self._iterations_without_gradient + 1
        return DeadNetworkError(
            f"the network has died: no gradient since iteration {first}{loss}; {kept}start again "
            f"with a lower --optim.lr than {self.config.optim.lr:g}, or a longer --optim.warm-up "
            f"than {self.config.optim.warm_up}"
        )

    def _interruption(self) -> TrainingInterrupted:
        # Where only another process got the signal, it was the one that stops services.
        number = self.signals.came or signal.SIGTERM
        done = self.trainer.progress.iteration
        stopped = f"stopped by {signal.Signals(number).name} after iteration {done}"
        if self._iterations_without_gradient:
            first = done - self._iterations_without_gradient + 1
            return TrainingInterrupted(
                number,
                f"{stopped}, without a gradient since iteration {first}, so the state "
                "was not written: the one before, if there is one, was kept",
            )
        return TrainingInterrupted(number, f"{stopped}; the same command with --resume goes on")

    def _batches(self) -> Generator[Batch, None, None]:
        config = self.config
        steps = config.optim.grad_accumulation_steps
        sampler = BatchSampler(
            len(self.dataset),
            batch_size=self.share,
            seed=config.seed,
            start=self.trainer.progress.iteration * steps,
            end=config.optim.iterations * steps,
        )
        loader = load_batches(
            self.dataset,
            model=config.model,
            augmentation=config.augment,
            far=config.far,
            sampler=sampler,
            workers=config.data.workers,
            pin_memory=self.device.type == "cuda",
            cache=config.data.cache,
        )
        try:
            batches = iter(loader)
            self.signals.ignore_child_exits()
            yield from batches
        except DatasetError as error:
            # A worker's error comes with its traceback; the last line is the error.
            *_, line = str(error).strip().splitlines()
            raise DatasetError(
                line.removeprefix(f"{DatasetError.__module__}.DatasetError: ")
            ) from None

    def _validate(self, dataset: DepthDataset, log: RunLog | None) -> None:
        """Evaluate the network; keep it if it is the best. A signal ends it without a result."""
        share_batch_norm(self.trainer.eval_model)
        validation = validate(
            self.trainer.eval_model,
            dataset,
            protocol=self._protocol(dataset),
            device=self.device,
            flip=self.config.val.flip,
            stop=lambda: bool(self.signals.came),
        )
        self.trainer.model.train()
        if validation is None:
            return
        done = self.trainer.progress.iteration
        best = self.trainer.record(validation.mean["abs_rel"])
        if log is not None:
            log.evaluation(done, validation.mean, validation.pictures)
            if best:
                save_checkpoint(self.config.output / BEST, self.trainer.eval_model)

    def _protocol(self, dataset: DepthDataset) -> Protocol:
        return choose_protocol(dataset.name, **self.config.val.protocol_changes)

    def _save(self) -> None:
        """Write the state, unless the gradient has vanished: that before is better."""
        if rank() == 0 and not self._iterations_without_gradient:
            self.trainer.save(self.config.output / STATE)

    def _headline(self) -> str:
        millions = sum(p.numel() for p in self.trainer.model.parameters()) / 1e6
        train = describe_frames(len(self.dataset), self.split)
        if isinstance(self.dataset, MixedDataset):
            train += f" a pass ({', '.join(describe_part(part) for part in self.dataset.parts)})"
        validation = ""
        if self.validation is not None:
            evaluated = describe_frames(len(self.validation), self.config.val.split)
            validation = f", {evaluated}, to evaluate on"
        return (
            f"{millions:.1f} M parameters, {self.precision} on {self.device} in {world_size()} "
            f"process(es); {train}, to train on{validation}; logs in {self.config.output}"
            f"{cache_note(self.config, self.dataset)}"
        )

    def _check_output(self) -> None:
        config = self.config
        state = config.output / STATE
        if not config.resume:
            if state.exists():
                raise DepthFormerError(
                    f"{config.output} holds a run already: go on with it by --resume, or name "
                    "another --output"
                )
            return
        if not state.exists():
            raise DepthFormerError(
                f"there is no run to resume in {config.output}: {state} is missing"
            )

    def _check_resumed(self, description: dict[str, Any]) -> None:
        path = self.config.output / RUN
        before = read_json(path, kind="description")
        if not isinstance(before.get("config"), dict):
            raise DepthFormerError(f"{path} describes no run: it has no config")
        different = different_options(before, description)
        if different:
            raise DepthFormerError(
                f"{self.config.output} was begun with other options: {different}"
            )

    def _check_data(self) -> None:
        """Check every file, and augment an image of each dataset."""
        config = self.config
        shown = rank() == 0
        check_files(self.dataset, progress=shown)
        datasets = [self.dataset]
        if isinstance(self.dataset, MixedDataset):
            datasets = [part.dataset for part in self.dataset.parts]
        for dataset in datasets:
            training_sample(
                dataset[0],
                model=config.model,
                augmentation=config.augment,
                far=config.far,
                rng=np.random.default_rng(0),
            )
        if self.validation is None:
            return
        self._protocol(self.validation)
        check_files(self.validation, progress=shown)
        shared = self._trained_files() & set(self.validation.files)
        if shared:
            raise DepthFormerError(
                f"{len(shared)} of the {len(self.validation)} images to evaluate on are trained "
                f"on, such as {min(shared)}: name --val.split FILE, or set --val.every 0 to train "
                "without"
            )

    def _trained_files(self) -> set[str]:
        """Return the names of the training images in the folder of those to evaluate on."""
        config = self.config
        folder = config.val.root or config.data.root
        if not isinstance(self.dataset, MixedDataset):
            return set(self.dataset.files) if folder == config.data.root else set()
        return {
            file
            for part in self.dataset.parts
            if _same(config.data.root if part.entry is None else part.entry.root, folder)
            for file in part.dataset.files
        }


def _same(folder: Path | None, other: Path | None) -> bool:
    if folder is None or other is None:
        return folder is other
    return folder.resolve() == other.resolve()
