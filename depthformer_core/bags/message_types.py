"""Message types that are read: names and fields; hints on those that are not read.

The protocols hold for the message objects of a running ROS 2 and for those of bags.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
DISPARITY = "stereo_msgs/msg/DisparityImage"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"
TRANSFORMS = (TF_MESSAGE, "tf/msg/tfMessage")

IMAGES = (IMAGE, COMPRESSED_IMAGE)

STABLE = (*IMAGES, CAMERA_INFO, POINT_CLOUD, TF_MESSAGE)
"""Types that all distributions of ROS 2 define alike."""

TRANSPORTS = ("compressed", "compressedDepth", "ffmpeg", "theora", "zstd")
"""Suffixes of topic names by image_transport."""
COMPRESSED = "/compressed"
"""Suffix of topics with JPEG and PNG images."""

_PACKETS = "the scanner's raw packets: record its points as PointCloud2"
_VIDEO = "video: record images as Image or CompressedImage, or decode it first"

UNREAD_CLOUDS = {
    "livox_ros_driver/msg/CustomMsg": "Livox's own message: set its driver's xfer_format to 0",
    "livox_ros_driver2/msg/CustomMsg": "Livox's own message: set its driver's xfer_format to 0",
    "livox_interfaces/msg/CustomMsg": "Livox's own message: set its driver's xfer_format to 0",
    "ouster_msgs/msg/PacketMsg": _PACKETS,
    "ouster_sensor_msgs/msg/PacketMsg": _PACKETS,
    "ouster_ros/msg/PacketMsg": _PACKETS,
    "velodyne_msgs/msg/VelodyneScan": _PACKETS,
    "hesai_ros_driver/msg/UdpFrame": _PACKETS,
    "nebula_msgs/msg/NebulaPackets": _PACKETS,
    "rslidar_msg/msg/RslidarPacket": _PACKETS,
    "sensor_msgs/msg/LaserScan": "a scan of one plane, too little to compare with",
    "sensor_msgs/msg/PointCloud": "points as before ROS 2: convert them to PointCloud2",
}
"""Types with points that are not read: what they are, and a hint."""

UNREAD_DEPTHS = {
    DISPARITY: "disparity, no truth: a source to judge by --prediction-topic",
}
"""The same for depth."""

UNREAD_IMAGES = {
    "theora_image_transport/msg/Packet": _VIDEO,
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": _VIDEO,
    "foxglove_msgs/msg/CompressedVideo": _VIDEO,
    "foxglove_msgs/msg/RawImage": "Foxglove's own message: record sensor_msgs/Image",
    "foxglove_msgs/msg/CompressedImage": "Foxglove's own message: record sensor_msgs/"
    "CompressedImage",
}
"""The same for images."""


class TimeFields(Protocol):
    """Fields of `builtin_interfaces/msg/Time`."""

    sec: int
    nanosec: int


class HeaderFields(Protocol):
    """Fields of `std_msgs/msg/Header`."""

    @property
    def stamp(self) -> TimeFields:
        """Time of the measurement."""

    frame_id: str


class StampedMessage(Protocol):
    """Any message with a header."""

    @property
    def header(self) -> HeaderFields:
        """Stamp and frame."""


class ImageMessage(StampedMessage, Protocol):
    """Fields of `sensor_msgs/msg/Image`."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes | npt.NDArray[np.uint8]


class CompressedImageMessage(StampedMessage, Protocol):
    """Fields of `sensor_msgs/msg/CompressedImage`."""

    format: str
    data: bytes | npt.NDArray[np.uint8]


class RegionFields(Protocol):
    """Fields of `sensor_msgs/msg/RegionOfInterest`."""

    x_offset: int
    y_offset: int
    width: int
    height: int


class DisparityMessage(StampedMessage, Protocol):
    """Fields of `stereo_msgs/msg/DisparityImage`."""

    f: float
    t: float
    T: float  # so in ROS 1
    min_disparity: float
    max_disparity: float

    @property
    def image(self) -> ImageMessage:
        """Disparities, pixels."""


class CameraInfoMessage(StampedMessage, Protocol):
    """Fields of `sensor_msgs/msg/CameraInfo`."""

    height: int
    width: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    r: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int

    @property
    def roi(self) -> RegionFields:
        """Part of the sensor that images show."""


class PointFieldFields(Protocol):
    """Fields of `sensor_msgs/msg/PointField`."""

    name: str
    offset: int
    datatype: int
    count: int


class PointCloudMessage(StampedMessage, Protocol):
    """Fields of `sensor_msgs/msg/PointCloud2`."""

    height: int
    width: int
    is_bigendian: bool
    point_step: int
    row_step: int
    data: bytes | npt.NDArray[np.uint8]

    @property
    def fields(self) -> Sequence[PointFieldFields]:
        """Layout of a point."""


def base_topic(topic: str) -> str:
    """Name of a topic of images without what image_transport adds to it."""
    base, _, last = topic.rpartition("/")
    return base if base and last in TRANSPORTS else topic


def calibration_beside(images: str) -> str:
    """Name of the topic of the calibration that image_transport publishes beside images."""
    folder, slash, _ = base_topic(images).rpartition("/")
    return f"{folder}{slash}camera_info"
