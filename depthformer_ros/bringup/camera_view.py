"""RViz, started with the frame of a camera's images as its fixed frame.

RViz shows clouds in its fixed frame alone, or in frames that transforms connect with it. Which
frame of a camera is known only from its images.
"""

import argparse
import os
import sys

from depthformer_core.signals import Signals


def _first_frame(topic: str) -> str:
    """Wait for an image and return its frame, without the leading slash that tf2 refuses."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import CompressedImage, Image

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera_view")
    frames: list[str] = []
    kind = CompressedImage if topic.endswith("/compressed") else Image
    node.create_subscription(
        kind,
        topic,
        lambda image: frames.append(image.header.frame_id.lstrip("/")),
        qos_profile_sensor_data,
    )
    while not frames:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
    return frames[0]


def main() -> None:
    """Wait for the first image, then replace this process by RViz."""
    parser = argparse.ArgumentParser(prog="camera_view", description=__doc__)
    parser.add_argument("--image-topic", required=True, help="absolute topic of the images")
    parser.add_argument("rviz", nargs=argparse.REMAINDER, help="RViz and its arguments")
    options = parser.parse_args()
    sys.stdout.write(f"RViz starts with the first image on {options.image_topic}\n")
    sys.stdout.flush()
    program, *arguments = options.rviz
    # There is nothing to release.
    with Signals(code=0):
        frame = _first_frame(options.image_topic)
        command = [program, *(["-f", frame] if frame else []), *arguments]
        os.execv(program, command)  # noqa: S606  # RViz replaces this process


if __name__ == "__main__":
    main()
