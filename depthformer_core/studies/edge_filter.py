"""Effect of `points.edge_filter`: `python -m depthformer_core.studies.edge_filter`.

A network's depth of generated streets is filtered at several limits, and the removed points are
compared with the exact depth.
"""

import sys
from dataclasses import dataclass

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.geometry.flying_pixels import flying_pixels
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.synthetic import SyntheticDataset
from depthformer_core.types import BoolArray, FloatArray

# A prediction is wrong beyond this relative error.
_WRONG = 0.2
# An edge is where exact depths within so many pixels differ by more than this ratio.
_NEAR_EDGE = 4
_EDGE = 1.5
# Pixels with a larger exact depth do not count, metres.
_FARTHEST = 80.0


@dataclass(frozen=True)
class EdgeFilterOptions:
    """Measure which points an edge filter removes from clouds."""

    checkpoint: str = "small"
    """A safetensors file, or a preset's name."""
    jumps: tuple[float, ...] = (0.03, 0.05, 0.07, 0.1, 0.2)
    """Limits to try, as of `points.edge_filter`."""
    frames: int = 20
    """Frames of the test part."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        """Reject values nothing can be measured with."""
        if not 1 <= self.frames <= len(SyntheticDataset(part="test")):
            raise DepthFormerError(f"frames must be 1 to 200, got {self.frames}")
        if not self.jumps or any(not 0 < jump < np.inf for jump in self.jumps):
            raise DepthFormerError(f"jumps must be positive, got {self.jumps}")


@dataclass(frozen=True)
class Removed:
    """Shares of points that are removed at one limit.

    Attributes:
        jump: The limit.
        wrong: Share of the wrong points.
        wrong_at_edges: Share of the wrong points at edges.
        right: Share of the other points.
    """

    jump: float
    wrong: float
    wrong_at_edges: float
    right: float


def measure(options: EdgeFilterOptions) -> list[Removed]:
    """Filter every frame's depth at every limit."""
    predictor = DepthPredictor.from_checkpoint(options.checkpoint, device=options.device)
    dataset = SyntheticDataset(part="test")
    # Of wrong points, those of them at edges, and others: the total and the removed ones.
    counts = np.zeros((len(options.jumps), 3, 2))
    for index in tqdm(range(options.frames), unit="frame", file=sys.stderr):
        frame = dataset[index]
        assert frame.depth is not None  # generated frames have depth
        prediction = predictor.predict(frame.rgb, frame.camera).depth
        groups = _groups(prediction, frame.depth)
        for row, jump in enumerate(options.jumps):
            flying = flying_pixels(prediction, jump=jump)
            counts[row] += [(group.sum(), (group & flying).sum()) for group in groups]
    return [
        Removed(jump, *(removed / max(1, of) for of, removed in row))
        for jump, row in zip(options.jumps, counts, strict=True)
    ]


def _groups(prediction: FloatArray, exact: FloatArray) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return the masks of wrong points, wrong points at edges, and other points."""
    known = np.isfinite(prediction) & (exact > 0) & (exact < _FARTHEST)
    truth = np.where(exact > 0, np.minimum(exact, np.float32(_FARTHEST)), np.float32(_FARTHEST))
    error = np.abs(prediction - truth) / truth
    around = np.ones((2 * _NEAR_EDGE + 1,) * 2, np.uint8)
    edge = cv2.dilate(truth, around) > _EDGE * cv2.erode(truth, around)
    wrong = known & (error > _WRONG)
    return wrong, wrong & edge, known & (error <= _WRONG)


def format_table(results: list[Removed]) -> str:
    """Format results as a Markdown table."""
    rows = [
        "| `points.edge_filter` | removed points more than 20 % wrong | of those at edges "
        "| removed other points |",
        "| ---: | ---: | ---: | ---: |",
    ]
    rows += [
        f"| {row.jump:g} | {row.wrong:.1%} | {row.wrong_at_edges:.1%} | {row.right:.1%} |"
        for row in results
    ]
    return "\n".join(rows)


@exit_on_error("edge_filter")
def main() -> None:
    """Measure and print a table."""
    print(format_table(measure(tyro.cli(EdgeFilterOptions))))


if __name__ == "__main__":
    main()
