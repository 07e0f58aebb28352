"""Drives through generated scenes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.rendering.lidar import scan
from depthformer_core.synthetic.rendering.render import render
from depthformer_core.synthetic.scene.scene import Scene, Theme
from depthformer_core.types import FloatArray, FloatingArray

STREET_CAMERA = Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
"""Left colour camera of KITTI's first day."""


def street_camera(width: int, height: int, *, focal: float = STREET_CAMERA.fx) -> Camera:
    """Return a camera of another size or focal length, with KITTI's principal point scaled to it.

    Args:
        width: Columns.
        height: Rows.
        focal: Focal length, pixels.
    """
    cx = STREET_CAMERA.cx * width / STREET_CAMERA.width
    cy = STREET_CAMERA.cy * height / STREET_CAMERA.height
    return Camera(width, height, focal, focal, cx, cy)


CAMERA_HEIGHT = 1.65
"""Height of KITTI's cameras over the road, metres."""

_BEHIND = 80.0  # metres; scanners see behind


@dataclass(frozen=True)
class Mount:
    """Mounting of a camera on a car.

    Attributes:
        height: Over the ground, metres.
        pitch: Upwards, radians.
        roll: Clockwise, radians.
        yaw: To the right, radians.
    """

    height: float = CAMERA_HEIGHT
    pitch: float = 0.0
    roll: float = 0.0
    yaw: float = 0.0

    def pose(self, scene: Scene, s: float) -> FloatingArray:
        """Return the pose of the camera `s` metres along a scene's road, see `Scene.pose`."""
        return scene.pose(s, height=self.height, yaw=self.yaw, pitch=self.pitch, roll=self.roll)

    @staticmethod
    def draw(rng: np.random.Generator) -> "Mount":
        """Draw a mount such as cars have."""
        degree = np.pi / 180
        return Mount(
            height=float(np.clip(rng.normal(1.65, 0.14), 1.2, 2.2)),
            pitch=float(np.clip(rng.normal(0, 1.2), -4, 4) * degree),
            roll=float(np.clip(rng.normal(0, 0.4), -1, 1) * degree),
            yaw=float(np.clip(rng.normal(0, 2.0), -8, 8) * degree),
        )


class Drive:
    """A camera and a LiDAR that move along a generated road.

    Args:
        seed: Drives of equal arguments are equal.
        frames: Number of frames.
        camera: The camera.
        mount: Mounting of the camera on the car.
        rate: Frames a second.
        speed: Metres a second; the scene's usual speed by default.
        theme: Kind of place; drawn at random by default.
        traffic: Whether the other cars move too.

    Attributes:
        scene: The scene.
        camera: The camera.
        rate: Frames a second.
        frames: Number of frames.

    Raises:
        DepthFormerError: The number of frames or the rate is not positive, the speed negative, or
            the camera a single row or column.
    """

    def __init__(
        self,
        seed: int,
        *,
        frames: int,
        camera: Camera = STREET_CAMERA,
        mount: Mount | None = None,
        rate: float = 10.0,
        speed: float | None = None,
        theme: Theme | None = None,
        traffic: bool = True,
    ) -> None:
        if seed < 0:
            raise DepthFormerError(f"seed must not be negative, got {seed}")
        if frames < 1 or not 0 < rate < np.inf:
            raise DepthFormerError(f"frames and rate must be positive, got {frames} and {rate}")
        if speed is not None and not 0 <= speed < np.inf:
            raise DepthFormerError(f"speed must not be negative, got {speed}")
        if min(camera.width, camera.height) < 2:
            raise DepthFormerError(
                f"the camera must have two rows and columns, got {camera.width}x{camera.height}"
            )
        duration = (frames - 1) / rate
        if speed is None:
            self.scene = Scene(seed, duration=duration, behind=_BEHIND, theme=theme)
        else:
            self.scene = Scene(seed, length=speed * duration, behind=_BEHIND, theme=theme)
        self.camera = camera
        self.rate = rate
        self.frames = frames
        self.seed = seed
        self._mount = Mount() if mount is None else mount
        self._pace = self.scene.speed if speed is None else speed
        self._traffic = traffic

    def pose(self, frame: int) -> FloatingArray:
        """Return the pose of the camera: (4, 4), takes its points to the world."""
        return self._mount.pose(self.scene, self._pace * frame / self.rate)

    def picture(self, frame: int) -> tuple[npt.NDArray[np.uint8], FloatArray]:
        """Render the picture of a frame and its depth, see `render`."""
        return render(
            self.scene, self.camera, self.pose(frame), time=self._time(frame), grain=frame
        )

    def scan(self, frame: int) -> FloatArray:
        """Simulate the scan of a frame, (N, 4), see `lidar.scan`."""
        rng = np.random.default_rng((self.seed, 4, frame))
        return scan(self.scene, self.pose(frame), rng=rng, time=self._time(frame))

    def _time(self, frame: int) -> float | None:
        return frame / self.rate if self._traffic else None
