from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction
from launch.events.process import ProcessExited
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import Node

from depthformer_core.camera import Camera
from depthformer_core.data.synthetic import Drive, write_bag
from launch import LaunchContext

FILE = Path(__file__).parents[2] / "launch" / "replay_evaluation.launch.py"
ARGUMENTS = {
    *("bag", "params_file", "checkpoint", "device", "precision"),
    *("image_topic", "camera_info_topic"),
    *("mode", "rate", "use_sim_time", "namespace", "require", "options", "output"),
}


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(3, frames=1, camera=Camera(96, 64, 80, 80, 48, 30)), path)
    return path


@pytest.fixture
def description() -> Any:
    return get_launch_description_from_python_launch_file(str(FILE))


def actions(description: Any, **arguments: str) -> tuple[LaunchContext, list[Any]]:
    """What would start."""
    context = LaunchContext()
    context.extend_locals({"current_launch_file_directory": str(FILE.parent)})
    context.launch_configurations.update(arguments)
    started = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            started += entity.visit(context)
    return context, started


def start(description: Any, **arguments: str) -> tuple[Any, list[str]]:
    """The node that would start, and the command beside it."""
    context, (node, evaluation, _) = actions(description, **arguments)
    assert isinstance(node, Node)
    assert isinstance(evaluation, ExecuteProcess)
    words = ["".join(part.perform(context) for part in word) for word in evaluation.cmd]
    return node, words


def test_arguments_are_described(description: Any) -> None:
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())
    assert declared["mode"].choices == ["lockstep", "realtime"]


def test_what_starts(description: Any, bag: Path) -> None:
    node, command = start(
        description, bag=str(bag), require="abs_rel<0.1 p99<1", use_sim_time="true"
    )
    assert node.node_executable == "depth_node"
    words = " ".join(command)
    assert f"depthformer_core.cli replay {bag} --node --attach" in words
    assert "--image-topic /kitti/camera_color_left/image_raw" in words
    assert "--require abs_rel<0.1 p99<1" in words
    assert "--clock" in command
    assert "--camera-info-topic /kitti/camera_color_left/camera_info" in words


def test_options_are_passed_on(description: Any, bag: Path) -> None:
    options = "--truth lidar --accumulate 2 --fixed-frame 'my odom'"
    _, command = start(description, bag=str(bag), options=options)
    assert command[-6:] == ["--truth", "lidar", "--accumulate", "2", "--fixed-frame", "my odom"]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_end_of_the_evaluation_ends_all(description: Any, bag: Path, code: int) -> None:
    context, (_, evaluation, ended) = actions(description, bag=str(bag))
    event = ProcessExited(
        action=evaluation, name="x", cmd=[], cwd=None, env=None, pid=1, returncode=code
    )
    handler = ended.event_handler
    assert handler.matches(event)
    if code:
        # Which launch makes its own exit code 1.
        with pytest.raises(RuntimeError, match=f"exit code {code}"):
            handler.handle(event, context)
    else:
        assert isinstance(handler.handle(event, context), EmitEvent)
