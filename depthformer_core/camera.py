"""Pinhole cameras: between pixels and rays, raw and rectified images."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Matrix3 = tuple[float, float, float, float, float, float, float, float, float]

IDENTITY: Matrix3 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of one rectified image.

    Pixel centres lie at integer coordinates: the ray of column `u` and row `v` is
    `((u - cx) / fx, (v - cy) / fy, 1)` in the optical frame (x right, y down, z forward).

    Attributes:
        width: Columns of the image.
        height: Rows of the image.
        fx: Horizontal focal length, pixels.
        fy: Vertical focal length, pixels.
        cx: Column of the principal point, pixels.
        cy: Row of the principal point, pixels.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        """Reject what is no camera."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be positive, got {self.width}x{self.height}")
        intrinsics = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, intrinsics)) or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"intrinsics fx fy cx cy must be finite, focal lengths positive, got {intrinsics}"
            )

    def resized(self, height: int, width: int) -> "Camera":
        """The camera of its image, resized to a height and width."""
        down, across = height / self.height, width / self.width
        # The middle of a pixel is half a pixel from its border, where the image begins.
        return Camera(
            *(width, height, self.fx * across, self.fy * down),
            *((self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5),
        )

    def unproject(self, depth: FloatArray, *, stride: int = 1) -> FloatArray:
        """Points of a depth image in the optical frame.

        Args:
            depth: (H, W), metres along the optical axis; NaN and infinity where there is none.
            stride: Every `stride`-th row and column is kept.

        Returns:
            (ceil(H / stride), ceil(W / stride), 3), metres; NaN where the depth is not finite.

        Raises:
            ValueError: The depth is not of this camera's size, or the stride is not positive.
        """
        if depth.shape != (self.height, self.width):
            raise ValueError(f"depth has shape {depth.shape}, the camera {self.height, self.width}")
        if stride < 1:
            raise ValueError(f"stride must be positive, got {stride}")
        z = depth[::stride, ::stride]
        z = np.where(np.isfinite(z), z, np.float32(np.nan))
        across, down = self.slopes(stride=stride)
        # OpenCV interleaves several times as fast as three assignments.
        points = cv2.merge((z * across, z * down[:, None], z))
        return points.astype(np.float32, copy=False)

    def slopes(self, *, stride: int = 1) -> tuple[FloatArray, FloatArray]:
        """Slopes of the rays through every `stride`-th column and row.

        Returns:
            `x / z` of the columns and `y / z` of the rows.
        """
        across = (np.arange(0, self.width, stride, dtype=np.float32) - self.cx) / self.fx
        down = (np.arange(0, self.height, stride, dtype=np.float32) - self.cy) / self.fy
        return across.astype(np.float32, copy=False), down.astype(np.float32, copy=False)

    def project(self, points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Pixel coordinates of points in the optical frame.

        Args:
            points: (..., 3), metres.

        Returns:
            (..., 2) column and row, pixels; NaN for points that are not in front of the camera.
        """
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        u = self.fx * points[..., 0] / z + self.cx
        v = self.fy * points[..., 1] / z + self.cy
        return np.stack((u, v), axis=-1)


@dataclass(frozen=True)
class Calibration:
    """How a raw image becomes the rectified image of a `Camera`.

    Hashable, so the maps of a calibration are computed once.

    Attributes:
        camera: Camera of the rectified image; the raw image has the same size.
        raw_intrinsics: Row-major 3x3 matrix K of the raw image, pixels.
        distortion: Coefficients of the raw lens in OpenCV's order (`plumb_bob` has 5,
            `rational_polynomial` 8); empty or zeros for none.
        rotation: Row-major 3x3 rotation R from the raw to the rectified optical frame.
    """

    camera: Camera
    raw_intrinsics: Matrix3
    distortion: tuple[float, ...] = ()
    rotation: Matrix3 = IDENTITY

    def __post_init__(self) -> None:
        """Reject coefficients OpenCV cannot rectify with."""
        if len(self.distortion) not in (0, 4, 5, 8, 12, 14):
            raise ValueError(
                "distortion needs 0, 4, 5, 8, 12 or 14 coefficients, "
                f"got {len(self.distortion)}: {self.distortion}"
            )
        values = (*self.raw_intrinsics, *self.distortion, *self.rotation)
        if not all(map(math.isfinite, values)):
            raise ValueError(f"calibration holds a value that is not finite: {values}")

    @functools.cached_property
    def is_rectified(self) -> bool:
        """Whether the raw image already is the rectified one."""
        camera = self.camera
        wanted = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
        return bool(
            not any(self.distortion)
            and np.allclose(self.rotation, IDENTITY, rtol=0, atol=1e-9)
            and np.allclose(self.raw_intrinsics, wanted, rtol=1e-9, atol=1e-9)
        )

    def rectify(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resample a raw image (H, W, C) to the rectified camera, black where it saw nothing.

        Raises:
            ValueError: The image is not of the camera's size.
        """
        if image.shape[:2] != (self.camera.height, self.camera.width):
            raise ValueError(
                f"image has size {image.shape[1]}x{image.shape[0]}, "
                f"the camera {self.camera.width}x{self.camera.height}"
            )
        columns, rows = _rectification_maps(self)
        rectified = cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
        return np.asarray(rectified, np.uint8)


@functools.lru_cache(maxsize=4)
def _rectification_maps(calibration: Calibration) -> tuple[Any, Any]:
    camera = calibration.camera
    wanted = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    return cv2.initUndistortRectifyMap(
        np.reshape(calibration.raw_intrinsics, (3, 3)),
        np.array(calibration.distortion or (0.0,) * 4),
        np.reshape(calibration.rotation, (3, 3)),
        wanted,
        (camera.width, camera.height),
        cv2.CV_16SC2,
    )
