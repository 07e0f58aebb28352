"""Any callable from image to depth, compared with the truth of a data set."""

import dataclasses
import typing
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from depthformer_core.data.dataset import Frame, Frames
from depthformer_core.evaluation.frame import (
    FrameEvaluation,
    Predict,
    PredictUncertain,
    Row,
    check_prediction,
    evaluate_frame,
)
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.tally import Evaluation, Tally

__all__ = [
    "Evaluation",
    "FrameEvaluation",
    "FrameStream",
    "Frames",
    "Predict",
    "PredictUncertain",
    "Row",
    "check_prediction",
    "evaluate",
    "evaluate_frame",
]


class FrameStream(typing.Protocol):
    """Frames that are read once, in order, such as those of a bag."""

    def __len__(self) -> int:
        """Count the frames, or those that there may be."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Read the frames."""
        ...


def evaluate(
    predict: PredictUncertain,
    frames: Frames | FrameStream,
    *,
    protocol: Protocol,
    need_truth: bool = True,
    progress: bool = False,
    keep: int = 0,
) -> Evaluation:
    """Compare predictions with the truth of a data set, one image after another.

    `evaluate_network` does this for a `DepthPredictor` with several images at once.

    Args:
        predict: Maps an image, uint8 (H, W, 3) RGB, and its camera or None to depth on the same
            pixels, floating-point (H, W) metres, not finite where there is no prediction; or to a
            tuple of the depth and its uncertainty, the scale of a Laplace distribution around it,
            likewise, or None.
        frames: The frames; read once, in order, and not kept.
        protocol: Crop, mask and range; `PROTOCOLS` has the usual ones.
        need_truth: Whether a frame without truth is an error. Otherwise its depth is predicted
            too, and its metrics are NaN.
        progress: Whether to show a bar on the terminal.
        keep: Number of worst and of best images to keep, or of first ones if there is nothing to
            compare.

    Raises:
        DepthFormerError: There is no frame, a frame has no truth although it needs one, a
            prediction has a wrong type or shape, or an uncertainty or `keep` is negative.
    """
    tally = Tally(protocol, keep=keep)
    bar = tqdm(iter(frames), total=len(frames), unit="image", disable=not progress)
    for index, frame in enumerate(bar):
        if frame.depth is None and not need_truth:
            frame = dataclasses.replace(frame, depth=np.zeros(frame.rgb.shape[:2], np.float32))
        tally.add(index, evaluate_frame(predict, frame, protocol=protocol))
    return tally.result()
