"""Launch files from start to end, with real processes."""

import time
from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

CAMERA = "/kitti/camera_color_left"
FILES = ["depth_camera", "kitti_camera", "two_cameras", "replay_evaluation"]
NODE = ("checkpoint:=debug", "device:=cpu")


@pytest.mark.parametrize("name", ["depth_camera", "kitti_camera"])
def test_missing_rviz_is_said_before_anything_starts(start_launch: Any, name: str) -> None:
    launched = start_launch(name, *NODE, "rviz:=true")
    assert launched.end() == 1
    assert "rviz:=true needs RViz, which is not installed" in launched.output()
    assert "process started" not in launched.output()
    assert launched.left() == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("params_file:=~/none.yaml", "/none.yaml does not exist"),
        ("checkpoint:=~/none.pth", "/none.pth, and '~/none.pth' is no preset"),
        ("use_sim_time:=maybe", "use_sim_time must be true or false, got 'maybe'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(
    start_launch: Any, small_bag: Path, name: str, argument: str, message: str
) -> None:
    bag = [f"bag:={small_bag}"] if name == "replay_evaluation" else []
    launched = start_launch(name, argument, *bag)
    assert launched.end() == 1
    assert message in launched.output()
    # The absolute path, not what the user wrote.
    assert ": ~" not in launched.output()
    assert "process started" not in launched.output()


@pytest.mark.parametrize("name", ["depth_camera", "kitti_camera", "replay_evaluation"])
def test_missing_bag_is_said_before_anything_starts(start_launch: Any, name: str) -> None:
    launched = start_launch(name, *NODE, "bag:=~/none")
    assert launched.end() == 1
    assert f"bag: {Path.home()}/none does not exist" in launched.output()
    assert "process started" not in launched.output()


@pytest.fixture
def broken_checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(bytes(100))
    return path


@pytest.mark.parametrize("name", ["depth_camera", "replay_evaluation"])
def test_a_bag_does_not_wait_for_a_node_without_a_network(
    start_launch: Any, small_bag: Path, broken_checkpoint: Path, tmp_path: Path, name: str
) -> None:
    topic = [f"image_topic:={CAMERA}/image_raw"]
    output = [f"output:={tmp_path}/report"] if name == "replay_evaluation" else []
    launched = start_launch(
        name,
        f"checkpoint:={broken_checkpoint}",
        "device:=cpu",
        f"bag:={small_bag}",
        *topic,
        *output,
    )
    assert launched.end() == 1
    assert "depth_node: configure failed: cannot read checkpoint" in launched.output()
    assert launched.left() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            [f"image_topic:={CAMERA}/image_raw", "points_stride:=65"],
            "depth_node ended with exit code 1",
            id="node",
        ),
        pytest.param(["image_topic:=/nothing"], "the player ended with exit code 1", id="player"),
    ],
)
def test_a_bag_that_cannot_be_played_ends_all(
    start_launch: Any, small_bag: Path, arguments: list[str], message: str
) -> None:
    launched = start_launch("depth_camera", *NODE, f"bag:={small_bag}", *arguments)
    assert launched.end() == 1
    assert message in launched.output()
    assert launched.left() == []


def test_a_node_that_fails_is_seen_in_the_exit_code(start_launch: Any) -> None:
    launched = start_launch("depth_camera", *NODE)
    launched.wait_for("waiting for images")
    launched.kill("depth_node")
    assert launched.end() == 1
    assert "depth_node ended with exit code -9" in launched.output()


def test_a_camera_goes_on_when_another_fails(start_launch: Any) -> None:
    launched = start_launch("two_cameras", *NODE, "cameras:=front rear")
    for name in ("front", "rear"):
        launched.wait_for(f"waiting for images on /{name}/image_raw")
    launched.kill("__ns:=/front")
    launched.wait_for("process has died")
    time.sleep(1)
    (rear,) = [command for command in launched.left() if "depth_node" in command]
    assert "__ns:=/rear" in rear
    launched.kill("__ns:=/rear")
    assert launched.end() == 1
    assert "ended with exit code -9" in launched.output()


INCLUDING = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace


def generate_launch_description():
    source = PythonLaunchDescriptionSource({file!r})
    include = IncludeLaunchDescription(source, launch_arguments={arguments!r}.items())
    return LaunchDescription([GroupAction([PushRosNamespace("robot"), include])])
"""


def test_a_pushed_namespace_reaches_node_and_player(
    start_launch: Any, launch_file: Any, small_bag: Path, tmp_path: Path
) -> None:
    arguments = {"checkpoint": "debug", "device": "cpu", "namespace": "eye", "bag": str(small_bag)}
    file = tmp_path / "including.launch.py"
    kitti = str(launch_file("kitti_camera").path)
    file.write_text(INCLUDING.format(file=kitti, arguments=arguments))
    launched = start_launch(str(file))
    # The player logs it of the depth on /robot/eye/depth/image_rect.
    launched.wait_for("of 40 frames predicted")
    assert " 0 of 40" not in launched.output()
    launched.press_ctrl_c()
    assert launched.end() == 0


def test_rviz_gets_the_frame_of_the_images(
    start_launch: Any, installed: Path, add_program: Any, small_bag: Path
) -> None:
    add_program(installed, "rviz2", "rviz2", 'echo "RViz with: $*"; exec sleep 1000')
    launched = start_launch(
        "kitti_camera", *NODE, f"bag:={small_bag}", "rviz:=True", "use_sim_time:=True", "rate:=0.5"
    )
    launched.wait_for("RViz with: -f camera_color_left -d ")
    launched.press_ctrl_c()
    # What shall not end, ends launch by force.
    assert launched.end() == 0
    assert launched.left() == []


def test_ctrl_c_while_modules_are_imported(start_launch: Any) -> None:
    launched = start_launch("kitti_camera", *NODE)
    launched.wait_for_library("libtorch_cpu")
    launched.press_ctrl_c()
    assert launched.end() == 0, launched.output()
    assert "waiting for images" not in launched.output()
    assert "Traceback" not in launched.output()
    assert launched.left() == []


MOMENTS = {
    "starting": "process started",
    "waiting": "waiting for images",
    "playing": "images come",
    "played": "frames predicted",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c(start_launch: Any, small_bag: Path, moment: str) -> None:
    bag = [] if moment == "waiting" else [f"bag:={small_bag}", "rate:=0.5"]
    launched = start_launch("kitti_camera", *NODE, *bag)
    launched.wait_for(MOMENTS[moment])
    launched.press_ctrl_c()
    assert launched.end() == 0, launched.output()
    assert launched.left() == []
    # The output of a process that is interrupted while Python itself starts is not ours.
    assert moment == "starting" or "Traceback" not in launched.output()


def test_ctrl_c_twice(start_launch: Any) -> None:
    launched = start_launch("depth_camera", *NODE)
    launched.wait_for("waiting for images")
    launched.press_ctrl_c()
    launched.press_ctrl_c()
    assert launched.end() == 0, launched.output()
    assert "Traceback" not in launched.output()
    assert launched.left() == []


@pytest.mark.parametrize("moment", ["process started", "images come"])
def test_ctrl_c_while_a_bag_is_evaluated(
    start_launch: Any, small_bag: Path, tmp_path: Path, moment: str
) -> None:
    launched = start_launch(
        "replay_evaluation",
        *NODE,
        *(f"bag:={small_bag}", "mode:=realtime", "rate:=0.5", f"output:={tmp_path}/report"),
        f"image_topic:={CAMERA}/image_raw",
    )
    launched.wait_for(moment)
    launched.press_ctrl_c()
    assert launched.end() == 0, launched.output()
    assert launched.left() == []
    assert moment == "process started" or "Traceback" not in launched.output()
