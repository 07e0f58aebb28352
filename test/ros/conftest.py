"""Real nodes in processes of their own, and a peer that talks to them over DDS."""

import functools
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
# Only a test that fails waits so long, or one on a machine with other things to do.
TIMEOUT = 120.0
# A service that does not know its client yet loses the response.
LOST = 2.0


class Process:
    """A module of ours, or a script beside the tests, that runs as its own process."""

    def __init__(self, module: str, arguments: list[str], *, log: Path, domain: int) -> None:
        path = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
        script = [str(REPO / "test" / "ros" / module)]
        command = script if module.endswith(".py") else ["-m", module]
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "PYTHONUNBUFFERED": "1",
                    "ROS_DOMAIN_ID": str(domain),
                },
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def memory(self) -> int:
        """Resident memory, bytes."""
        from depthformer_ros.load.probe import resident_memory

        return resident_memory(self._process.pid)

    def catches(self, number: int) -> bool:
        """Whether it has a handler of its own for a signal."""
        lines = Path("/proc", str(self._process.pid), "status").read_text().splitlines()
        mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
        return bool(int(mask, 16) >> (number - 1) & 1)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log or not self.running, f"log {text!r}")
        assert text in self.log, self.log

    def wait(self, timeout: float = TIMEOUT) -> int:
        return self._process.wait(timeout)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.running:
            self.send_signal(number)
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

        from depthformer_ros.messages.transport import large_messages

        self._context = rclpy.Context()
        with large_messages():
            rclpy.init(context=self._context, domain_id=domain)
            self.node = rclpy.create_node("peer", context=self._context)
        self._clients: dict[str, Any] = {}
        self._diagnostics: list[Any] | None = None
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()
        self._context.try_shutdown()

    def leave(self, namespace: str) -> None:
        """Give up everything in a namespace: what nobody uses takes its time to be discovered."""
        self.in_turn(lambda: self._leave(namespace))

    def in_turn(self, change: Callable[[], Any]) -> None:
        """Change something between two waits: rclpy stumbles over what is then destroyed."""
        task = self._executor.create_task(change)
        wait_until(task.done, "change of the peer")

    def _leave(self, namespace: str) -> None:
        node = self.node
        for subscription in list(node.subscriptions):
            if subscription.topic_name.startswith(f"{namespace}/"):
                node.destroy_subscription(subscription)
        for publisher in list(node.publishers):
            if publisher.topic_name.startswith(f"{namespace}/"):
                node.destroy_publisher(publisher)
        for client in list(node.clients):
            if client.srv_name.startswith(f"{namespace}/"):
                self._clients.pop(client.srv_name, None)
                node.destroy_client(client)

    def listen(self, kind: Any, topic: str) -> list[Any]:
        """Messages of a topic as they come."""
        from rclpy.qos import QoSProfile

        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, QoSProfile(depth=10))
        return received

    @property
    def diagnostics(self) -> list[Any]:
        """What all nodes say on /diagnostics; to be emptied by whoever reads it."""
        from diagnostic_msgs.msg import DiagnosticArray

        if self._diagnostics is None:
            self._diagnostics = self.listen(DiagnosticArray, "/diagnostics")
        return self._diagnostics

    def call(self, kind: Any, name: str, request: Any, *, greeting: Any = None) -> Any:
        """Call a service; the first time, send a request without effect before."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, name)
            assert client.wait_for_service(TIMEOUT), f"no service {name}"
            self._greet(client, kind.Request() if greeting is None else greeting)
        future = client.call_async(request)
        wait_until(future.done, f"response of {name}")
        return future.result()

    def _greet(self, client: Any, greeting: Any) -> None:
        """Call until a response comes: then both ends know each other."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            future = client.call_async(greeting)
            until = time.monotonic() + LOST
            while time.monotonic() < until:
                if future.done():
                    return
                time.sleep(0.01)
        raise AssertionError(f"no response of {client.srv_name}")


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
        self.depths = peer.listen(Image, f"{namespace}/depth/image_rect")
        self.infos = peer.listen(CameraInfo, f"{namespace}/depth/camera_info")
        self.clouds = peer.listen(PointCloud2, f"{namespace}/points")
        self.colours = peer.listen(Image, f"{namespace}/depth/color")
        self.spreads = peer.listen(Image, f"{namespace}/depth/uncertainty")
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
        from depthformer_core.bags.camera_messages import calibration_from_info

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
        return wait_until(lambda: next(filter(check, self.statuses()), None), "such diagnostics")

    def runs(self) -> Any:
        """The first status that says so, while good images come."""

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
        """What this node said on /diagnostics, anew over some seconds where any are given."""
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


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[..., Any]:
    """Waits until a check gives something true, and gives that."""
    return wait_until


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
def start_shared_robot(peer: Peer, start_process: Callable[..., Process]) -> Callable[..., Robot]:
    """Starts depth_node on a small network with parameters and remappings; it stays."""
    numbers = itertools.count()

    def start(
        *arguments: str, module: str = "depthformer_ros.depth_node", **parameters: Any
    ) -> Robot:
        namespace = f"/robot{next(numbers)}"
        values = {"checkpoint": "debug", "device": "cpu", "diagnostics__period": 0.2, **parameters}
        flags = [
            item
            for name, value in values.items()
            for item in ("-p", f"{name.replace('__', '.')}:={str(value).lower()}")
        ]
        process = start_process(
            module,
            *("--ros-args", "-r", f"__ns:={namespace}", *flags, *arguments),
        )
        return Robot(peer, process, namespace)

    return start


@pytest.fixture
def start_robot(start_shared_robot: Callable[..., Robot]) -> Iterator[Callable[..., Robot]]:
    """Starts depth_node on a small network with parameters and remappings, for one test."""
    started: list[Robot] = []

    def start(*arguments: str, **parameters: Any) -> Robot:
        started.append(start_shared_robot(*arguments, **parameters))
        return started[-1]

    yield start
    for robot in started:
        robot.close()


@pytest.fixture(scope="session")
def shared_robot(start_shared_robot: Callable[..., Robot]) -> Robot:
    """One running node for all the tests that leave it as it was."""
    # Random weights make edges everywhere.
    robot = start_shared_robot(input__crop="none", input__rectify="never", points__edge_filter=0.0)
    robot.process.wait_for_log("waiting for images")
    return robot


@pytest.fixture
def robot(shared_robot: Robot) -> Iterator[Robot]:
    """The shared node with a calibrated camera, 96x64."""
    assert shared_robot.process.running, shared_robot.process.log
    shared_robot.forget()
    shared_robot.calibrate(calibrated())
    yield shared_robot
    assert shared_robot.process.running, shared_robot.process.log


def calibrated() -> Any:
    """Calibration of the robots' camera."""
    from std_msgs.msg import Header

    from depthformer_core.geometry.camera import Camera
    from depthformer_ros.messages.conversions import camera_info_of

    return camera_info_of(Camera(96, 64, 80.0, 81.0, 47.0, 33.0), Header(frame_id="eye"))


@pytest.fixture(scope="session")
def shared_compressed_robot(start_shared_robot: Callable[..., Robot]) -> Robot:
    robot = start_shared_robot(image_transport="compressed", input__crop="none")
    robot.process.wait_for_log("waiting for images")
    return robot


@pytest.fixture
def compressed_robot(shared_compressed_robot: Robot) -> Iterator[Robot]:
    """A running node that takes JPEG and PNG."""
    assert shared_compressed_robot.process.running, shared_compressed_robot.process.log
    shared_compressed_robot.forget()
    yield shared_compressed_robot
    assert shared_compressed_robot.process.running, shared_compressed_robot.process.log
