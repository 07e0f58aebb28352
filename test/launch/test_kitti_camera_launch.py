from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import Node

from launch import LaunchContext

FILE = Path(__file__).parents[2] / "launch" / "kitti_camera.launch.py"
ARGUMENTS = {
    *("checkpoint", "params_file", "image_topic", "camera_info_topic", "image_transport"),
    *("device", "precision", "namespace", "use_sim_time", "bag", "rviz"),
}


@pytest.fixture
def description() -> Any:
    return get_launch_description_from_python_launch_file(str(FILE))


def nodes(description: Any, **arguments: str) -> dict[str, Any]:
    """The nodes that would start, by executable."""
    context = LaunchContext()
    context.extend_locals({"current_launch_file_directory": str(FILE.parent)})
    context.launch_configurations.update(arguments)
    started = {}
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            for node in entity.visit(context):
                assert isinstance(node, Node)
                if node.condition is None or node.condition.evaluate(context):
                    started[node.node_executable] = node
    return started


def test_arguments_are_described(description: Any) -> None:
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())
    assert declared["image_transport"].choices == ["raw", "compressed"]
    assert declared["rviz"].choices == ["true", "false"]


@pytest.mark.parametrize(
    ("arguments", "executables"),
    [
        pytest.param({}, {"depth_node"}, id="camera"),
        pytest.param({"bag": "/b"}, {"depth_node", "replay"}, id="bag"),
        pytest.param({"rviz": "true"}, {"depth_node", "rviz2"}, id="rviz"),
    ],
)
def test_what_starts(description: Any, arguments: dict[str, str], executables: set[str]) -> None:
    assert nodes(description, **arguments).keys() == executables


@pytest.mark.parametrize(
    "arguments",
    [{"image_transport": "theora"}, {"rviz": "maybe"}, {"precision": "float16"}],
    ids=str,
)
def test_closed_arguments_take_their_choices_only(
    description: Any, arguments: dict[str, str]
) -> None:
    with pytest.raises(RuntimeError, match="is not valid"):
        nodes(description, **arguments)
