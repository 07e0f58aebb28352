"""The scale of predicted depth, watched by the height of the camera over the ground it sees."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Vector3
from depthformer_core.geometry.ground_sight import GroundSight, see_ground
from depthformer_core.inference.rotate import image_up
from depthformer_core.types import FloatingArray

ScaleState = Literal["unknown", "fine", "off"]

OFF = 1.15
"""Scale from which on it, or its inverse, is off."""

_WINDOW = 2.5  # seconds
# Of slow cameras so many frames are looked back at, if they are not older than this, seconds.
_FRAMES = 10
_OLDEST = 10.0
_MOST = 300
# Frames with ground that it takes to tell a scale.
_FEWEST = 5
# Cameras on robots look down by less than this.
_ANY_TILT = math.radians(25)


def is_off(scale: float) -> bool:
    """Return whether a scale is off; NaN is not."""
    # Comparisons with NaN are false.
    return scale >= OFF or scale <= 1 / OFF


@dataclass(frozen=True)
class ScaleReading:
    """What a watch says at one moment.

    Attributes:
        state: `off` from 15 % on, `fine` below, `unknown` without ground.
        scale: Typical seen height over the true one: 1.1 is 10 % too far; NaN while unknown.
        height: Height of the camera as seen, metres; NaN while unknown.
        frames: Number of frames that were looked back at.
        with_ground: Number of them that show the ground.
    """

    state: ScaleState = "unknown"
    scale: float = math.nan
    height: float = math.nan
    frames: int = 0
    with_ground: int = 0


class ScaleWatch:
    """Compares the height of a camera over the ground that it sees with the true one.

    The median over 2.5 s speaks, once five frames show the ground and half of all do. Depth is
    never changed.

    Args:
        height: True height of the camera over the ground, metres.
        up: Normal of the ground where the vehicle stands, in the optical frame, a unit vector;
            without, it is learned from the first ten frames that show ground, within 25 degrees of
            the image's up.
        rotate: Degrees clockwise by which images become upright, as of `DepthPredictor`.

    Raises:
        DepthFormerError: The height is not positive, or images do not become upright by that.

    Attributes:
        reading: What the watch says now.
    """

    def __init__(self, height: float, *, up: Vector3 | None = None, rotate: int = 0) -> None:
        if not 0 < height < math.inf:
            raise DepthFormerError(f"the camera must be above the ground, got {height:g} m")
        self.reading = ScaleReading()
        self._height = height
        self._up = up
        self._image_up = image_up(rotate)
        self._normals: deque[Vector3] = deque(maxlen=_MOST)
        self._scales: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def add(self, seconds: float, depth: FloatingArray, camera: Camera) -> float:
        """Look at the next frame.

        Args:
            seconds: Its time; where that goes back, the frames before are forgotten.
            depth: (H, W), predicted, metres; NaN where there is none.
            camera: Its camera.

        Returns:
            Its own scale; NaN where it shows no ground for sure.

        Raises:
            DepthFormerError: The depth is not of the camera's size.
        """
        sight = self._look(depth, camera)
        scale = math.nan if sight is None or not sight.is_sure else sight.height / self._height
        scales = self._scales
        if scales and seconds < scales[-1][0]:
            scales.clear()
        scales.append((seconds, scale))
        while len(scales) > _FRAMES and seconds - scales[0][0] > _WINDOW:
            scales.popleft()
        while seconds - scales[0][0] > _OLDEST:
            scales.popleft()
        self.reading = self._read()
        return scale

    def _look(self, depth: FloatingArray, camera: Camera) -> GroundSight | None:
        if self._up is not None:
            return see_ground(depth, camera, up=self._up)
        learned = len(self._normals) >= _FRAMES
        if learned:
            sight = see_ground(depth, camera, up=self._usual())
        else:
            sight = see_ground(depth, camera, up=self._image_up, tilt=_ANY_TILT)
        if sight is not None:
            self._normals.append(sight.plane.normal)
        return sight if learned else None

    def _usual(self) -> Vector3:
        """Return the typical normal so far, rounded, so that rays of it can be kept."""
        normal = np.median(np.array(self._normals), axis=0).round(2)
        x, y, z = (normal / np.linalg.norm(normal)).tolist()
        return x, y, z

    def _read(self) -> ScaleReading:
        known = [scale for _, scale in self._scales if not math.isnan(scale)]
        frames, count = len(self._scales), len(known)
        if count < _FEWEST or 2 * count < frames:
            return ScaleReading(frames=frames, with_ground=count)
        scale = float(np.median(known))
        state: ScaleState = "off" if is_off(scale) else "fine"
        return ScaleReading(state, scale, scale * self._height, frames, count)
