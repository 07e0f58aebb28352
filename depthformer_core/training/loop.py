"""A training run, from its configuration to a folder with weights."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from depthformer_core.checkpoint import CheckpointError, conversion_note, save_checkpoint
from depthformer_core.data.dataset import DatasetError, DepthDataset, Frames, as_dataset
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.data.split import describe_frames
from depthformer_core.device import peak_memory, resolve_device, resolve_precision
from depthformer_core.distributed import any_process, process_group, rank, world_size
from depthformer_core.errors import DepthFormerError, first_line
from depthformer_core.evaluation.tally import Evaluation
from depthformer_core.files import replacing
from depthformer_core.signals import RecordedSignals
from depthformer_core.training.batches import Augment, Batch, BatchSampler, load_batches
from depthformer_core.training.cache import cache_note
from depthformer_core.training.checkpoints import keep_checkpoint
from depthformer_core.training.checks import (
    check_crop,
    check_data,
    check_output,
    check_resumed,
    images_at_a_time,
    validation_protocol,
)
from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.description import describe_part, describe_run
from depthformer_core.training.distributed import share_batch_norm
from depthformer_core.training.given import Given
from depthformer_core.training.log import RunLog
from depthformer_core.training.losses import Loss
from depthformer_core.training.repetition import describe_repetition, read_description
from depthformer_core.training.report import write_run_report
from depthformer_core.training.start import start_network
from depthformer_core.training.trainer import NonFiniteError, Step, Trainer
from depthformer_core.training.validation import validate
from depthformer_core.types import Json

STATE = "state.safetensors"
BEST = "best.safetensors"
MODEL = "model.safetensors"
RUN = "run.json"
CHECKPOINTS = "checkpoints"

# After so many iterations without a gradient, the network has died.
_DEAD_ITERATIONS = 50
_NO_GRADIENT = 1e-6


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


def train(
    config: TrainingConfig,
    *,
    dataset: Frames | None = None,
    validation: Frames | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    log: Callable[[dict[str, Json]], object] | None = None,
    repeats: Path | None = None,
) -> Path:
    """Train a network.

    Writes to `config.output`: `model.safetensors`, the trained network; `best.safetensors`, that
    of the lowest mean AbsRel; `state.safetensors`, to resume from; `metrics.jsonl`; TensorBoard's
    files; `run.json`, configuration and versions; `report.html`, the last evaluation with the
    curves of the run. Under `torchrun` all processes work on one run.

    Args:
        config: The run.
        dataset: Images to train on; None for those that `config.data` names.
        validation: Images to evaluate on every `config.val.every` iterations; None for those that
            `config.val` names.
        loss: Loss to train with instead of `config.optim.loss`. Takes predicted depth and truth,
            float32 (B, 1, H, W), metres, 0 where there is no truth; returns a scalar.
        augment: Augmentation to use instead of `config.augment`, see `Augment`.
        log: Called by the first process with each object of `metrics.jsonl`, such as `wandb.log`.
        repeats: Description, `run.json`, of a run that this one repeats: the log says what differs.
            Without effect on a run that is resumed.

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
    given = Given(
        dataset=None if dataset is None else as_dataset(dataset),
        validation=None if validation is None else as_dataset(validation),
        loss=loss,
        augment=augment,
    )
    with process_group(resolve_device(config.device)) as device, RecordedSignals() as signals:
        run = _Run(config, given=given, device=device, signals=signals, log=log)
        if repeats is not None and not config.resume:
            run.notes.append(describe_repetition(repeats, run.description))
        run.complete()
    return config.output / MODEL


class _Run:
    """The parts of a run, put together and checked."""

    def __init__(
        self,
        config: TrainingConfig,
        *,
        given: Given,
        device: torch.device,
        signals: RecordedSignals,
        log: Callable[[dict[str, Json]], object] | None,
    ) -> None:
        self.config = config
        self.signals = signals
        self.device = device
        self.precision = resolve_precision(config.precision, device)
        self.share = images_at_a_time(config)
        self.augmentation = config.augment if given.augment is None else given.augment
        if given.augment is None:
            check_crop(config)
        if given.loss is not None and config.optim.mean_only:
            raise DepthFormerError(
                f"optim.mean_only {config.optim.mean_only} belongs to the loss silog, not to one "
                "of your own"
            )
        state = config.output / STATE
        check_output(config.output, state, resume=config.resume)
        self.dataset = config.data.open() if given.dataset is None else given.dataset
        self.split = config.data.split if given.dataset is None else None
        self.validation = given.open_validation(config)
        self.description = describe_run(config, self.dataset, own=given.names)
        before = read_description(config.output / RUN) if config.resume else None
        if before is not None:
            check_resumed(config.output, before, self.description)
        check_data(config, self.dataset, self.validation, augmentation=self.augmentation)
        self.trainer = Trainer(
            start_network(config),
            config.optim,
            device=device,
            precision=self.precision,
            seed=config.seed,
            loss=given.loss,
            compile=config.compile,
        )
        self.notes: list[str] = []
        if before is not None:
            self.trainer.load(state)
            self._lengthen(before)
        self._hook = log
        self._evaluation: Evaluation | None = None
        self._iterations_without_gradient = 0
        if rank() == 0:
            config.output.mkdir(parents=True, exist_ok=True)
            with replacing(config.output / RUN) as temporary:
                temporary.write_text(json.dumps(self.description, indent=2) + "\n")

    def _lengthen(self, before: Mapping[str, Any]) -> None:
        """Describe how a run that is resumed became longer, if it did."""
        lengthened = list(before.get("lengthened", []))
        iterations = self.config.optim.iterations
        planned = before["config"]["optim"]["iterations"]
        done = self.trainer.progress.iteration
        if planned != iterations:
            lengthened.append({"after": done, "from": planned, "to": iterations})
            self.notes.append(
                f"lengthened from {planned} to {iterations} iterations: the learning rate goes on "
                f"at {self.trainer.lr:.3g}, where the schedule of {iterations} is after {done}"
            )
        if lengthened:
            self.description["lengthened"] = lengthened

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
                        hook=self._hook,
                    )
                )
                log.info(self._headline())
                for note in self.notes:
                    log.info(note)
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
                written = [MODEL]
                if self._evaluation is not None:
                    assert self.validation is not None
                    written += write_run_report(
                        self.config,
                        self._evaluation,
                        training=self.dataset,
                        validation=self.validation,
                        device=self.device,
                    )
                log.info(
                    f"Wrote {', '.join(written)} to {self.config.output}; {log.data_wait:.1%} of "
                    "the time was spent waiting for images"
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
                self._validate(self.validation, log, last=last)
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
            augmentation=self.augmentation,
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

    def _validate(self, dataset: DepthDataset, log: RunLog | None, *, last: bool) -> None:
        """Evaluate the network; keep it if it is the best. A signal ends it without a result."""
        share_batch_norm(self.trainer.eval_model)
        validation = validate(
            self.trainer.eval_model,
            dataset,
            protocol=validation_protocol(self.config.val, dataset),
            device=self.device,
            flip=self.config.val.flip,
            detailed=last,
            stop=lambda: bool(self.signals.came),
        )
        self.trainer.model.train()
        if validation is None:
            return
        self._evaluation = validation.evaluation
        done = self.trainer.progress.iteration
        best = self.trainer.record(validation.mean["abs_rel"])
        if log is not None:
            log.evaluation(done, validation.mean, validation.pictures)
            if best:
                save_checkpoint(self.config.output / BEST, self.trainer.eval_model)

    def _save(self) -> None:
        """Write the state, unless the gradient has vanished: that before is better."""
        if rank() == 0 and not self._iterations_without_gradient:
            self.trainer.save(self.config.output / STATE)
            if self.config.keep:
                keep_checkpoint(
                    self.config.output / CHECKPOINTS,
                    self.trainer.eval_model,
                    iteration=self.trainer.progress.iteration,
                    keep=self.config.keep,
                )

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
