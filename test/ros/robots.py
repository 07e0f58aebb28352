"""Running depth nodes, as the rest of a robot sees them."""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .participants import TIMEOUT, Peer, Process, wait_until


class Robot:
    """One running depth_node seen from outside, under a namespace of its own."""

    def __init__(self, peer: Peer, process: Process, namespace: str) -> None:
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        self.peer = peer
        self.process = process
        self.namespace = namespace
        self._name = f"{namespace}/depthformer"
        self._stamps = itertools.count(1)
        self._topics = {
            Image: f"{namespace}/image",
            CompressedImage: f"{namespace}/image/compressed",
        }
        self.plug()
        self._infos = peer.node.create_publisher(CameraInfo, f"{namespace}/camera_info", 10)
        self.depths = peer.subscribe(Image, f"{namespace}/depth/image_rect")
        self.infos = peer.subscribe(CameraInfo, f"{namespace}/depth/camera_info")
        self.clouds = peer.subscribe(PointCloud2, f"{namespace}/points")
        self.colours = peer.subscribe(Image, f"{namespace}/depth/color")
        self.spreads = peer.subscribe(Image, f"{namespace}/depth/uncertainty")
        self._diagnostics = peer.diagnostics

    def close(self) -> None:
        # One that is killed leaves its shared memory behind.
        self.process.stop()
        self.peer.leave(self.namespace)

    def plug(self) -> None:
        """Start the camera's driver."""
        create = self.peer.node.create_publisher
        self._images = {kind: create(kind, topic, 10) for kind, topic in self._topics.items()}

    def unplug(self) -> None:
        """End the camera's driver."""
        for publisher in self._images.values():
            self.peer.in_turn(functools.partial(self.peer.node.destroy_publisher, publisher))

    def forget(self) -> None:
        """Let go of what came so far."""
        for received in (self.depths, self.infos, self.clouds, self.colours, self.spreads):
            del received[:]

    def image(self, width: int = 96, height: int = 64) -> Any:
        """A picture with a stamp of its own."""
        from sensor_msgs.msg import Image

        from depthformer_ros.messages.conversions import rgb_to_image

        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        message = rgb_to_image(pixels, Image().header)
        self.stamp(message)
        return message

    def stamp(self, message: Any) -> None:
        message.header.stamp.sec = next(self._stamps)
        message.header.stamp.nanosec = 5
        message.header.frame_id = "eye"

    def calibrate(self, info: Any) -> None:
        """Send a usable calibration until the node has it."""
        from depthformer_core.bags.calibration_messages import calibration_from_info

        camera = calibration_from_info(info).camera
        start = f"{camera.width}x{camera.height}, fx {camera.fx:.2f} "
        cx = f"cx {camera.cx:.2f} "

        def known(status: Any) -> bool:
            values = {item.key: item.value for item in status.values}
            return values["calibration"].startswith(start) and cx in values["calibration"]

        def arrived() -> bool:
            self.send_info(info)
            return any(known(status) for status in self.statuses(0.5))

        wait_until(arrived, "calibration in the diagnostics")

    def send_info(self, info: Any) -> None:
        wait_until(self._infos.get_subscription_count, "subscription to camera_info")
        self._infos.publish(info)

    def send(self, image: Any, *, wire: bytes | None = None) -> None:
        """Publish an image, or bytes in its place that nothing has checked."""
        publisher = self._images[type(image)]
        wait_until(publisher.get_subscription_count, "subscription to images")
        publisher.publish(image if wire is None else wire)

    def prediction(self, image: Any) -> Any:
        """Send an image and return its depth."""
        self.send(image)
        return self.partner(image, self.depths)

    def partner(self, image: Any, received: list[Any]) -> Any:
        """Output for an image; sent again now and then, while the two discover each other."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                for message in received:
                    if message.header.stamp == image.header.stamp:
                        return message
                time.sleep(0.01)
            self.send(image)
        raise AssertionError(f"nothing came for {image.header}: {self.process.log}")

    def diagnosed(self, check: Callable[[Any], bool]) -> Any:
        """The next status on /diagnostics that passes a check."""
        del self._diagnostics[:]
        return wait_until(lambda: next(filter(check, self.statuses()), None), "such diagnostics")

    def runs(self) -> Any:
        """Return the first status of a running input, while good images come."""

        def status() -> Any:
            self.prediction(self.image())
            return next((s for s in self.statuses(0.3) if "input running" in s.message), None)

        return wait_until(status, "status of a running input")

    def values(self) -> dict[str, str]:
        """The keys and values of the next status on /diagnostics."""
        return {item.key: item.value for item in self.diagnosed(bool).values}

    def count(self, key: str) -> int:
        """A counter in the next status; 0 before it counts."""
        return int(self.values().get(key, 0))

    def provoke(self, bad: Any, key: str, *, wire: bytes | None = None) -> Any:
        """Send a bad image until the node counts it, which may lose one on the way.

        Returns:
            The status that counts it.
        """
        before = self.count(key)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.send(bad, wire=wire)
            for status in self.statuses(0.5):
                if int({item.key: item.value for item in status.values}.get(key, 0)) > before:
                    return status
        raise AssertionError(f"{key} stays at {before}: {self.values()} {self.process.log}")

    def statuses(self, seconds: float = 0.0) -> list[Any]:
        """Return statuses of this node; only new ones of the next `seconds`, if positive."""
        if seconds:
            del self._diagnostics[:]
            time.sleep(seconds)
        return [
            status
            for array in list(self._diagnostics)
            for status in array.status
            if status.name == f"{self._name}: depth"
        ]

    def change(self, transition: str | int) -> bool:
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        # By number: rclpy refuses an impossible label itself, but not an impossible number.
        numbers = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}
        number = transition if isinstance(transition, int) else numbers[transition]
        request.transition.id = number
        return bool(self.peer.call(ChangeState, f"{self._name}/change_state", request).success)

    @property
    def state(self) -> str:
        from lifecycle_msgs.srv import GetState

        response = self.peer.call(GetState, f"{self._name}/get_state", GetState.Request())
        return str(response.current_state.label)

    def set(self, **values: Any) -> Any:
        """Set parameters in one go; a double underscore in a name stands for its dot."""
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        request = SetParametersAtomically.Request(
            parameters=[
                Parameter(name.replace("__", "."), value=value).to_parameter_msg()
                for name, value in values.items()
            ]
        )
        name = f"{self._name}/set_parameters_atomically"
        return self.peer.call(SetParametersAtomically, name, request).result

    def reload(self, **values: Any) -> None:
        """Change parameters of the model."""
        assert self.change("deactivate")
        assert self.change("cleanup")
        result = self.set(**values)
        assert result.successful, result.reason
        assert self.change("configure")
        assert self.change("activate")

    def enable(self, enabled: bool) -> Any:
        from std_srvs.srv import SetBool

        request = SetBool.Request(data=enabled)
        return self.peer.call(SetBool, f"{self._name}/set_enabled", request, greeting=request)


def calibrated() -> Any:
    """Calibration of the robots' camera."""
    from std_msgs.msg import Header

    from depthformer_core.geometry.camera import Camera
    from depthformer_ros.messages.conversions import camera_info_of

    return camera_info_of(Camera(96, 64, 80.0, 81.0, 47.0, 33.0), Header(frame_id="eye"))


def depth_of(image: Any) -> Any:
    """Depth (H, W) of an image message, metres."""
    assert image.encoding == "32FC1"
    return np.frombuffer(image.data, np.float32).reshape(image.height, image.width)


def points_of(cloud: Any) -> Any:
    """Values (H, W, 4) of a cloud: coordinates, and colours as they are packed."""
    return np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)
