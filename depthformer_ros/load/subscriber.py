"""Subscribe to depth images and clouds at the lowest priority, and read all messages or none."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

from depthformer_ros.messages.transport import large_messages


def _ignore(data: bytes) -> None:
    del data


def main(args: Sequence[str] | None = None) -> None:
    """Subscribe until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m depthformer_ros.load.subscriber", description=__doc__
    )
    parser.add_argument("--images", nargs="*", default=[], help="topics of depth images")
    parser.add_argument("--clouds", nargs="*", default=[], help="topics of clouds")
    parser.add_argument("--never-read", action="store_true", help="read no message")
    options = parser.parse_args(args)
    # On a machine of few cores many subscribers must not slow the node down.
    os.nice(19)
    with large_messages():
        rclpy.init(args=[])
        node = rclpy.create_node("subscriber")
    # Reliable with a long queue: the worst case for a writer whose reader does not read.
    qos = QoSProfile(depth=1000 if options.never_read else 5)
    for kind, topics in ((Image, options.images), (PointCloud2, options.clouds)):
        for topic in topics:
            node.create_subscription(kind, topic, _ignore, qos, raw=True)
    sys.stdout.write("subscribed\n")
    sys.stdout.flush()
    try:
        if options.never_read:
            while node.context.ok():
                time.sleep(0.1)
        else:
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
