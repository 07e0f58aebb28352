"""Calibrations from camera_info, as drivers fill it in, and names of topics of rectified images.

The functions read the fields of `sensor_msgs` alone, so the message objects of a running ROS 2
and those of bags are alike to them.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depthformer_core.bags.conversion import ConversionError, shown
from depthformer_core.bags.message_types import CameraInfoMessage, base_topic
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import (
    IDENTITY,
    PINHOLE_TERMS,
    Calibration,
    Camera,
    Matrix3,
    fisheye_camera,
)

# Terms of the distortion models that are OpenCV's pinhole, by their names in small letters. Where a
# model is another's inverse, or none, there may be nothing but zeros.
_PINHOLE_MODELS = {
    "": PINHOLE_TERMS[-1],
    "none": 0,
    "plumb_bob": 5,
    "radtan": 5,
    "brown_conrady": 5,
    "modified_brown_conrady": 0,
    "inverse_brown_conrady": 0,
    "rational_polynomial": PINHOLE_TERMS[-1],
    "thin_prism": PINHOLE_TERMS[-1],
}
_FISHEYE_MODELS = ("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4")
_FISHEYE_TERMS = 4

_KITTI2BAG = re.compile(r"(^|/)kitti/camera_(gray|color)_(left|right)/image_raw$")


def calibration_from_info(info: CameraInfoMessage, *, rectified: bool = False) -> Calibration:
    """Read the calibration of the images that come with this message.

    A region of interest and binning are applied to K and P. Without a P (all zeros) the rectified
    image keeps K, and that of a fisheye shows 90 degrees, see `fisheye_camera`; without an R (all
    zeros) it keeps the orientation.

    The models `plumb_bob` (also `radtan`, `brown_conrady`) and `rational_polynomial` (also
    `thin_prism`) are the first 5 and 14 terms of OpenCV's pinhole distortion; without a model, 4,
    5, 8, 12 or 14 terms are taken for these. `equidistant` (also `fisheye`, `kannala_brandt`) is
    OpenCV's fisheye. Zeros behind a model's terms count for nothing.

    Args:
        info: `sensor_msgs/msg/CameraInfo` (REP 104).
        rectified: Whether the images are rectified already. Then P alone is needed, or K where
            that is all zeros; the other fields are optional, and become the calibration's
            `source` where they are valid.

    Raises:
        ConversionError: The camera is not calibrated, or a field makes no sense.
    """
    region = _region(info)
    if rectified:
        camera = region.camera(_projection(info, _finite("p", info.p)))
        # What cannot be read is not needed.
        try:
            source = calibration_from_info(info)
        except DepthFormerError:
            source = None
        if source is not None and (source.is_rectified or source.camera != camera):
            source = None
        raw = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
        return Calibration(camera, raw, source=source)
    k, p, r, d = (_finite(name, getattr(info, name)) for name in "kprd")
    _check_focal("k", k, (0, 4))
    fisheye, terms = _distortion(info.distortion_model, d)
    if fisheye and not any(p):
        filling = fisheye_camera(_matrix(k), terms, width=info.width, height=info.height)
        camera = region.camera(_matrix_of(filling))
    else:
        camera = region.camera(_projection(info, p))
    return Calibration(camera, region.matrix(_matrix(k)), terms, _rotation(r), fisheye)


def named_rectified(topic: str) -> bool:
    """Return whether a topic's name marks its images as rectified, as `/camera/image_rect` does.

    `rect` or `rectified` is a part of the last name, or the name before `image`, as with ZED's
    cameras, whatever image_transport adds to it. Bags of kitti2bag have rectified images under
    `/kitti/camera_color_left/image_raw` and the like, beside a camera_info of the raw ones.
    """
    topic = base_topic(topic)
    if _KITTI2BAG.search(topic):
        return True
    names = topic.split("/")
    if names[-2:] == ["rect", "image"]:
        return True
    return not {"rect", "rectified"}.isdisjoint(names[-1].split("_"))


class _Region(NamedTuple):
    """The part of a sensor that images show, and how many of its pixels make one of theirs."""

    left: int
    top: int
    width: int
    height: int
    across: int
    down: int

    def matrix(self, whole: Matrix3) -> Matrix3:
        """Return the intrinsics of an image of this part, from those of the whole image."""
        return (
            whole[0] / self.across,
            whole[1] / self.across,
            (whole[2] - self.left) / self.across,
            0.0,
            whole[4] / self.down,
            (whole[5] - self.top) / self.down,
            0.0,
            0.0,
            1.0,
        )

    def camera(self, whole: Matrix3) -> Camera:
        """Return the camera of a rectified image of this part, from the intrinsics of the whole."""
        part = self.matrix(whole)
        size = self.width // self.across, self.height // self.down
        return Camera(*size, fx=part[0], fy=part[4], cx=part[2], cy=part[5])


def _region(info: CameraInfoMessage) -> _Region:
    if not info.width or not info.height:
        raise ConversionError(
            "width",
            f"and height are {info.width}x{info.height}, which is no size of an image: set "
            "image_width and image_height in the camera's calibration file",
        )
    roi = info.roi
    width, height = (roi.width or info.width), (roi.height or info.height)
    if roi.x_offset + width > info.width or roi.y_offset + height > info.height:
        raise ConversionError(
            "roi",
            f"of {width}x{height} at ({roi.x_offset}, {roi.y_offset}) exceeds the image of "
            f"{info.width}x{info.height}",
        )
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    if width < across or height < down:
        raise ConversionError(
            "binning_x", f"{across} and binning_y {down} remove all of {width}x{height}"
        )
    return _Region(roi.x_offset, roi.y_offset, width, height, across, down)


def _finite(name: str, numbers: Sequence[float]) -> tuple[float, ...]:
    values = tuple(map(float, numbers))
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise ConversionError(name, f"has a value that is not finite: {value} at {index}")
    return values


def _check_focal(name: str, values: tuple[float, ...], places: tuple[int, int]) -> None:
    for place in places:
        if values[place] <= 0:
            raise ConversionError(
                f"focal length {name}[{place}]", f"must be positive, got {values[place]}"
            )


def _projection(info: CameraInfoMessage, p: tuple[float, ...]) -> Matrix3:
    """Return the intrinsics of the whole rectified image: P, or K where P is all zeros."""
    if any(p):
        _check_focal("p", p, (0, 5))
        return _matrix((*p[0:3], *p[4:7], *p[8:11]))
    k = _finite("k", info.k)
    _check_focal("k", k, (0, 4))
    return _matrix(k)


def _matrix(values: Sequence[float]) -> Matrix3:
    a, b, c, d, e, f, g, h, i = values
    return (a, b, c, d, e, f, g, h, i)


def _matrix_of(camera: Camera) -> Matrix3:
    return (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)


def _distortion(model: str, d: tuple[float, ...]) -> tuple[bool, tuple[float, ...]]:
    """Return whether a model is a fisheye's, and its terms as `Calibration` takes them."""
    name = re.sub(r"[\s-]+", "_", model.strip().lower())
    fisheye = name in _FISHEYE_MODELS
    if not fisheye and name not in _PINHOLE_MODELS:
        raise ConversionError(
            "distortion_model",
            f"{shown(model)} is not supported; known are plumb_bob, rational_polynomial and "
            "equidistant: rectify with the camera's own node, and use its image_rect",
        )
    known = _FISHEYE_TERMS if fisheye else _PINHOLE_MODELS[name]
    beyond = next((place for place in range(known, len(d)) if d[place]), None)
    if beyond is not None:
        raise ConversionError(
            "d",
            f"of {len(d)} terms has {d[beyond]:g} at {beyond}, "
            f"but distortion_model {shown(model)} has {known} terms",
        )
    terms = d[:known]
    if not any(terms):
        return fisheye, ()
    if not name and len(terms) not in PINHOLE_TERMS:
        raise ConversionError(
            "d", f"has {len(d)} terms, which without a distortion_model may mean anything"
        )
    lengths = (_FISHEYE_TERMS,) if fisheye else PINHOLE_TERMS
    length = next(length for length in lengths if length >= len(terms))
    return fisheye, terms + (0.0,) * (length - len(terms))


def _rotation(r: tuple[float, ...]) -> Matrix3:
    if not any(r):
        return IDENTITY
    matrix = np.reshape(r, (3, 3))
    if not np.allclose(matrix @ matrix.T, np.eye(3), rtol=0, atol=1e-3):
        raise ConversionError("r", f"is no rotation: {r}")
    return _matrix(r)
