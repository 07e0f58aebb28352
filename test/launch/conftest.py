import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
# Only a test that fails waits so long, or one on a machine with other things to do.
TIMEOUT = 120.0
# As `ros2 launch` does it.
SCRIPT = """
import signal, sys
# Ignored, where the tests run in a shell's background.
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
arguments = [tuple(item.split(":=")) for item in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
include = IncludeLaunchDescription(source, launch_arguments=arguments)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


@dataclass
class LaunchFile:
    """A launch file as the tests look into it, without starting a process."""

    path: Path
    description: Any

    def arguments(self) -> dict[str, Any]:
        return {argument.name: argument for argument in self.description.get_launch_arguments()}

    def actions(self, *, before: Any = None, **arguments: str) -> tuple[Any, list[Any]]:
        """The actions that would start, and their context; the action `before` comes first."""
        from launch.actions import DeclareLaunchArgument, OpaqueFunction

        from launch import LaunchContext

        context = LaunchContext()
        context.extend_locals({"current_launch_file_directory": str(self.path.parent)})
        context.launch_configurations.update(arguments)
        if before is not None:
            before.visit(context)
        started: list[Any] = []
        for entity in self.description.entities:
            if isinstance(entity, DeclareLaunchArgument):
                entity.visit(context)
            elif isinstance(entity, OpaqueFunction):
                started += entity.visit(context) or []
        return context, started

    def nodes(self, *, before: Any = None, **arguments: str) -> list[Any]:
        """The nodes that would start, with their names and rules expanded."""
        from launch_ros.actions import Node

        context, started = self.actions(before=before, **arguments)
        nodes = [action for action in started if isinstance(action, Node)]
        for node in nodes:
            node._perform_substitutions(context)
        return nodes

    @staticmethod
    def command(context: Any, process: Any) -> list[str]:
        """Command of a process, without what launch adds for ROS."""
        command = ["".join(part.perform(context) for part in item) for item in process.cmd]
        return command[: command.index("--ros-args")] if "--ros-args" in command else command

    @staticmethod
    def parameters(node: Any) -> dict[str, Any]:
        """Those that are set beside the file, of a node as of `nodes`."""
        import yaml

        *_, given = LaunchFile.parameter_files(node)
        (values,) = yaml.safe_load(given.read_text()).values()
        return dict(values["ros__parameters"])

    @staticmethod
    def parameter_files(node: Any) -> list[Path]:
        """Files of parameters of a node as of `nodes`."""
        command = ["".join(getattr(part, "text", "") for part in item) for item in node.cmd]
        return [Path(file) for flag, file in pairwise(command) if flag == "--params-file"]


@pytest.fixture
def launch_file() -> Callable[[str], LaunchFile]:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    def read(name: str) -> LaunchFile:
        path = REPOSITORY / "launch" / f"{name}.launch.py"
        return LaunchFile(path, get_launch_description_from_python_launch_file(str(path)))

    return read


def add(prefix: Path, package: str, name: str, script: str) -> None:
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True, exist_ok=True)
    (index / package).touch()
    executable = prefix / "lib" / package / name
    executable.parent.mkdir(parents=True, exist_ok=True)
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)


@pytest.fixture
def add_program() -> Callable[[Path, str, str, str], None]:
    """Puts a shell script where launch finds it: in a prefix, as a package's executable."""
    return add


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A place where launch finds this package's executables, as in a colcon workspace."""
    prefix = tmp_path / "install"
    for name in ("depth_node", "replay"):
        program = f'exec "{sys.executable}" -m depthformer_ros.{name} "$@"'
        add(prefix, "depthformer_ros", name, program)
    return prefix


@dataclass
class Launched:
    """A launch file that runs, with a terminal of its own as it were."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_for(self, text: str) -> None:
        """Wait until the output has a text."""
        self.wait_until(lambda: text in self.output())

    def wait_until(self, check: Callable[[], Any]) -> None:
        end = time.monotonic() + TIMEOUT
        while not check():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.1)

    def press_ctrl_c(self) -> None:
        """Send the signal to every process, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Exit code, once it has ended."""
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"does not end:\n{self.output()}")

    def output(self) -> str:
        return self.log.read_text()

    def kill(self, name: str) -> None:
        """End the processes with a text in their command, as the system does without memory."""
        for pid, command in self._read("cmdline").items():
            if name in command and pid != self.process.pid:
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """Commands of the processes that are left."""
        commands = (text.replace("\0", " ").strip() for text in self._read("cmdline").values())
        return [command for command in commands if command]

    def wait_for_library(self, name: str) -> None:
        """Wait until a process has loaded a library."""
        self.wait_until(lambda: any(name in text for text in self._read("maps").values()))

    def _read(self, file: str) -> dict[int, str]:
        """Return the contents of a file in /proc of each process."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and os.getsid(int(folder.name)) == self.process.pid:
                    found[int(folder.name)] = (folder / file).read_text()
            except OSError:  # it ended meanwhile
                continue
        return found


@pytest.fixture
def start_launch(
    installed: Path, ros_domain: int, tmp_path: Path
) -> Iterator[Callable[..., Launched]]:
    """Starts a launch file of this package, or one with its whole path, with arguments."""
    del ros_domain
    running: list[Launched] = []

    def start(name: str, *arguments: str) -> Launched:
        log = tmp_path / f"launch{len(running)}.log"
        prefixes = (str(installed), os.environ.get("AMENT_PREFIX_PATH", sys.prefix))
        path = (str(REPOSITORY), os.environ.get("PYTHONPATH"))
        file = REPOSITORY / "launch" / (name if "/" in name else f"{name}.launch.py")
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(file), *arguments],
                start_new_session=True,
                # Not in the repository, whose folder launch/ is not the package of that name.
                cwd=tmp_path,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "AMENT_PREFIX_PATH": os.pathsep.join(prefixes),
                    "PYTHONPATH": os.pathsep.join(filter(None, path)),
                    "ROS_LOG_DIR": str(tmp_path / "logs"),
                },
            )
        running.append(Launched(process, log))
        return running[-1]

    yield start
    for launched in running:
        if launched.process.poll() is None or launched.left():
            os.killpg(launched.process.pid, signal.SIGKILL)
            launched.process.wait()


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    domain = 1 + os.getpid() % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return domain


@pytest.fixture(scope="session")
def small_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few seconds of a small camera on KITTI's topics."""
    from depthformer_core.geometry.camera import Camera
    from depthformer_core.synthetic import Drive, write_bag

    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(3, frames=40, camera=Camera(96, 64, 80, 80, 48, 30)), path)
    return path
