"""ROS messages of bags: built from arrays and cameras; clouds turned back into arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.bags import TYPESTORE
from depthformer_core.bags.message_types import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    TF_MESSAGE,
    PointCloudMessage,
    StampedMessage,
)
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.types import FloatArray, FloatingArray, Rgb

_TYPES = TYPESTORE.types
_SECOND = 1_000_000_000
_FLOAT32 = 7
# Types of PointField.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
# A colour's bytes, packed into a number and seen as one of another type.
_PACKED = {5: "u4", 6: "u4", 7: "u4"}

# Encoding: element type and channels.
_ENCODINGS: dict[str, tuple[type[np.generic], int]] = {
    "rgb8": (np.uint8, 3),
    "32FC1": (np.float32, 1),
}
_COMPRESSION = {
    "jpeg": [cv2.IMWRITE_JPEG_QUALITY, 88],
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
}


def header(*, stamp: int, frame_id: str) -> Any:
    """Build the header of a message measured at `stamp`, nanoseconds since the epoch."""
    seconds, nanoseconds = divmod(stamp, _SECOND)
    time = _TYPES["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return _TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def header_stamp(message: StampedMessage) -> int:
    """Return the stamp in the header of a message, nanoseconds since the epoch."""
    stamp = message.header.stamp
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def image_message(rgb: npt.NDArray[np.uint8], *, stamp: int, frame_id: str) -> Any:
    """Build an `rgb8` image from (H, W, 3) RGB."""
    return _image(rgb, "rgb8", stamp=stamp, frame_id=frame_id)


def compressed_message(rgb: Rgb, form: Literal["jpeg", "png"], *, stamp: int, frame_id: str) -> Any:
    """Build an image from (H, W, 3) RGB as a JPEG, or as a PNG, which keeps every value."""
    _check_pixels(rgb, "rgb8")
    encoded, data = cv2.imencode(f".{form}", rgb[..., ::-1], _COMPRESSION[form])
    if not encoded:
        raise DepthFormerError(f"{form} takes no image of shape {rgb.shape}")
    return _TYPES[COMPRESSED_IMAGE](
        header=header(stamp=stamp, frame_id=frame_id), format=form, data=data
    )


def depth_message(depth: FloatArray, *, stamp: int, frame_id: str) -> Any:
    """Build a `32FC1` depth image from (H, W), metres along the optical axis (REP 118)."""
    return _image(depth, "32FC1", stamp=stamp, frame_id=frame_id)


def camera_info_message(camera: Camera, *, stamp: int, frame_id: str) -> Any:
    """Build the CameraInfo of a rectified camera: no distortion, K and P of the same intrinsics."""
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    return _TYPES[CAMERA_INFO](
        header=header(stamp=stamp, frame_id=frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], np.float64),
        r=np.eye(3).ravel(),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0], np.float64),
        binning_x=0,
        binning_y=0,
        roi=_TYPES["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def scan_message(scan: FloatArray, *, stamp: int, frame_id: str) -> Any:
    """Build a PointCloud2 from a laser scan (N, 4): x, y, z in metres and intensity."""
    if scan.ndim != 2 or scan.shape[1] != 4:
        raise DepthFormerError(f"a scan must be (N, 4), got {scan.shape}")
    return _cloud(("x", "y", "z", "intensity"), scan, stamp=stamp, frame_id=frame_id)


def coloured_cloud_message(
    points: FloatArray, colours: npt.NDArray[np.uint8], *, stamp: int, frame_id: str
) -> Any:
    """Build a PointCloud2 with packed colours in its field `rgb`, as PCL and RViz take them.

    Args:
        points: (N, 3), metres.
        colours: (N, 3), RGB.
        stamp: Time of the measurement, nanoseconds since the epoch.
        frame_id: Frame of the points.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.shape != colours.shape:
        raise DepthFormerError(
            f"points and colours must both be (N, 3), got {points.shape} and {colours.shape}"
        )
    values = np.zeros((len(points), 4), "<f4")
    values[:, :3] = points
    # The bits 0x00RRGGBB as float32.
    values[:, 3:].view(np.uint8)[:, 2::-1] = colours
    return _cloud(("x", "y", "z", "rgb"), values, stamp=stamp, frame_id=frame_id)


def number_message(value: float) -> Any:
    """Build a Float64, which has no stamp of its own."""
    return _TYPES["std_msgs/msg/Float64"](data=float(value))


def text_message(text: str) -> Any:
    """Build a String, which has no stamp of its own."""
    return _TYPES["std_msgs/msg/String"](data=text)


def cloud_points(message: PointCloudMessage) -> FloatArray:
    """Read the coordinates of a PointCloud2, (H, W, 3), metres in its own frame.

    The fields x, y and z may be of any type of number, in any order and at any place.

    Raises:
        DepthFormerError: A coordinate is missing or not one number, or the data is too short for
            the size.
    """
    records = _cloud_records(message, "xyz", _DATATYPES)
    points = np.empty((*records.shape, 3), np.float32)
    with np.errstate(over="ignore"):  # beyond float32 is infinitely far
        for axis, name in enumerate("xyz"):
            points[..., axis] = records[name]
    return points


def cloud_colours(message: PointCloudMessage) -> npt.NDArray[np.uint8]:
    """Read the colours of a PointCloud2 with a field `rgb` of packed bytes, (H, W, 3) RGB.

    Raises:
        DepthFormerError: As for `cloud_points`.
    """
    packed = _cloud_records(message, ["rgb"], _PACKED)["rgb"].astype("<u4")
    return packed[..., np.newaxis].view(np.uint8)[..., 2::-1].copy()


def transforms_message(transforms: Sequence[tuple[str, str, FloatingArray]], *, stamp: int) -> Any:
    """Build a TFMessage from (parent, child, matrix): a 4x4 matrix from child to parent.

    Frames keep this order in ROS: the translation is the child's origin seen by the parent.
    """
    geometry = {name: _TYPES[f"geometry_msgs/msg/{name}"] for name in ("Vector3", "Quaternion")}
    stamped = []
    for parent, child, matrix in transforms:
        x, y, z, w = _quaternion(matrix[:3, :3])
        offset = matrix[:3, 3]
        transform = _TYPES["geometry_msgs/msg/Transform"](
            translation=geometry["Vector3"](*(float(value) for value in offset)),
            rotation=geometry["Quaternion"](x=x, y=y, z=z, w=w),
        )
        stamped.append(
            _TYPES["geometry_msgs/msg/TransformStamped"](
                header=header(stamp=stamp, frame_id=parent),
                child_frame_id=child,
                transform=transform,
            )
        )
    return _TYPES[TF_MESSAGE](transforms=stamped)


def _image(pixels: npt.NDArray[Any], encoding: str, *, stamp: int, frame_id: str) -> Any:
    _check_pixels(pixels, encoding)
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return _TYPES[IMAGE](
        header=header(stamp=stamp, frame_id=frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=data.nbytes // height,
        data=data.view(np.uint8).ravel(),
    )


def _check_pixels(pixels: npt.NDArray[Any], encoding: str) -> None:
    kind, channels = _ENCODINGS[encoding]
    wanted = (*pixels.shape[:2], channels) if channels > 1 else pixels.shape[:2]
    if pixels.shape != wanted or pixels.dtype != kind:
        raise DepthFormerError(f"no {encoding} image: got {pixels.dtype} {pixels.shape}")


def _cloud(names: Sequence[str], values: FloatArray, *, stamp: int, frame_id: str) -> Any:
    """Build a cloud of one row from (N, C) values of the named fields."""
    point_field = _TYPES["sensor_msgs/msg/PointField"]
    size = 4 * len(names)
    data = np.ascontiguousarray(values, "<f4")
    return _TYPES[POINT_CLOUD](
        header=header(stamp=stamp, frame_id=frame_id),
        height=1,
        width=len(values),
        fields=[
            point_field(name=name, offset=4 * place, datatype=_FLOAT32, count=1)
            for place, name in enumerate(names)
        ],
        is_bigendian=False,
        point_step=size,
        row_step=size * len(values),
        data=data.view(np.uint8).ravel(),
        is_dense=bool(np.isfinite(data[:, :3]).all()),
    )


def _cloud_records(
    message: PointCloudMessage, names: Sequence[str], types: Mapping[int, str]
) -> npt.NDArray[Any]:
    """Read fields of a cloud as stored, (H, W) records with the fields' names.

    Args:
        message: The cloud.
        names: Names of the fields.
        types: Allowed NumPy types by PointField's number.
    """
    height, width, size = message.height, message.width, message.point_step
    fields = {item.name: item for item in message.fields}
    if not height * width:
        # Clouds without a point often come without fields too.
        return np.empty((height, width), [(name, "f4") for name in names])
    for name in names:
        if name not in fields or fields[name].datatype not in types:
            there = [f"{key} ({_kind(item.datatype)})" for key, item in fields.items()]
            raise DepthFormerError(
                f"cloud has no field {name} of {', '.join(_kind(key) for key in types)}; "
                f"its fields are {', '.join(there) or 'none'}"
            )
    order = ">" if message.is_bigendian else "<"
    formats = [np.dtype(order + types[fields[name].datatype]) for name in names]
    offsets = [fields[name].offset for name in names]
    for name, kind, offset in zip(names, formats, offsets, strict=True):
        # Some drivers write 0 for one number, and PCL reads it so.
        if fields[name].count > 1:
            raise DepthFormerError(
                f"cloud field {name} must be one number, got {fields[name].count}"
            )
        if offset + kind.itemsize > size:
            raise DepthFormerError(
                f"cloud field {name} of {kind.itemsize} bytes at offset {offset} exceeds a point "
                f"of point_step {size}"
            )
    data = np.ascontiguousarray(message.data, np.uint8)
    row, used = message.row_step, width * size
    # Some drivers set row_step to 0, or to the size of something else.
    if height == 1 or height * used == len(data):
        row = used
    if row < used or len(data) < (height - 1) * row + used:
        raise DepthFormerError(
            f"cloud of {width}x{height} points has short data: {len(data)} bytes for point_step "
            f"{size} and row_step {message.row_step}"
        )
    layout: Any = {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size}
    return np.ndarray((height, width), np.dtype(layout), data, strides=(row, size))


def _kind(datatype: int) -> str:
    """Name of a type of PointField."""
    return np.dtype(_DATATYPES[datatype]).name if datatype in _DATATYPES else f"type {datatype}"


def _quaternion(rotation: FloatingArray) -> tuple[float, float, float, float]:
    """Return the unit quaternion x, y, z, w of a 3x3 rotation, w not negative.

    Calibrated matrices that are not quite orthogonal get the nearest rotation.
    """
    # A robot does without SciPy.
    from scipy.spatial.transform import Rotation

    # The rotation that takes the axes closest to the columns; from_matrix finds the nearest one
    # in newer releases of SciPy alone.
    nearest, _ = Rotation.align_vectors(rotation.T, np.eye(3))
    vector = nearest.as_quat()
    x, y, z, w = (float(value) for value in (vector if vector[3] >= 0 else -vector))
    return x, y, z, w
