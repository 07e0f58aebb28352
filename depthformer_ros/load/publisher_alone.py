"""A process that only publishes depth images and clouds: the middleware's cost of a frame."""

import argparse
import array
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from depthformer_core.bags.node_topics import CLOUD, DEPTH
from depthformer_ros.load.probe import Probe, processor_time
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.node.outputs import output_qos
from depthformer_ros.process import child_environment, end_process

_NAMESPACE = "/alone"
_TRIGGER = f"{_NAMESPACE}/trigger"
_IMAGES, _CLOUDS = f"{_NAMESPACE}/{DEPTH}", f"{_NAMESPACE}/{CLOUD}"


class PublisherAlone:
    """Makes the process publish, and measures it.

    Args:
        probe: Subscribes, as to the node's outputs.
        process: The process.
        rate: Pairs of messages a second.
    """

    def __init__(self, probe: Probe, process: "subprocess.Popen[bytes]", *, rate: float) -> None:
        self._probe = probe
        self._process = process
        self._rate = rate
        self._count = 0
        self._trigger = probe.node.create_publisher(Time, _TRIGGER, 10)
        probe.node.create_subscription(Image, _IMAGES, self._on_message, 5, raw=True)
        probe.node.create_subscription(PointCloud2, _CLOUDS, self._on_message, 5, raw=True)

    def _on_message(self, data: bytes) -> None:
        del data
        self._count += 1

    def window(self, *, seconds: float) -> float:
        """Make it publish for a while.

        Returns:
            Seconds of one core for a pair of messages.
        """
        before, sent = processor_time(self._process.pid), 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._trigger.publish(Time())
            sent += 1
            self._probe.spin_until(min(end, time.monotonic() + 1 / self._rate))
        return (processor_time(self._process.pid) - before) / sent

    def wait(self) -> None:
        """Wait until both messages come."""
        while self._count < 2:
            self._trigger.publish(Time())
            self._probe.spin_until(time.monotonic() + 0.5)


@contextlib.contextmanager
def publishing(probe: Probe, *, rate: float) -> Iterator[PublisherAlone]:
    """Start a process that publishes messages of the size of the probe's camera, and end it.

    Args:
        probe: Subscribes.
        rate: Pairs of messages a second.
    """
    size = probe.camera.height, probe.camera.width
    process = subprocess.Popen(  # noqa: S603  # our own module, without a shell
        [sys.executable, "-m", __name__, *map(str, size)], env=child_environment()
    )
    try:
        publisher = PublisherAlone(probe, process, rate=rate)
        publisher.wait()
        yield publisher
    finally:
        end_process(process)


def main(args: Sequence[str] | None = None) -> None:
    """Publish a pair of messages each time one comes on the trigger, until interrupted."""
    parser = argparse.ArgumentParser(prog="publisher_alone", description=__doc__)
    parser.add_argument("height", type=int, help="rows of the depth image")
    parser.add_argument("width", type=int, help="columns of the depth image")
    options = parser.parse_args(args)
    with large_messages():
        rclpy.init(args=[])
        node = rclpy.create_node("publisher_alone")
    pixels = options.height * options.width
    image = Image(data=array.array("B", bytes(4 * pixels)))
    cloud = PointCloud2(data=array.array("B", bytes(16 * pixels)))
    images = node.create_publisher(Image, _IMAGES, output_qos())
    clouds = node.create_publisher(PointCloud2, _CLOUDS, output_qos())

    def publish(stamp: Time) -> None:
        image.header = cloud.header = Header(stamp=stamp, frame_id="alone")
        images.publish(image)
        clouds.publish(cloud)

    node.create_subscription(Time, _TRIGGER, publish, 10)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
