import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description_sources import get_launch_description_from_python_launch_file

from launch import LaunchContext

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "launch" / "two_cameras.launch.py"
ARGUMENTS = {
    *("cameras", "params_file", "checkpoint", "device", "precision", "use_sim_time"),
    *("image_topic", "camera_info_topic", "image_transport"),
}
# Only a test that fails waits so long, or one on a machine with other things to do.
TIMEOUT = 120.0


@pytest.fixture
def description() -> Any:
    return get_launch_description_from_python_launch_file(str(FILE))


def nodes(description: Any, **arguments: str) -> list[Any]:
    """The nodes that would start."""
    context = LaunchContext()
    context.extend_locals({"current_launch_file_directory": str(FILE.parent)})
    context.launch_configurations.update(arguments)
    started: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            started += entity.visit(context)
    for node in started:
        node._perform_substitutions(context)
    return started


def test_arguments_are_described(description: Any) -> None:
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())


def test_each_camera_gets_a_node_in_its_namespace(description: Any) -> None:
    started = nodes(description, cameras="front /rear/ top", image_topic="/color/image_raw")
    assert [node.expanded_node_namespace for node in started] == ["/front", "/rear", "/top"]
    for node in started:
        assert node.node_executable == "depth_node"
        # Without a leading slash, so that each node looks into its own namespace.
        assert node.expanded_remapping_rules == [
            ("image", "color/image_raw"),
            ("camera_info", "camera_info"),
        ]


def test_compressed_images_come_on_the_transports_topic(description: Any) -> None:
    first, _ = nodes(description, image_transport="compressed")
    assert first.expanded_remapping_rules[0] == ("image/compressed", "image_raw/compressed")


def threads(node: Any) -> str:
    """Value of the variable that PyTorch's CPU threads obey."""
    ((name, value),) = node.additional_env
    assert name[0].text == "OMP_NUM_THREADS"
    return str(value[0].text)


def test_nodes_share_the_cores(description: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.cpu_count() or 1
    for cameras, share in (("front", cores), ("front rear", max(1, cores // 2))):
        assert {threads(node) for node in nodes(description, cameras=cameras)} == {str(share)}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert {threads(node) for node in nodes(description)} == {"7"}


@pytest.mark.parametrize(
    "cameras",
    [
        pytest.param("", id="none"),
        pytest.param("front front", id="twice"),
        pytest.param("front /front/", id="twice with slashes"),
        pytest.param("front /", id="no name"),
    ],
)
def test_cameras_are_different_namespaces(description: Any, cameras: str) -> None:
    with pytest.raises(ValueError, match=f"must be different namespaces, got '{cameras}'"):
        nodes(description, cameras=cameras)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A place where launch finds this package's executable, as in a colcon workspace."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "depthformer_ros").touch()
    executable = tmp_path / "lib" / "depthformer_ros" / "depth_node"
    executable.parent.mkdir(parents=True)
    executable.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m depthformer_ros.depth_node "$@"\n'
    )
    executable.chmod(0o755)
    return tmp_path


@pytest.fixture
def launched(installed: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Two cameras as `ros2 launch` starts them, and their log."""
    script = (
        "import signal, sys\n"
        # Ignored, where the tests run in a shell's background.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from launch import LaunchDescription, LaunchService\n"
        "from launch.actions import IncludeLaunchDescription\n"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource\n"
        "service = LaunchService()\n"
        "arguments = [tuple(word.split(':=')) for word in sys.argv[2:]]\n"
        "source = PythonLaunchDescriptionSource(sys.argv[1])\n"
        "include = IncludeLaunchDescription(source, launch_arguments=arguments)\n"
        "service.include_launch_description(LaunchDescription([include]))\n"
        "sys.exit(service.run())\n"
    )
    log = tmp_path / "launch.log"
    prefixes = (str(installed), os.environ.get("AMENT_PREFIX_PATH", sys.prefix))
    path = (str(REPOSITORY), os.environ.get("PYTHONPATH"))
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", script, str(FILE)),
                *("cameras:=front rear", "checkpoint:=debug", "device:=cpu"),
            ],
            # A group of its own, as in a terminal.
            start_new_session=True,
            # Not in the repository, whose folder launch/ is not the package of that name.
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "AMENT_PREFIX_PATH": os.pathsep.join(filter(None, prefixes)),
                "PYTHONPATH": os.pathsep.join(filter(None, path)),
                "ROS_LOG_DIR": str(tmp_path / "logs"),
            },
        )
    yield process, log
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(check: Callable[[], Any], what: Callable[[], str]) -> None:
    end = time.monotonic() + TIMEOUT
    while not check():
        assert time.monotonic() < end, what()
        time.sleep(0.1)


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    domain = 1 + os.getpid() % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return domain


def test_both_cameras_are_answered(
    ros_domain: int, launched: tuple["subprocess.Popen[bytes]", Path]
) -> None:
    rclpy = pytest.importorskip("rclpy")
    from sensor_msgs.msg import Image

    from depthformer_ros.conversions import rgb_to_image

    process, log = launched
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    try:
        node = rclpy.create_node("cameras", context=context)
        answers: dict[str, list[Any]] = {"front": [], "rear": []}
        cameras = {name: node.create_publisher(Image, f"/{name}/image_raw", 10) for name in answers}
        for name, received in answers.items():
            node.create_subscription(Image, f"/{name}/depth/image_rect", received.append, 10)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)

        def answered() -> bool:
            assert process.poll() is None, log.read_text()
            for number, (name, camera) in enumerate(cameras.items()):
                picture = np.full((64, 96 + 32 * number, 3), 90, np.uint8)
                image = rgb_to_image(picture, Image().header)
                image.header.frame_id = name
                camera.publish(image)
            executor.spin_once(timeout_sec=0.3)
            return all(answers.values())

        wait_until(answered, log.read_text)
        # Each node has seen its own camera alone.
        widths = {name: {depth.width for depth in got} for name, got in answers.items()}
        frames = {name: {depth.header.frame_id for depth in got} for name, got in answers.items()}
        assert widths == {"front": {96}, "rear": {128}}
        assert frames == {"front": {"front"}, "rear": {"rear"}}
    finally:
        context.try_shutdown()
    # As Ctrl+C in a terminal does.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(TIMEOUT) == 0, log.read_text()
    assert log.read_text().count("process has finished cleanly") == 2
