"""Pinhole cameras: projection, and rectification of raw images."""

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.unseen import black_pixels, unseen_pixels
from depthformer_core.types import BoolArray, FloatArray, FloatingArray

if TYPE_CHECKING:
    from cv2.typing import MatLike

Matrix3 = tuple[float, float, float, float, float, float, float, float, float]

IDENTITY: Matrix3 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

PINHOLE_TERMS = (4, 5, 8, 12, 14)
"""Numbers of distortion coefficients that OpenCV's pinhole camera may have."""

# After JPEG, this share of black pixels stays below this value.
_NEARLY_BLACK = 24
_MOSTLY = 0.8
_BLUR = (5, 5)  # pixels
_HALF = 127  # of the largest value of a pixel
# Fixed-point maps count in thirty-seconds of a pixel.
_ROUNDED = 1 / 64
# Angles from the optical axis at which lens models are sampled, radians; a pinhole's end before
# 90 degrees.
_ANGLES = np.linspace(0.0, np.radians(89.9), 2000)


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
        """Reject an invalid size or invalid intrinsics."""
        if self.width < 1 or self.height < 1:
            raise DepthFormerError(f"image size must be positive, got {self.width}x{self.height}")
        intrinsics = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, intrinsics)) or self.fx <= 0 or self.fy <= 0:
            raise DepthFormerError(
                f"intrinsics fx fy cx cy must be finite, focal lengths positive, got {intrinsics}"
            )

    def resized(self, height: int, width: int) -> "Camera":
        """Return the camera of the image resized to a height and width."""
        down, across = height / self.height, width / self.width
        # The middle of a pixel is half a pixel from its border, where the image begins.
        return Camera(
            *(width, height, self.fx * across, self.fy * down),
            *((self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5),
        )

    def rotated(self, degrees: int) -> "Camera":
        """Return the camera of the image rotated clockwise, see `rotate_image`.

        The optical axis stays, and so does depth along it; x and y axes turn with the image.

        Raises:
            DepthFormerError: The degrees are no multiple of 90.
        """
        if degrees % 90:
            raise DepthFormerError(f"images are rotated by multiples of 90 degrees, got {degrees}")
        camera = self
        for _ in range(degrees // 90 % 4):
            # The lowest row becomes the first column.
            camera = Camera(
                *(camera.height, camera.width, camera.fy, camera.fx),
                *(camera.height - 1 - camera.cy, camera.cx),
            )
        return camera

    def unproject(self, depth: FloatArray) -> FloatArray:
        """Compute the points of a depth image in the optical frame.

        Args:
            depth: (H, W), metres along the optical axis; NaN and infinity where there is none.

        Returns:
            (H, W, 3), metres; NaN where the depth is not finite.

        Raises:
            ValueError: The depth is not of this camera's size.
        """
        if depth.shape != (self.height, self.width):
            raise DepthFormerError(
                f"depth has shape {depth.shape}, the camera {self.height, self.width}"
            )
        z = np.where(np.isfinite(depth), depth, np.float32(np.nan))
        across, down = self.slopes()
        # OpenCV interleaves several times as fast as three assignments.
        points = cv2.merge((z * across, z * down[:, None], z))
        return points.astype(np.float32, copy=False)

    def slopes(self, *, stride: int = 1) -> tuple[FloatArray, FloatArray]:
        """Compute the slopes of the rays through every `stride`-th column and row.

        Returns:
            `x / z` of the columns and `y / z` of the rows.
        """
        across = (np.arange(0, self.width, stride, dtype=np.float32) - self.cx) / self.fx
        down = (np.arange(0, self.height, stride, dtype=np.float32) - self.cy) / self.fy
        return across.astype(np.float32, copy=False), down.astype(np.float32, copy=False)

    def project(self, points: FloatingArray) -> FloatingArray:
        """Project points of the optical frame to pixels.

        Args:
            points: (..., 3), metres.

        Returns:
            (..., 2) column and row, pixels; NaN for points that are not in front of the camera.
        """
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        u = self.fx * points[..., 0] / z + self.cx
        v = self.fy * points[..., 1] / z + self.cy
        return np.stack((u, v), axis=-1)


MOST_UNSEEN = 0.1
"""Largest share of black pixels after rectification, if calibration and image fit."""


@dataclass(frozen=True)
class Calibration:
    """Rectification of a raw image to the image of a `Camera`.

    Hashable, so the maps of a calibration are computed once.

    Attributes:
        camera: Camera of the rectified image; the raw image has the same size.
        raw_intrinsics: Row-major 3x3 matrix K of the raw image, pixels.
        distortion: Coefficients of the raw lens in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2
            s3 s4 tx ty, the first 4, 5, 8, 12 or 14 of them; of a fisheye k1 k2 k3 k4. Empty or
            zeros for none.
        rotation: Row-major 3x3 rotation R from the raw to the rectified optical frame.
        fisheye: Whether the lens is a fisheye in OpenCV's model (Kannala and Brandt, TPAMI 2006),
            which without coefficients is equidistant.
        source: Of a calibration for images that are rectified already: their rectification, where
            it is known.
    """

    camera: Camera
    raw_intrinsics: Matrix3
    distortion: tuple[float, ...] = ()
    rotation: Matrix3 = IDENTITY
    fisheye: bool = False
    source: "Calibration | None" = None

    def __post_init__(self) -> None:
        """Reject coefficients OpenCV cannot rectify with."""
        known = (0, 4) if self.fisheye else (0, *PINHOLE_TERMS)
        if len(self.distortion) not in known:
            raise DepthFormerError(
                f"distortion needs {', '.join(map(str, known[:-1]))} or {known[-1]} coefficients, "
                f"got {len(self.distortion)}: {self.distortion}"
            )
        values = (*self.raw_intrinsics, *self.distortion, *self.rotation)
        if not all(map(math.isfinite, values)):
            raise DepthFormerError(f"calibration holds a value that is not finite: {values}")

    @functools.cached_property
    def is_rectified(self) -> bool:
        """Whether the raw image already is the rectified one."""
        camera = self.camera
        wanted = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
        return bool(
            not self.fisheye
            and not any(self.distortion)
            and np.allclose(self.rotation, IDENTITY, rtol=0, atol=1e-9)
            and np.allclose(self.raw_intrinsics, wanted, rtol=1e-9, atol=1e-9)
        )

    @property
    def seen(self) -> BoolArray:
        """Pixels of the rectified image that the raw image shows, (H, W), read-only.

        They lie between pixels of the raw image, where its lens model is one to one: beyond the
        angles it was fitted to, it can fold back.
        """
        if self.is_rectified:
            return np.broadcast_to(np.True_, (self.camera.height, self.camera.width))
        return _rectification_maps(self).seen

    @property
    def unseen_share(self) -> float:
        """Share of the rectified image's pixels that are not `seen`."""
        return 0.0 if self.is_rectified else _rectification_maps(self).unseen_share

    def rectify(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resample a raw image (H, W, C) or (H, W) to the rectified camera.

        Returns:
            Of the same shape, exactly black where it saw nothing, which includes black borders of
            the raw image, as around the circle of a fisheye. Other black becomes 1, so that black
            means unseen.

        Raises:
            ValueError: The image is not of the camera's size.
        """
        self._check_size(image)
        maps = _rectification_maps(self)
        rectified = cv2.remap(image, maps.columns, maps.rows, cv2.INTER_LINEAR)
        rectified = np.asarray(rectified, np.uint8).reshape(image.shape)
        hidden = ~maps.seen
        raw_hidden = unseen_pixels(image)
        if raw_hidden is not None:
            # Blurred, so that enlarged it ends as smoothly.
            shares = cv2.blur(np.where(raw_hidden, np.uint8(255), np.uint8(0)), _BLUR)
            hidden |= cv2.remap(shares, maps.columns, maps.rows, cv2.INTER_LINEAR) > _HALF
        elif not maps.unseen_share:
            return rectified
        _hide(rectified, hidden)
        return rectified

    def rectify_mask(self, mask: BoolArray) -> BoolArray:
        """Resample a mask (H, W) of the raw image to the rectified camera.

        Returns:
            (H, W), of each pixel the value of the nearest raw one; false where the raw image shows
            nothing. The mask itself where images are rectified already.

        Raises:
            ValueError: The mask is not of the camera's size.
        """
        self._check_size(mask.view(np.uint8))
        if self.is_rectified:
            return mask
        maps = _rectification_maps(self)
        values = cv2.remap(mask.view(np.uint8), maps.columns, maps.rows, cv2.INTER_NEAREST)
        return np.asarray(values, np.uint8).view(np.bool_)

    def blacken_unseen(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Make black in an image (H, W, C), rectified already, what its camera never saw.

        After JPEG such pixels are nearly black. They are those of `source`, if the image fits
        that rectification: nearly black there, and less so elsewhere.

        Returns:
            (H, W, C), as from `rectify`; the image itself where there is nothing to do.

        Raises:
            ValueError: The image is not of the camera's size.
        """
        self._check_size(image)
        if self.source is None:
            return image
        borders = (image[0], image[-1], image[:, 0], image[:, -1])
        # The quick case of most images; their calibration may change with each.
        if all((border.max(axis=-1) >= _NEARLY_BLACK).all() for border in borders):
            return image
        seen = self.source.seen
        dark = black_pixels(image, below=_NEARLY_BLACK) > 0
        hidden = seen.size - np.count_nonzero(seen)
        dark_seen = np.count_nonzero(dark & seen)
        dark_hidden = np.count_nonzero(dark) - dark_seen
        if not hidden or dark_hidden < _MOSTLY * hidden or 2 * dark_seen > seen.size - hidden:
            return image
        blackened = image.copy()
        found = unseen_pixels(image)
        _hide(blackened, ~seen if found is None else found | ~seen)
        return blackened

    def _check_size(self, image: npt.NDArray[np.uint8]) -> None:
        if image.shape[:2] != (self.camera.height, self.camera.width):
            raise DepthFormerError(
                f"image has size {image.shape[1]}x{image.shape[0]}, "
                f"the camera {self.camera.width}x{self.camera.height}"
            )


def _hide(image: npt.NDArray[np.uint8], hidden: BoolArray) -> None:
    """Make the hidden pixels of an image, (H, W), black, and no others."""
    black = black_pixels(image)
    # OpenCV is many times as fast as NumPy's masks.
    cv2.copyTo(np.ones_like(image), black, image)
    cv2.copyTo(np.zeros_like(image), hidden.view(np.uint8), image)


def fisheye_camera(
    raw_intrinsics: Matrix3, distortion: tuple[float, ...], *, width: int, height: int
) -> Camera:
    """Return a camera for the rectified image of a fisheye.

    Args:
        raw_intrinsics: As of `Calibration`.
        distortion: As of `Calibration`.
        width: Columns of both images.
        height: Rows of both images.

    Returns:
        A camera along the optical axis, 90 degrees wide, or as wide as the lens sees it whole.
    """
    k = np.array(raw_intrinsics, np.float64).reshape(3, 3)
    terms = np.array(distortion or (0.0,) * 4, np.float64)
    widest = _widest_slope(distortion, fisheye=True)
    columns, rows = (
        np.linspace(-1, 1, 65) * (width - 1) / 2,
        np.linspace(-1, 1, 65) * (height - 1) / 2,
    )
    left, top = np.full_like(rows, columns[0]), np.full_like(columns, rows[0])
    borders = np.stack(
        (np.concatenate((columns, columns, left, -left)), np.concatenate((top, -top, rows, rows))),
        axis=-1,
    )
    for focal in width / 2 * 1.02 ** np.arange(200):
        rays = borders / focal
        seen = cv2.fisheye.distortPoints(rays[None], k, terms)[0]
        inside = (seen >= 0).all() and (seen <= (width - 1, height - 1)).all()
        if inside and (np.linalg.norm(rays, axis=-1) < widest).all():
            return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    return Camera(width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])


class _Maps(NamedTuple):
    columns: "MatLike"
    rows: "MatLike"
    seen: BoolArray
    unseen_share: float


@functools.lru_cache(maxsize=4)
def _rectification_maps(calibration: Calibration) -> _Maps:
    camera = calibration.camera
    last_column, last_row = camera.width - 1, camera.height - 1
    wanted = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]], np.float64)
    rotation = np.array(calibration.rotation, np.float64).reshape(3, 3)
    lens = cv2.fisheye if calibration.fisheye else cv2
    columns, rows = lens.initUndistortRectifyMap(
        np.array(calibration.raw_intrinsics, np.float64).reshape(3, 3),
        np.array(calibration.distortion or (0.0,) * 4, np.float64),
        rotation,
        wanted,
        (camera.width, camera.height),
        cv2.CV_32FC1,
    )
    # Comparisons with NaN are false.
    seen = (columns > -_ROUNDED) & (columns < last_column + _ROUNDED)
    seen &= (rows > -_ROUNDED) & (rows < last_row + _ROUNDED)
    widest = _widest_slope(calibration.distortion, fisheye=calibration.fisheye)
    seen &= _slopes_squared(camera, rotation) < widest**2
    seen.setflags(write=False)
    # Fixed-point maps are faster, but wrap around where a coordinate is large.
    columns = np.where(seen, columns, np.float32(-2))
    rows = np.where(seen, rows, np.float32(-2))
    columns, rows = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
    return _Maps(columns, rows, seen, 1 - float(seen.mean()))


def _slopes_squared(camera: Camera, rotation: npt.NDArray[np.float64]) -> FloatArray:
    """Squared slopes of rays to the raw optical axis, (H, W); infinite behind the camera."""
    across, down = camera.slopes()
    turned = rotation.T.astype(np.float32)
    x, y, z = (row[0] * across + (row[1] * down + row[2])[:, None] for row in turned)
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = (x * x + y * y) / (z * z)
    return np.where(z > 0, squared, np.float32(np.inf))


def _widest_slope(distortion: tuple[float, ...], *, fisheye: bool) -> float:
    """Slope of a ray to the optical axis up to which a lens model maps rays one to one."""
    terms = np.zeros(8)
    terms[: len(distortion)] = distortion[:8]
    if fisheye:
        k1, k2, k3, k4 = terms[:4]
        ray = _ANGLES
        square = ray**2
        stretch = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
    else:
        k1, k2, _, _, k3, k4, k5, k6 = terms
        ray = np.tan(_ANGLES)
        square = ray**2
        numerator = 1 + square * (k1 + square * (k2 + square * k3))
        denominator = 1 + square * (k4 + square * (k5 + square * k6))
        # Beyond a pole nothing holds.
        stretch = np.where(np.minimum.accumulate(denominator) > 0, numerator / denominator, 0.0)
    folded = np.flatnonzero(np.diff(ray * stretch) <= 0)
    return float(np.tan(_ANGLES[folded[0]])) if folded.size else math.inf
