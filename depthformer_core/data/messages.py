"""ROS messages of bags: built from arrays and cameras, and turned back into arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from depthformer_core.camera import Camera
from depthformer_core.data.bag import TYPESTORE

_TYPES = TYPESTORE.types
_SECOND = 1_000_000_000
_FLOAT32 = 7

# Encoding: element type and channels.
_ENCODINGS: dict[str, tuple[type[np.generic], int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "mono8": (np.uint8, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}


def header(*, stamp: int, frame_id: str) -> Any:
    """Header of a message measured at `stamp`, nanoseconds since the epoch."""
    seconds, nanoseconds = divmod(stamp, _SECOND)
    time = _TYPES["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return _TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def header_stamp(message: Any) -> int:
    """Stamp in the header of a message, nanoseconds since the epoch."""
    stamp = message.header.stamp
    return int(stamp.sec) * _SECOND + int(stamp.nanosec)


def image_message(rgb: npt.NDArray[np.uint8], *, stamp: int, frame_id: str) -> Any:
    """Image `rgb8` of (H, W, 3) RGB."""
    return _image(rgb, "rgb8", stamp=stamp, frame_id=frame_id)


def depth_message(depth: npt.NDArray[np.float32], *, stamp: int, frame_id: str) -> Any:
    """Depth image `32FC1` of (H, W), metres along the optical axis (REP 118)."""
    return _image(depth, "32FC1", stamp=stamp, frame_id=frame_id)


def image_array(message: Any) -> npt.NDArray[Any]:
    """Pixels of an Image message, without padding.

    Returns:
        (H, W) uint8, uint16 or float32, or (H, W, 3) uint8 in RGB order.

    Raises:
        ValueError: The encoding is not one of rgb8, bgr8, mono8, 16UC1 and 32FC1, or the data is
            shorter than the size says.
    """
    if message.encoding not in _ENCODINGS:
        raise ValueError(
            f"image encoding must be one of {', '.join(_ENCODINGS)}, got {message.encoding!r}"
        )
    kind, channels = _ENCODINGS[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * dtype.itemsize
    if message.step < row or len(message.data) < message.step * message.height:
        raise ValueError(
            f"image of {message.width}x{message.height} {message.encoding} has step "
            f"{message.step} and {len(message.data)} bytes of data"
        )
    lines = np.reshape(message.data[: message.step * message.height], (message.height, -1))
    pixels = np.ascontiguousarray(lines[:, :row]).view(dtype).astype(kind, copy=False)
    if channels == 1:
        return pixels
    pixels = pixels.reshape(message.height, message.width, channels)
    return pixels[..., ::-1].copy() if message.encoding == "bgr8" else pixels


def camera_info_message(camera: Camera, *, stamp: int, frame_id: str) -> Any:
    """CameraInfo of a rectified camera: no distortion, K and P of the same intrinsics."""
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    return _TYPES["sensor_msgs/msg/CameraInfo"](
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


def scan_message(scan: npt.NDArray[np.float32], *, stamp: int, frame_id: str) -> Any:
    """PointCloud2 of a laser scan (N, 4): x, y, z in metres and intensity."""
    names = ("x", "y", "z", "intensity")
    if scan.ndim != 2 or scan.shape[1] != len(names):
        raise ValueError(f"a scan must be (N, 4), got {scan.shape}")
    point_field = _TYPES["sensor_msgs/msg/PointField"]
    data = np.ascontiguousarray(scan, "<f4")
    return _TYPES["sensor_msgs/msg/PointCloud2"](
        header=header(stamp=stamp, frame_id=frame_id),
        height=1,
        width=len(scan),
        fields=[
            point_field(name=name, offset=4 * place, datatype=_FLOAT32, count=1)
            for place, name in enumerate(names)
        ],
        is_bigendian=False,
        point_step=16,
        row_step=16 * len(scan),
        data=data.view(np.uint8).ravel(),
        is_dense=bool(np.isfinite(scan).all()),
    )


def cloud_points(message: Any) -> npt.NDArray[np.float32]:
    """Coordinates of a PointCloud2 with float32 x, y and z, (H, W, 3) in its own frame.

    Raises:
        ValueError: A coordinate is missing or not float32, the bytes are big endian, or the data
            is shorter than the size says.
    """
    return np.stack([_cloud_field(message, name) for name in "xyz"], axis=-1)


def cloud_colours(message: Any) -> npt.NDArray[np.uint8]:
    """Colours of a PointCloud2 with a float32 field `rgb` of packed bytes, (H, W, 3) RGB.

    Raises:
        ValueError: As for `cloud_points`.
    """
    packed = _cloud_field(message, "rgb").view(np.uint8).reshape(message.height, message.width, 4)
    return packed[..., 2::-1].copy()


def transforms_message(
    transforms: Sequence[tuple[str, str, npt.NDArray[np.floating[Any]]]], *, stamp: int
) -> Any:
    """TFMessage of (parent, child, matrix): the 4x4 matrix takes the child's points to the parent.

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
    return _TYPES["tf2_msgs/msg/TFMessage"](transforms=stamped)


def _image(pixels: npt.NDArray[Any], encoding: str, *, stamp: int, frame_id: str) -> Any:
    kind, channels = _ENCODINGS[encoding]
    wanted = (*pixels.shape[:2], channels) if channels > 1 else pixels.shape[:2]
    if pixels.shape != wanted or pixels.dtype != kind:
        raise ValueError(f"no {encoding} image: got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels, np.dtype(kind).newbyteorder("<"))
    return _TYPES["sensor_msgs/msg/Image"](
        header=header(stamp=stamp, frame_id=frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=data.nbytes // height,
        data=data.view(np.uint8).ravel(),
    )


def _cloud_field(message: Any, name: str) -> npt.NDArray[np.float32]:
    """Field of a cloud, (H, W)."""
    fields = {item.name: item for item in message.fields}
    if name not in fields or fields[name].datatype != _FLOAT32:
        raise ValueError(f"cloud has no float32 field {name}, only {sorted(fields)}")
    used = message.width * message.point_step
    size = message.row_step * message.height
    if message.is_bigendian or message.row_step < used or len(message.data) < size:
        raise ValueError(
            f"cloud of {message.width}x{message.height} has big endian or short data: "
            f"{len(message.data)} bytes, steps {message.point_step} and {message.row_step}"
        )
    rows = np.reshape(message.data[:size], (message.height, message.row_step))[:, :used]
    points = rows.reshape(message.height, message.width, message.point_step)
    start = fields[name].offset
    if start + 4 > message.point_step:
        raise ValueError(f"field {name} at {start} leaves a point of {message.point_step} bytes")
    return np.ascontiguousarray(points[..., start : start + 4]).view("<f4")[..., 0].copy()


def _quaternion(rotation: npt.NDArray[np.floating[Any]]) -> tuple[float, float, float, float]:
    """Unit quaternion x, y, z, w of a 3x3 rotation, w not negative.

    The quaternion is the eigenvector of the largest eigenvalue of a symmetric matrix of the
    rotation's entries (Bar-Itzhack, "New Method for Extracting the Quaternion from a Rotation
    Matrix", 2000): no case is special, and calibrated matrices that are not quite orthogonal get
    the nearest rotation.
    """
    m = rotation
    symmetric = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], np.trace(m)],
        ]
    )
    vector = np.linalg.eigh(symmetric)[1][:, -1]  # eigh reads the lower triangle
    vector = vector if vector[3] >= 0 else -vector
    x, y, z, w = (float(value) for value in vector)
    return x, y, z, w
