"""The scale of depth over the frames of a drive by the ground alone, without truth."""

import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.evaluation.stamps import elapsed_seconds
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane
from depthformer_core.geometry.scale_watch import ScaleWatch
from depthformer_core.types import FloatingArray

_SECOND = 1e9  # nanoseconds


@dataclass(frozen=True)
class GroundScale:
    """Scale of predictions by the camera's height over the ground that they show.

    Attributes:
        seconds: Time of each frame since the first, see `stamps.elapsed_seconds`.
        scales: Predicted over true height of each frame; NaN where it shows no ground for sure.
        watched: What the watch of a running node says after each frame; NaN while it says nothing.
        scale: Median of the scales: 1.1 is 10 % too far; NaN without any.
        share: Share of the frames that show ground.
    """

    seconds: list[float]
    scales: list[float]
    watched: list[float]
    scale: float
    share: float


class GroundScaleAccumulator:
    """Scales of the frames of one source by the ground, three numbers a frame.

    Args:
        ground: The true ground in the images' optical frame.
    """

    def __init__(self, ground: Plane) -> None:
        self._watch = ScaleWatch(ground.height, up=ground.normal)
        self._stamps: list[int] = []
        self._scales: list[float] = []
        self._watched: list[float] = []

    def add(self, stamp: int, prediction: FloatingArray, camera: Camera | None) -> None:
        """Add the next frame.

        Args:
            stamp: Its time, nanoseconds.
            prediction: (H, W), metres; NaN where there is none.
            camera: Its camera; without one of its size, it shows no ground.
        """
        known = camera is not None and prediction.shape == (camera.height, camera.width)
        scale = math.nan
        if camera is not None and known:
            scale = self._watch.add(stamp / _SECOND, prediction, camera)
        self._stamps.append(stamp)
        self._scales.append(scale)
        self._watched.append(self._watch.reading.scale)

    def result(self) -> GroundScale:
        """Return the scale over all frames."""
        known = [scale for scale in self._scales if not math.isnan(scale)]
        return GroundScale(
            seconds=elapsed_seconds(self._stamps).tolist(),
            scales=self._scales,
            watched=self._watched,
            scale=float(np.median(known)) if known else math.nan,
            share=len(known) / len(self._scales) if self._scales else math.nan,
        )
