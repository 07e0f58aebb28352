"""Modules in processes of their own, and a peer that talks to them over DDS."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

    @property
    def libraries(self) -> set[str]:
        """Names of the files that it has loaded."""
        lines = Path("/proc", str(self._process.pid), "maps").read_text().splitlines()
        return {Path(line.split(maxsplit=5)[5]).name for line in lines if "/" in line}

    def catches(self, number: int) -> bool:
        """True where it has a handler of its own for a signal."""
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
        """Destroy everything in a namespace: unused endpoints slow the discovery."""
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

    def subscribe(self, kind: Any, topic: str) -> list[Any]:
        """Messages of a topic as they come."""
        from rclpy.qos import QoSProfile

        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, QoSProfile(depth=10))
        return received

    @property
    def diagnostics(self) -> list[Any]:
        """Messages of all nodes on /diagnostics; readers clear the list."""
        from diagnostic_msgs.msg import DiagnosticArray

        if self._diagnostics is None:
            self._diagnostics = self.subscribe(DiagnosticArray, "/diagnostics")
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
