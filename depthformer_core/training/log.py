"""Log of a run: a progress bar, TensorBoard, and a line of JSON an iteration."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.curves import TrainingCurves
from depthformer_core.files import read_text, replacing
from depthformer_core.training.trainer import Step
from depthformer_core.types import Json, Rgb

_FILE = "metrics.jsonl"
_CURVE_EVERY = 10  # iterations between two points of TensorBoard's curves
_SMOOTHING = 0.9  # of the speed on the progress bar
_INTEGER_BITS = 64
_SHOWN = 80  # letters of a bad line, in messages


class RunLog:
    """The log of a run in its folder, as a context manager.

    `metrics.jsonl` has one object for each iteration (`iteration`, `loss`, `lr`,
    `gradient_norm`, `images_per_second`, `data_wait`: the share of its time that was spent
    waiting for images) and one for each evaluation (`iteration`, `evaluation`: the mean metrics).
    What an interrupted run wrote after the state it resumes from is taken out.

    Args:
        folder: Folder of the run.
        done: Iterations of the earlier parts of the run.
        iterations: Iterations of the whole run.
        batch_size: Images of an iteration.
        hook: Called with each object of `metrics.jsonl`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        done: int,
        iterations: int,
        batch_size: int,
        hook: Callable[[dict[str, Json]], object] | None = None,
    ) -> None:
        self._path = folder / _FILE
        self._folder = folder
        self._done = done
        self._iterations = iterations
        self._batch_size = batch_size
        self._hook = hook
        self._seconds = 0.0
        self._waited = 0.0
        self._smooth = 0.0

    def __enter__(self) -> "RunLog":
        """Open the files."""
        kept = [line for line in _lines(self._path) if line["iteration"] <= self._done]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file: TextIO = self._path.open("a", buffering=1)
        self._board = SummaryWriter(str(self._folder), purge_step=self._done + 1)
        self._bar = tqdm(total=self._iterations, initial=self._done, unit="it", smoothing=0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self._bar.close()
        self._board.close()
        self._file.close()

    @property
    def data_wait(self) -> float:
        """Share of the iterations' time so far that was spent waiting for images."""
        return self._waited / self._seconds if self._seconds else 0.0

    def step(self, step: Step, *, seconds: float, waited: float, memory: float) -> None:
        """Log an iteration.

        Args:
            step: The iteration.
            seconds: Its duration.
            waited: Seconds of that in which there was no image to work on.
            memory: Peak memory so far, GB.
        """
        self._seconds += seconds
        self._waited += waited
        speed = self._batch_size / seconds
        self._smooth = (
            _SMOOTHING * self._smooth + (1 - _SMOOTHING) * speed if self._smooth else speed
        )
        self._write(
            {
                "iteration": step.iteration,
                "loss": step.loss,
                "lr": step.lr,
                "gradient_norm": step.gradient_norm,
                "images_per_second": round(speed, 3),
                "data_wait": round(waited / seconds, 4),
                "memory_gb": round(memory, 3),
            }
        )
        if step.iteration % _CURVE_EVERY == 0:
            values = {
                "train/loss": step.loss,
                "train/lr": step.lr,
                "train/gradient_norm": step.gradient_norm,
                "train/images_per_second": self._smooth,
            }
            for name, value in values.items():
                self._board.add_scalar(name, value, step.iteration)
        self._bar.set_postfix_str(
            f"loss {step.loss:.4f}, lr {step.lr:.2e}, {self._smooth:.1f} images/s, {memory:.1f} GB",
            refresh=False,
        )
        self._bar.update()

    def skipped(self, iteration: int, reason: str) -> None:
        """Log a batch that was skipped."""
        self._write({"iteration": iteration, "skipped": reason})
        self.info(f"skipped {reason}")
        self._bar.update()

    def evaluation(
        self,
        iteration: int,
        mean: Mapping[str, float],
        pictures: Mapping[str, Rgb],
    ) -> None:
        """Log an evaluation.

        Args:
            iteration: Iterations done.
            mean: The mean metrics.
            pictures: (H, W, 3) RGB by name.
        """
        # JSON has no NaN, which a mean is where no image has truth.
        known: dict[str, Json] = {
            name: value if math.isfinite(value) else None for name, value in mean.items()
        }
        self._write({"iteration": iteration, "evaluation": known})
        for name, value in mean.items():
            self._board.add_scalar(f"val/{name}", value, iteration)
        for name, picture in pictures.items():
            self._board.add_image(f"val/{name}", picture, iteration, dataformats="HWC")
        figures = ", ".join(f"{name} {mean[name]:.3f}" for name in ("abs_rel", "rmse", "a1"))
        self.info(f"iteration {iteration}: {figures}")

    def info(self, text: str) -> None:
        """Print a line above the progress bar."""
        self._bar.write(text)

    def _write(self, line: Mapping[str, Json]) -> None:
        self._file.write(json.dumps(line) + "\n")
        if self._hook is not None:
            self._hook(dict(line))


def read_curves(folder: Path) -> TrainingCurves:
    """Read the curves of a run from its log, without a last line that was cut off.

    Args:
        folder: Folder of the run, with `metrics.jsonl`.

    Raises:
        DepthFormerError: There is no such file, it cannot be read, or a line of it is no iteration
            and no evaluation.
    """
    path = folder / _FILE
    if not path.exists():
        raise DepthFormerError(f"there is no log of a run in {folder}: {path} is missing")
    steps: list[tuple[int, float, float]] = []
    evaluations: list[tuple[int, dict[str, float]]] = []
    skipped: list[int] = []
    for place, line in enumerate(_lines(path), start=1):
        match line:
            case {"iteration": int(iteration), "loss": loss, "lr": lr} if _are_numbers(
                iteration, loss, lr
            ):
                steps.append((iteration, _value(loss), _value(lr)))
            case {"iteration": int(iteration), "evaluation": dict(mean)} if _are_numbers(
                iteration, *mean.values()
            ):
                evaluations.append((iteration, {name: _value(mean[name]) for name in mean}))
            case {"iteration": int(iteration), "skipped": str()} if _are_numbers(iteration):
                skipped.append(iteration)
            case _:
                shown = json.dumps(line)[:_SHOWN]
                raise DepthFormerError(
                    f"{path}: line {place} is no iteration and no evaluation of a run: {shown}"
                )
    names = dict.fromkeys(name for _, mean in evaluations for name in mean)
    return TrainingCurves(
        iterations=np.array([step[0] for step in steps], np.int64),
        loss=np.array([step[1] for step in steps], np.float64),
        learning_rate=np.array([step[2] for step in steps], np.float64),
        evaluated=np.array([iteration for iteration, _ in evaluations], np.int64),
        metrics={
            name: np.array([mean.get(name, math.nan) for _, mean in evaluations], np.float64)
            for name in names
        },
        skipped=np.array(skipped, np.int64),
    )


def _are_numbers(*values: object) -> bool:
    """Return whether values are numbers that an array can hold, or None."""
    return all(
        value is None
        or type(value) is float
        or (type(value) is int and value.bit_length() < _INTEGER_BITS)
        for value in values
    )


def _value(number: float | None) -> float:
    return math.nan if number is None or not math.isfinite(number) else float(number)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read the log of a run, without a last line that was cut off."""
    if not path.exists():
        return []
    lines = []
    for text in read_text(path, kind="log").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            break
        lines.append(line)
    return lines
