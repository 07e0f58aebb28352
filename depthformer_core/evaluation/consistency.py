"""Consistency of consecutive predictions, without any truth."""

import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.evaluation.bootstrap import Interval, mean_interval
from depthformer_core.evaluation.stability import flicker
from depthformer_core.evaluation.stamps import elapsed_seconds, follows
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatArray, FloatingArray

# Pixels of a frame that are compared.
_PIXELS = 16_000
_FEWEST_PIXELS = 100
# A point that lies so much farther than another of its cell is hidden by it.
_HIDDEN = 1.05


@dataclass(frozen=True)
class Consistency:
    """Agreement of each prediction with the one before, moved by the camera's motion.

    Attributes:
        seconds: Time of each frame since the first, see `stamps.elapsed_seconds`.
        errors: Median of |ln(prediction / prediction before, moved)| over the pixels of each
            frame; NaN where a frame is missing before it, or the motion.
        steps: Median of ln(prediction / prediction before, moved): change of the scale.
        inconsistency: Mean of the errors, a share; NaN without any.
        interval: Its 95 % bootstrap confidence interval.
        flicker: Deviation of the sum of the steps from its local mean, as a share, see
            `stability.flicker`.
    """

    seconds: list[float]
    errors: list[float]
    steps: list[float]
    inconsistency: float
    interval: Interval
    flicker: float


class ConsistencyAccumulator:
    """Comparisons of each prediction of one source with the one before; picklable."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._errors: list[float] = []
        self._steps: list[float] = []
        self._last: tuple[Camera, FloatArray] | None = None

    def add(
        self,
        stamp: int,
        prediction: FloatArray,
        *,
        camera: Camera,
        motion: FloatingArray | None,
    ) -> None:
        """Add the next frame.

        Args:
            stamp: Its time, nanoseconds.
            prediction: (H, W), metres, NaN where there is none.
            camera: Its camera.
            motion: (4, 4), takes points of the optical frame at the frame before to the one at
                this frame, metres; None where it is not known.
        """
        step = error = math.nan
        if self._last is not None and motion is not None:
            logs = compare_warped(*self._last, motion, prediction, camera=camera)
            if len(logs) >= _FEWEST_PIXELS:
                step, error = float(np.median(logs)), float(np.median(abs(logs)))
        self._stamps.append(stamp)
        self._steps.append(step)
        self._errors.append(error)
        self._last = camera, np.array(prediction, np.float32)

    def result(self) -> Consistency:
        """Return the consistency over all frames."""
        joined = np.concatenate([[False], follows(self._stamps)])[: len(self._stamps)]
        errors = np.where(joined, self._errors, math.nan)
        steps = np.where(joined, self._steps, math.nan)
        known = errors[np.isfinite(errors)]
        return Consistency(
            seconds=elapsed_seconds(self._stamps).tolist(),
            errors=errors.tolist(),
            steps=steps.tolist(),
            inconsistency=float(known.mean()) if known.size else math.nan,
            interval=mean_interval(errors.tolist()),
            flicker=self._flicker(steps),
        )

    def _flicker(self, steps: FloatingArray) -> float:
        # A frame without step begins a run of its own, with a scale of 1.
        if not steps.size:
            return math.nan
        starts = np.flatnonzero(np.isnan(steps))
        runs = [slice(*ends) for ends in zip(starts, [*starts[1:], len(steps)], strict=True)]
        sums = [np.concatenate([[0.0], np.cumsum(steps[run][1:])]) for run in runs]
        return flicker([self._stamps[run] for run in runs], sums)


def compare_warped(
    camera_before: Camera,
    before: FloatArray,
    motion: FloatingArray,
    prediction: FloatArray,
    *,
    camera: Camera,
) -> FloatingArray:
    """Move a prediction into the next frame and compare it with the prediction there.

    Some 16,000 pixels are moved. Where several land together, those behind the nearest by more
    than 5 % are hidden and left out.

    Args:
        camera_before: Camera of the frame before.
        before: (H, W), its prediction, metres, NaN where there is none.
        motion: (4, 4), takes points of the optical frame before to the one now, metres.
        prediction: (H, W), the prediction now, metres, NaN where there is none.
        camera: Its camera.

    Returns:
        (N), ln of the prediction over the moved depth, of the pixels that have both.
    """
    stride = math.ceil(math.sqrt(before.size / _PIXELS))
    across, down = camera_before.slopes(stride=stride)
    z = before[::stride, ::stride]
    rows, columns = np.nonzero(np.isfinite(z) & (z > 0))
    z = z[rows, columns]
    points = np.stack((across[columns] * z, down[rows] * z, z), axis=-1)
    points = points @ motion[:3, :3].T.astype(np.float32) + motion[:3, 3].astype(np.float32)
    pixels = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = ((pixels > -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5))).all(1)
    column, row = np.rint(pixels[inside]).astype(np.intp).T
    moved = points[inside, 2]
    cells = (row // stride) * (camera.width // stride + 1) + column // stride
    nearest = np.full((camera.height // stride + 1) * (camera.width // stride + 1), np.inf)
    np.minimum.at(nearest, cells, moved)
    found = prediction[row, column]
    seen = (moved <= _HIDDEN * nearest[cells]) & np.isfinite(found) & (found > 0)
    return np.asarray(np.log(found[seen] / moved[seen]))
