import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch_ros.actions import PushRosNamespace

REPOSITORY = Path(__file__).parents[2]
CAMERA = "/kitti/camera_color_left"
ARGUMENTS = {
    *("params_file", "checkpoint", "device", "precision", "flip", "rectify", "points_stride"),
    "calibration",
    *("autostart", "log_level", "use_sim_time", "namespace"),
    *("image_topic", "camera_info_topic", "image_transport"),
    *("bag", "rate", "start", "loop", "rviz", "fixed_frame"),
}


@pytest.fixture(params=["depth_camera", "kitti_camera"])
def camera(request: pytest.FixtureRequest, launch_file: Callable[[str], Any]) -> Any:
    return launch_file(request.param)


@pytest.fixture
def any_camera(launch_file: Callable[[str], Any]) -> Any:
    return launch_file("depth_camera")


@pytest.fixture(autouse=True)
def _workspace(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(installed))


@pytest.fixture
def rviz(installed: Path, add_program: Any) -> Path:
    """An RViz that is installed."""
    add_program(installed, "rviz2", "rviz2", "exit 0")
    return installed / "lib" / "rviz2" / "rviz2"


def test_arguments_are_described(camera: Any) -> None:
    declared = camera.arguments()
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())
    assert declared["image_transport"].choices == ["raw", "compressed"]


@pytest.mark.parametrize(
    ("name", "file", "images"),
    [
        ("depth_camera", "depthformer.yaml", "image_raw"),
        ("kitti_camera", "kitti.yaml", f"{CAMERA}/image_raw"),
    ],
)
def test_each_has_its_parameters_and_topics(
    launch_file: Callable[[str], Any], name: str, file: str, images: str
) -> None:
    camera = launch_file(name)
    (node,) = camera.nodes()
    assert camera.parameter_files(node)[0] == REPOSITORY / "config" / file
    assert camera.parameters(node) == {"image_transport": "raw", "use_sim_time": False}
    info = images.replace("image_raw", "camera_info")
    assert node.expanded_remapping_rules == [("image", images), ("camera_info", info)]
    assert node.expanded_node_namespace == "/"


def test_calibration_follows_the_images(camera: Any) -> None:
    (node,) = camera.nodes(image_topic="/front/color/image_raw", image_transport="compressed")
    assert node.expanded_remapping_rules == [
        ("image/compressed", "/front/color/image_raw/compressed"),
        ("camera_info", "/front/color/camera_info"),
    ]
    assert camera.parameters(node)["image_transport"] == "compressed"
    (node,) = camera.nodes(image_topic="/front/image", camera_info_topic="/elsewhere/info")
    assert node.expanded_remapping_rules[1] == ("camera_info", "/elsewhere/info")


def test_what_is_given_goes_to_the_node(any_camera: Any, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.touch()
    (node,) = any_camera.nodes(
        checkpoint=str(weights),
        device="cuda:1",
        precision="bfloat16",
        flip="True",
        autostart="false",
        rectify="always",
        points_stride="4",
        use_sim_time="True",
        log_level="debug",
    )
    assert any_camera.parameters(node) == {
        "image_transport": "raw",
        "use_sim_time": True,
        "checkpoint": str(weights),
        "device": "cuda:1",
        "precision": "bfloat16",
        "flip": True,
        "autostart": False,
        "input.rectify": "always",
        "points.stride": 4,
    }
    command = ["".join(part.text for part in item if hasattr(part, "text")) for item in node.cmd]
    assert ("--log-level", "debug") in list(pairwise(command))


def test_a_calibration_goes_to_the_node_as_an_absolute_path(
    any_camera: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "front.yaml").touch()
    monkeypatch.chdir(tmp_path)
    (node,) = any_camera.nodes(calibration="front.yaml")
    assert any_camera.parameters(node)["depth.calibration"] == str(tmp_path / "front.yaml")


def test_what_is_given_is_known_to_the_node(any_camera: Any) -> None:
    pytest.importorskip("rclpy", reason="the parameters are declared with rclpy")
    from depthformer_ros.node.parameters import NodeParameters

    texts = ("flip", "autostart", "points_stride", "rectify", "checkpoint", "device", "precision")
    values = ("1", "1", "2", "never", "debug", "cpu", "float32")
    (node,) = any_camera.nodes(**dict(zip(texts, values, strict=True)))
    given = any_camera.parameters(node)
    del given["use_sim_time"]
    parameters = NodeParameters().changed(given, configured=False).to_ros()
    assert {name: parameters[name] for name in given} == given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_transport": "theora"}, "is not valid"),
        ({"precision": "float16"}, "is not valid"),
        ({"log_level": "loud"}, "is not valid"),
        ({"rviz": "maybe"}, "rviz must be true or false, got 'maybe'"),
        ({"flip": "maybe"}, "flip must be true or false, got 'maybe'"),
        ({"points_stride": "-1"}, "points_stride must be a whole number from 1 to 64, got '-1'"),
        ({"params_file": "/no/file.yaml"}, "params_file: /no/file.yaml does not exist"),
        ({"calibration": "/no/c.yaml"}, "calibration: /no/c.yaml does not exist"),
        ({"bag": "/no/bag"}, "bag: /no/bag does not exist"),
        ({"checkpoint": "/no/w.pth"}, "checkpoint: there is no file /no/w.pth"),
        ({"bag": "/", "rate": "0"}, "rate must be positive, got 0"),
        ({"bag": "/", "rate": "nan"}, "rate must be positive, got nan"),
        ({"bag": "/", "start": "-1"}, "start must not be negative, got -1"),
        ({"bag": "/", "loop": "2"}, "loop must be true or false, got '2'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(camera: Any, arguments: dict[str, str], message: str) -> None:
    with pytest.raises((RuntimeError, ValueError), match=message):
        camera.actions(**arguments)


def test_a_bag_is_played(camera: Any, tmp_path: Path) -> None:
    (tmp_path / "bag").touch()
    arguments = {"bag": str(tmp_path / "bag"), "image_topic": "eye/image", "namespace": "robot"}
    context, (_, player, *_) = camera.actions(**arguments)
    expected = [
        *(str(tmp_path / "bag"), "--image-topic", "/robot/eye/image", "--namespace", "/robot"),
        *("--timeout", "300", "--rate", "1"),
    ]
    assert player.node_executable == "replay"
    assert camera.command(context, player)[1:] == expected
    context, (_, player, *_) = camera.actions(
        **arguments, rate="0.5", start="2.5", loop="true", use_sim_time="1"
    )
    assert camera.command(context, player)[1:-2] == [*expected[:-1], "0.5", "--start", "2.5"]
    assert camera.command(context, player)[-2:] == ["--loop", "--clock"]


def test_a_pushed_namespace_reaches_node_player_and_rviz(
    any_camera: Any, tmp_path: Path, rviz: Path
) -> None:
    del rviz
    (tmp_path / "bag").touch()
    arguments = {"bag": str(tmp_path / "bag"), "rviz": "True", "namespace": "eye"}
    push = PushRosNamespace("robot")
    node, player, view = any_camera.nodes(before=push, **arguments)
    assert node.expanded_node_namespace == "/robot/eye"
    context, (_, player, *_) = any_camera.actions(before=push, **arguments)
    command = any_camera.command(context, player)
    assert ("--namespace", "/robot/eye") in list(pairwise(command))
    assert ("--image-topic", "/robot/eye/image_raw") in list(pairwise(command))
    assert view.expanded_remapping_rules == [
        ("/image", "/robot/eye/image_raw"),
        ("/depth/color", "/robot/eye/depth/color"),
        ("/points", "/robot/eye/points"),
    ]


def test_rviz_takes_the_frame_of_the_images(any_camera: Any, rviz: Path) -> None:
    context, (*_, view) = any_camera.actions(rviz="true", image_topic="/eye/image/compressed")
    config = str(REPOSITORY / "launch" / ".." / "config" / "depthformer.rviz")
    assert any_camera.command(context, view) == [
        *(sys.executable, "-m", "depthformer_ros.bringup.camera_view"),
        *("--image-topic", "/eye/image/compressed", str(rviz), "-d", config),
    ]
    context, (*_, view) = any_camera.actions(rviz="true", fixed_frame="base_link")
    assert any_camera.command(context, view) == [str(rviz), "-d", config, "-f", "base_link"]


def test_rviz_that_is_not_installed_is_refused(
    camera: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    with pytest.raises(ValueError, match="not installed: sudo apt install ros-humble-rviz2"):
        camera.actions(rviz="true")
