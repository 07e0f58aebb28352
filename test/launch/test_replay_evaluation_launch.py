from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch.actions import EmitEvent, ExecuteProcess
from launch.events.process import ProcessExited
from launch_ros.actions import Node, PushRosNamespace

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import Drive, write_bag

ARGUMENTS = {
    *("bag", "params_file", "checkpoint", "device", "precision", "flip", "rectify"),
    *("points_stride", "autostart", "calibration", "log_level"),
    *("image_topic", "camera_info_topic"),
    *("mode", "rate", "use_sim_time", "namespace", "require", "options", "output"),
}


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(3, frames=1, camera=Camera(96, 64, 80, 80, 48, 30)), path)
    return path


@pytest.fixture
def evaluation(launch_file: Callable[[str], Any]) -> Any:
    return launch_file("replay_evaluation")


def start(evaluation: Any, **arguments: str) -> tuple[Any, list[str]]:
    """The node that would start, and the command beside it."""
    context, (node, command, *_) = evaluation.actions(**arguments)
    assert isinstance(node, Node)
    assert isinstance(command, ExecuteProcess)
    return node, evaluation.command(context, command)


def test_arguments_are_described(evaluation: Any) -> None:
    declared = evaluation.arguments()
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())
    assert declared["mode"].choices == ["lockstep", "realtime"]


def test_what_starts(evaluation: Any, bag: Path) -> None:
    node, command = start(
        evaluation, bag=str(bag), require="abs_rel<0.1 p99<1", use_sim_time="true"
    )
    assert node.node_executable == "depth_node"
    arguments = " ".join(command)
    assert f"depthformer_core.cli replay {bag} --node --attach" in arguments
    assert "--image-topic /kitti/camera_color_left/image_raw" in arguments
    assert "--require abs_rel<0.1 p99<1" in arguments
    assert "--clock" in command
    assert "--camera-info-topic /kitti/camera_color_left/camera_info" in arguments


def test_options_are_passed_on(evaluation: Any, bag: Path) -> None:
    options = "--truth lidar --accumulate 2 --fixed-frame 'my odom'"
    _, command = start(evaluation, bag=str(bag), options=options)
    assert command[-6:] == ["--truth", "lidar", "--accumulate", "2", "--fixed-frame", "my odom"]


def test_a_pushed_namespace_reaches_node_and_evaluation(evaluation: Any, bag: Path) -> None:
    push = PushRosNamespace("robot")
    (node,) = evaluation.nodes(before=push, bag=str(bag), namespace="eye")
    assert node.expanded_node_namespace == "/robot/eye"
    context, (_, command, *_) = evaluation.actions(before=push, bag=str(bag), namespace="eye")
    arguments = evaluation.command(context, command)
    assert arguments[arguments.index("--namespace") + 1] == "/robot/eye"


def test_output_knows_the_home_folder(
    evaluation: Any, bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    _, command = start(evaluation, bag=str(bag), output="~/report")
    assert command[command.index("--output") + 1] == "/home/somebody/report"


def end(evaluation: Any, bag: Path, code: int, *, is_shutdown: bool = False) -> Any:
    """The end of the launch when the evaluation ends."""
    context, (_, process, ended, *_) = evaluation.actions(bag=str(bag))
    context._set_is_shutdown(is_shutdown)
    event = ProcessExited(
        action=process, name="x", cmd=[], cwd=None, env=None, pid=1, returncode=code
    )
    assert ended.event_handler.matches(event)
    return ended.event_handler.handle(event, context)


@pytest.mark.parametrize("code", [1, 3, -9])
def test_an_error_of_the_evaluation_is_one_of_the_launch(
    evaluation: Any, bag: Path, code: int
) -> None:
    # Which launch makes its own exit code 1.
    with pytest.raises(RuntimeError, match=f"exit code {code}"):
        end(evaluation, bag, code)


@pytest.mark.parametrize("code", [0, 130, -2])
def test_end_of_the_evaluation_ends_all(evaluation: Any, bag: Path, code: int) -> None:
    assert isinstance(end(evaluation, bag, code), EmitEvent)


def test_interruption_is_no_error(evaluation: Any, bag: Path) -> None:
    assert isinstance(end(evaluation, bag, 1, is_shutdown=True), EmitEvent)
