"""Publish generated images as a camera's driver does, with the middleware's defaults.

The stamp of an image is its time of sending. At the end the stamps of all images are written to a
file, a line each, nanoseconds.
"""

import argparse
import itertools
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.drive import Drive
from depthformer_core.types import Rgb
from depthformer_ros.messages.conversions import camera_info_of, rgb_to_image

_FRAME = "camera_optical_frame"
_PICTURES = 2  # different images, sent in turn
_DRAWN = 640  # columns of the rendered scene; larger images are enlarged from it
_LINGER = 1.0  # seconds
_LENS = (-0.35, 0.12, 0.0, 0.0, 0.0)  # of a wide-angle camera, plumb_bob


def main(args: Sequence[str] | None = None) -> None:
    """Publish until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m depthformer_ros.load.camera_driver", description=__doc__
    )
    parser.add_argument("output", type=Path, help="file for the stamps")
    parser.add_argument("--image", required=True, help="topic of the images, without /compressed")
    parser.add_argument("--camera-info", required=True, help="topic of the calibration")
    parser.add_argument("--width", type=int, required=True, help="columns")
    parser.add_argument("--height", type=int, required=True, help="rows")
    parser.add_argument("--rate", type=float, required=True, help="images a second")
    parser.add_argument("--best-effort", action="store_true", help="instead of reliable")
    parser.add_argument("--compressed", action="store_true", help="send JPEG")
    parser.add_argument("--latched", action="store_true", help="send camera_info once, and keep it")
    parser.add_argument("--distorted", action="store_true", help="images are not rectified")
    options = parser.parse_args(args)
    stamps: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        _Driver(rclpy.create_node("camera_driver"), options).run(stamps)
    except KeyboardInterrupt:
        # Messages in transit arrive, as from a driver that continues.
        time.sleep(_LINGER)
        options.output.write_text("".join(f"{stamp}\n" for stamp in stamps))
    finally:
        rclpy.try_shutdown()


class _Driver:
    """The publishers of a camera.

    Args:
        node: The `rclpy.node.Node` that publishes.
        options: Options of the command line.
    """

    def __init__(self, node: Node, options: argparse.Namespace) -> None:
        self._period = 1 / options.rate
        self._repeats = not options.latched
        camera = _camera(options.width, options.height)
        to_message = _compressed if options.compressed else _raw
        self._images = [to_message(picture) for picture in _pictures(camera)]
        self._info = camera_info_of(camera, Header(frame_id=_FRAME))
        if options.distorted:
            self._info.d = list(_LENS)
        topic = f"{options.image}/compressed" if options.compressed else options.image
        # The QoS of image_transport, or of drivers with sensor data QoS.
        qos = qos_profile_sensor_data if options.best_effort else QoSProfile(depth=10)
        self._publisher = node.create_publisher(type(self._images[0]), topic, qos)
        info_qos = QoSProfile(depth=1) if options.latched else qos
        if options.latched:
            info_qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self._infos = node.create_publisher(CameraInfo, options.camera_info, info_qos)

    def run(self, stamps: list[int]) -> None:
        """Publish until interrupted, and append the stamps."""
        if not self._repeats:
            self._infos.publish(self._info)
        due = time.monotonic()
        for image in itertools.cycle(self._images):
            stamp = time.time_ns()
            self._stamp(image, stamp)
            if self._repeats:
                self._stamp(self._info, stamp)
                self._infos.publish(self._info)
            self._publisher.publish(image)
            stamps.append(stamp)
            # A late image does not shorten the next intervals.
            due = max(due + self._period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _stamp(self, message: Image | CompressedImage | CameraInfo, stamp: int) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)


def _camera(width: int, height: int) -> Camera:
    """Return a camera with a field of view of 65 degrees."""
    focal = 0.785 * width
    return Camera(width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5)


def _pictures(camera: Camera) -> list[Rgb]:
    """Render its images, (H, W, 3)."""
    small = _camera(_DRAWN, round(_DRAWN * camera.height / camera.width))
    drive = Drive(0, frames=_PICTURES, camera=small)
    size = camera.width, camera.height
    return [
        np.asarray(cv2.resize(drive.picture(frame)[0], size), np.uint8)
        for frame in range(_PICTURES)
    ]


def _raw(picture: Rgb) -> Image:
    return rgb_to_image(picture, Header(frame_id=_FRAME))


def _compressed(picture: Rgb) -> CompressedImage:
    message = CompressedImage(header=Header(frame_id=_FRAME), format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes())
    return message


if __name__ == "__main__":
    main()
