"""Measure how fast networks are evaluated: `python -m depthformer_core.benchmark.evaluation`."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from depthformer_core.benchmark.reading import KINDS, ImageKind, write_images
from depthformer_core.data.dataset import DepthDataset
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.evaluation.evaluate import evaluate, evaluate_frame
from depthformer_core.evaluation.frame import FrameEvaluation, Row
from depthformer_core.evaluation.metrics import mean_over_images
from depthformer_core.evaluation.network import (
    depth_and_uncertainty,
    evaluate_network,
    map_frames,
)
from depthformer_core.evaluation.protocol import Protocol, choose_protocol
from depthformer_core.inference.predictor import DepthPredictor


@dataclass(frozen=True)
class EvaluationOptions:
    """Compare evaluations of images one after another with those of several at once, in turns."""

    network: tyro.conf.Positional[str] = "small"
    """A checkpoint, or the name of a preset."""
    images: int = 40
    """Images of KITTI's size; they are rendered first."""
    turns: int = 3
    """Counted evaluations in each way."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        """Reject numbers that nothing can be measured with."""
        for name in ("images", "turns"):
            if getattr(self, name) < 1:
                raise DepthFormerError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class EvaluationResult:
    """Measurement of one kind of evaluation.

    Attributes:
        kind: What is evaluated.
        images: Images of an evaluation.
        alone: Seconds of each evaluation of images one after another.
        together: Seconds of each evaluation of several images at once.
        difference: Largest difference of a mean metric between the two.
    """

    kind: str
    images: int
    alone: list[float]
    together: list[float]
    difference: float

    @property
    def ratio(self) -> float:
        """Median over the turns of the time of several at once over that of one at a time."""
        return statistics.median(
            fast / slow for slow, fast in zip(self.alone, self.together, strict=True)
        )


def measure(options: EvaluationOptions, *, kind: ImageKind = KINDS[0]) -> list[EvaluationResult]:
    """Evaluate the same images in both ways: the metrics alone, and all that a report shows.

    Args:
        options: What is measured.
        kind: Kind of the images.
    """
    predictor = DepthPredictor.from_checkpoint(
        options.network, device=options.device, precision="float32"
    )
    protocol = choose_protocol("kitti_eigen")
    predict = depth_and_uncertainty(predictor)
    with tempfile.TemporaryDirectory(prefix="depthformer-evaluation-") as folder:
        dataset = write_images(kind, Path(folder), options.images)

        def rows_alone() -> dict[str, float]:
            frames = (dataset[index] for index in range(len(dataset)))
            return mean_over_images(
                [evaluate_frame(predict, frame, protocol=protocol).row for frame in frames]
            )

        def report_alone() -> dict[str, float]:
            return evaluate(predict, dataset, protocol=protocol).mean

        return [
            _measure(
                "metrics, as while training",
                options,
                rows_alone,
                lambda: _rows_together(predictor, dataset, protocol),
            ),
            _measure(
                "all of the report, as `evaluate`",
                options,
                report_alone,
                lambda: _report_together(predictor, dataset, protocol),
            ),
        ]


def format_evaluation_table(results: Sequence[EvaluationResult]) -> str:
    """Format results as a Markdown table."""
    rows = [
        "| evaluation | images/s, one at a time | images/s, several | time, ratio | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        alone, together = (
            result.images / statistics.median(times) for times in (result.alone, result.together)
        )
        rows.append(
            f"| {result.kind} | {alone:.2f} | {together:.2f} | {result.ratio:.2f} "
            f"| {result.difference:.1e} |"
        )
    return "\n".join(rows)


def _rows_together(
    predictor: DepthPredictor, dataset: DepthDataset, protocol: Protocol
) -> dict[str, float]:
    def row(_: int, result: FrameEvaluation) -> Row:
        return result.row

    return mean_over_images(list(map_frames(row, predictor, dataset, protocol=protocol)))


def _report_together(
    predictor: DepthPredictor, dataset: DepthDataset, protocol: Protocol
) -> dict[str, float]:
    return evaluate_network(predictor, dataset, protocol=protocol).mean


def _measure(
    kind: str,
    options: EvaluationOptions,
    alone: Callable[[], dict[str, float]],
    together: Callable[[], dict[str, float]],
) -> EvaluationResult:
    times: tuple[list[float], list[float]] = [], []
    means: list[dict[str, float]] = []
    # The first turn reads the files into memory and is not counted.
    for _ in range(options.turns + 1):
        means = []
        for way, seconds in zip((alone, together), times, strict=True):
            start = time.perf_counter()
            means.append(way())
            seconds.append(time.perf_counter() - start)
    difference = max(abs(means[0][name] - means[1][name]) for name in means[0])
    return EvaluationResult(kind, options.images, times[0][1:], times[1][1:], difference)


@exit_on_error("evaluation")
def main() -> None:
    """Run the measurement and print the table."""
    options = tyro.cli(EvaluationOptions)
    print(format_evaluation_table(measure(options)))


if __name__ == "__main__":
    main()
