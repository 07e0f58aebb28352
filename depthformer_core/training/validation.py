"""Evaluation of a network while it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from depthformer_core.data.dataset import DepthDataset
from depthformer_core.distributed import any_process, gather
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.frame import FrameEvaluation, Row
from depthformer_core.evaluation.metrics import mean_over_images
from depthformer_core.evaluation.network import map_frames
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.tally import Evaluation, Tally
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.models import DepthFormer
from depthformer_core.types import Rgb
from depthformer_core.visualize import colorize, depth_range, sheet

_PICTURES = 2  # images that TensorBoard shows
_KEPT = 3  # of the worst and of the best images, in the report


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    Attributes:
        mean: Mean of the nine `METRICS` over the images that have a value; NaN if none has.
        pictures: Image, truth and prediction of the first images, (H, W, 3) RGB by name.
        evaluation: All that a report shows, where it was asked for.
    """

    mean: Mapping[str, float]
    pictures: Mapping[str, Rgb]
    evaluation: Evaluation | None


def validate(
    model: DepthFormer,
    dataset: DepthDataset,
    *,
    protocol: Protocol,
    device: torch.device,
    flip: bool,
    detailed: bool,
    stop: Callable[[], bool],
) -> Validation | None:
    """Evaluate each image once, shared by the processes; all of them have to call this.

    Args:
        model: The network; it is left in evaluation mode.
        dataset: Images with truth.
        protocol: Crop, mask and range.
        device: Where the network is.
        flip: Whether to average with the prediction of the mirrored image.
        detailed: Whether the result has an `evaluation`, which takes longer.
        stop: Asked before each image whether to end without a result.

    Returns:
        The result; None where a process was to stop.
    """
    # As `depthformer evaluate` does: rounding is an error of the metrics.
    predictor = DepthPredictor(
        model, device=str(device), precision="float32", focal=protocol.focal, flip=flip
    )

    def reduce(index: int, result: FrameEvaluation) -> tuple[int, Row, Rgb | None, Tally | None]:
        picture = _picture(result.comparison) if index < _PICTURES else None
        tally = None
        if detailed:
            tally = Tally(protocol, keep=_KEPT)
            tally.add(index, result)
        return index, result.row, picture, tally

    rows: list[tuple[int, Row]] = []
    pictures: dict[str, Rgb] = {}
    whole = Tally(protocol, keep=_KEPT)
    for index, row, picture, tally in map_frames(
        reduce, predictor, dataset, protocol=protocol, stop=stop
    ):
        rows.append((index, row))
        if picture is not None:
            pictures[row["file"]] = picture
        if tally is not None:
            whole.merge(tally)
    if any_process(stop()):
        return None
    parts = gather((rows, pictures, whole))
    for _, _, other in parts[1:]:
        parts[0][2].merge(other)
    placed = sorted((one for part in parts for one in part[0]), key=lambda one: one[0])
    return Validation(
        mean=mean_over_images([row for _, row in placed]),
        pictures={name: picture for part in parts for name, picture in part[1].items()},
        evaluation=parts[0][2].result() if detailed else None,
    )


def _picture(comparison: Comparison) -> Rgb:
    near, far = depth_range(comparison.truth)
    return sheet(
        [
            ("image", comparison.rgb),
            ("truth", colorize(comparison.truth, near=near, far=far)),
            ("prediction", colorize(comparison.prediction, near=near, far=far)),
        ],
        title=comparison.file,
    )
