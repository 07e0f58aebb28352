"""Real nodes in processes of their own, and a peer that talks to them over DDS."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPO = Path(__file__).parents[2]
TIMEOUT = 30.0


class Process:
    """A module of ours that runs as its own process."""

    def __init__(self, module: str, arguments: list[str], *, log: Path, domain: int) -> None:
        path = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "ROS_DOMAIN_ID": str(domain)},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log or not self.running, f"log {text!r}")
        assert text in self.log, self.log

    def wait(self, timeout: float = TIMEOUT) -> int:
        return self._process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.running:
            self._process.send_signal(number)
        try:
            return self.wait()
        finally:
            self._process.kill()


def wait_until(check: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    end = time.monotonic() + timeout
    while not (result := check()):
        assert time.monotonic() < end, f"no {what} within {timeout} s"
        time.sleep(0.02)
    return result


class Peer:
    """Our own participant: cameras, consumers and supervisors in one."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from depthformer_ros.transport import large_messages

        self._context = rclpy.Context()
        with large_messages():
            rclpy.init(context=self._context, domain_id=domain)
            self.node = rclpy.create_node("peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()
        self._context.try_shutdown()

    def listen(self, kind: Any, topic: str) -> list[Any]:
        """Messages of a topic as they come."""
        from rclpy.qos import QoSProfile

        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, QoSProfile(depth=10))
        return received

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        try:
            assert client.wait_for_service(TIMEOUT), f"no service {name}"
            future = client.call_async(request)
            wait_until(future.done, f"answer of {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)


class Robot:
    """One running depth_node seen from outside, under a namespace of its own."""

    def __init__(self, peer: Peer, process: Process, namespace: str) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        self.peer = peer
        self.process = process
        self.namespace = namespace
        self._name = f"{namespace}/depthformer"
        self._stamps = itertools.count(1)
        create = peer.node.create_publisher
        self._images = {
            Image: create(Image, f"{namespace}/image", 10),
            CompressedImage: create(CompressedImage, f"{namespace}/image/compressed", 10),
        }
        self._infos = create(CameraInfo, f"{namespace}/camera_info", 10)
        self.depths = peer.listen(Image, f"{namespace}/depth/image_rect")
        self.infos = peer.listen(CameraInfo, f"{namespace}/depth/camera_info")
        self.clouds = peer.listen(PointCloud2, f"{namespace}/points")
        self.colours = peer.listen(Image, f"{namespace}/depth/color")
        self.spreads = peer.listen(Image, f"{namespace}/depth/uncertainty")
        self._diagnostics = peer.listen(DiagnosticArray, "/diagnostics")

    def image(self, width: int = 96, height: int = 64) -> Any:
        """A picture with a stamp of its own."""
        from sensor_msgs.msg import Image

        from depthformer_ros.conversions import rgb_to_image

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
        from depthformer_core.data.camera_messages import calibration_from_info

        camera = calibration_from_info(info).camera
        start = f"{camera.width}x{camera.height}, fx {camera.fx:.2f} "
        cx = f"cx {camera.cx:.2f} "

        def known(status: Any) -> bool:
            values = {item.key: item.value for item in status.values}
            return values["calibration"].startswith(start) and cx in values["calibration"]

        def arrived() -> bool:
            self.send_info(info)
            return any(known(status) for status in self._statuses(0.5))

        wait_until(arrived, "calibration in the diagnostics")

    def send_info(self, info: Any) -> None:
        wait_until(self._infos.get_subscription_count, "subscription to camera_info")
        self._infos.publish(info)

    def send(self, image: Any) -> None:
        publisher = self._images[type(image)]
        wait_until(publisher.get_subscription_count, "subscription to images")
        publisher.publish(image)

    def answer(self, image: Any) -> Any:
        """The depth of an image."""
        self.send(image)
        return self.partner(image, self.depths)

    def partner(self, image: Any, received: list[Any]) -> Any:
        """What came for an image; sent again now and then, while the two discover each other."""
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
        return wait_until(lambda: next(filter(check, self._statuses()), None), "such diagnostics")

    def _statuses(self, seconds: float = 0.0) -> list[Any]:
        """What this node said on /diagnostics, anew over some seconds where any are given."""
        if seconds:
            del self._diagnostics[:]
            time.sleep(seconds)
        return [
            status
            for array in list(self._diagnostics)
            for status in array.status
            if status.name == f"{self._name.lstrip('/')}: depth"
        ]

    def change(self, transition: str) -> bool:
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        # By number: rclpy refuses an impossible label itself, but not an impossible number.
        numbers = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}
        request.transition.id = numbers[transition]
        return bool(self.peer.call(ChangeState, f"{self._name}/change_state", request).success)

    @property
    def state(self) -> str:
        from lifecycle_msgs.srv import GetState

        answer = self.peer.call(GetState, f"{self._name}/get_state", GetState.Request())
        return str(answer.current_state.label)

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

        return self.peer.call(SetBool, f"{self._name}/set_enabled", SetBool.Request(data=enabled))


@pytest.fixture(scope="session")
def ros_domain() -> Iterator[int]:
    """Discovery that stays on this machine and in this run."""
    with pytest.MonkeyPatch.context() as patch:
        domain = 1 + os.getpid() % 100
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain


@pytest.fixture(scope="session")
def peer(ros_domain: int) -> Iterator[Peer]:
    peer = Peer(ros_domain)
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def start_process(
    ros_domain: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Process]]:
    """Starts a module with arguments; it is killed at the end at the latest."""
    started: list[Process] = []
    folder = tmp_path_factory.mktemp("logs")

    def start(module: str, *arguments: str) -> Process:
        log = folder / f"{len(started)}.log"
        process = Process(module, list(arguments), log=log, domain=ros_domain)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def start_robot(peer: Peer, start_process: Callable[..., Process]) -> Callable[..., Robot]:
    """Starts depth_node on a small network with parameters and remappings."""
    numbers = itertools.count()

    def start(*arguments: str, **parameters: Any) -> Robot:
        namespace = f"/robot{next(numbers)}"
        values = {"checkpoint": "debug", "device": "cpu", "diagnostics__period": 0.2, **parameters}
        flags = [
            item
            for name, value in values.items()
            for item in ("-p", f"{name.replace('__', '.')}:={str(value).lower()}")
        ]
        process = start_process(
            "depthformer_ros.depth_node",
            *("--ros-args", "-r", f"__ns:={namespace}", *flags, *arguments),
        )
        return Robot(peer, process, namespace)

    return start
