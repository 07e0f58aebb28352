from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

PACKAGE = "depthimage_to_laserscan"
ARGUMENTS = {
    *("namespace", "scan_frame", "scan_topic", "scan_height", "range_min", "range_max"),
    "use_sim_time",
}


@pytest.fixture
def depth_to_scan(
    launch_file: Callable[[str], Any],
    add_program: Callable[[Path, str, str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The launch file where the converter is installed."""
    add_program(tmp_path, PACKAGE, f"{PACKAGE}_node", "sleep 60")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return launch_file("depth_to_scan")


def test_arguments_are_described(depth_to_scan: Any) -> None:
    declared = depth_to_scan.arguments()
    assert declared.keys() == ARGUMENTS
    assert all(argument.description for argument in declared.values())


def test_the_converter_reads_the_nodes_depth(depth_to_scan: Any) -> None:
    (node,) = depth_to_scan.nodes(namespace="robot", scan_topic="depth_scan")
    assert node.expanded_node_namespace == "/robot"
    # Without a leading slash, so that it looks into the namespace of the node.
    assert node.expanded_remapping_rules == [
        ("depth", "depth/image_rect"),
        ("depth_camera_info", "depth/camera_info"),
        ("scan", "depth_scan"),
    ]


def test_values_have_the_types_that_the_converter_declares(depth_to_scan: Any) -> None:
    (node,) = depth_to_scan.nodes(range_max="8", scan_height="10", use_sim_time="true")
    assert depth_to_scan.parameters(node) == {
        "output_frame": "camera_link",
        "scan_height": 10,
        "range_min": 0.3,
        "range_max": 8.0,
        "use_sim_time": True,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"range_max": "0.1"}, "must be below range_max", id="empty range"),
        pytest.param({"range_max": "nan"}, "must be below range_max", id="NaN"),
        pytest.param({"range_min": "-1"}, "not negative, got -1", id="negative"),
        pytest.param({"range_min": "near"}, "range_min must be a number, got 'near'", id="text"),
        pytest.param({"scan_height": "0"}, "positive whole number, got '0'", id="no row"),
        pytest.param({"scan_height": "2.5"}, "positive whole number, got '2.5'", id="half a row"),
    ],
)
def test_a_wrong_value_is_refused(
    depth_to_scan: Any, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        depth_to_scan.nodes(**arguments)


def test_a_missing_converter_is_named(
    launch_file: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    with pytest.raises(
        ValueError, match="not installed: sudo apt install ros-jazzy-depthimage-to-laserscan"
    ):
        launch_file("depth_to_scan").nodes()
