import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.geometry.cloud import CloudOptions
from depthformer_ros.node.parameters import NodeParameters, ParameterError, descriptors

CONFIG = Path(__file__).parents[2] / "config"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values of a parameter file by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found


def from_file(name: str) -> dict[str, Any]:
    return flat(yaml.safe_load((CONFIG / name).read_text())["/**"]["ros__parameters"])


def test_depthformer_yaml_lists_every_default() -> None:
    assert from_file("depthformer.yaml") == NodeParameters().to_ros()


def test_kitti_yaml_is_valid_and_changes_the_defaults() -> None:
    values = from_file("kitti.yaml")
    parameters = NodeParameters().changed(values, configured=False)
    assert values.items() <= parameters.to_ros().items()
    assert (parameters.input_crop, parameters.input_rectify) == ("kitti", "never")


def test_readme_lists_every_parameter() -> None:
    lines = (CONFIG.parent / "README.md").read_text().splitlines()
    for name, default in NodeParameters().to_ros().items():
        shown = str(default).lower() if isinstance(default, bool) else default
        assert any(line.startswith(f"| `{name}` | `{shown}` | ") for line in lines), name


def test_every_parameter_is_described() -> None:
    made = descriptors()
    assert made.keys() == NodeParameters().to_ros().keys()
    assert all(item.description for item in made.values())
    assert made["points.stride"].integer_range[0].to_value == 64
    assert made["depth.max"].floating_point_range[0].to_value == 1000.0
    assert made["autostart"].read_only
    assert "bfloat16" in made["precision"].additional_constraints
    assert "one of 0, 90, 180, 270" in made["input.rotate"].additional_constraints


def test_clouds_are_made_as_the_parameters_say() -> None:
    values = {"points.stride": 2, "points.edge_filter": 0.1}
    values |= {"points.clearing": True, "points.max_uncertainty": 0.2}
    changed = NodeParameters().changed(values, configured=True)
    assert changed.cloud == CloudOptions(2, 0.1, clearing=True, max_uncertainty=0.2)
    assert NodeParameters().cloud == CloudOptions(1, 0.05)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("points.stride", 0, id="below range"),
        pytest.param("points.stride", 65, id="above range"),
        pytest.param("points.stride", 2.0, id="float for int"),
        pytest.param("points.stride", True, id="bool for int"),
        pytest.param("depth.max", -0.1, id="negative depth"),
        pytest.param("depth.max", math.nan, id="nan"),
        pytest.param("depth.max", math.inf, id="infinite"),
        pytest.param("depth.max", 5, id="int for float"),
        pytest.param("depth.rate", -1.0, id="negative rate"),
        pytest.param("points.rate", math.nan, id="nan rate"),
        pytest.param("color.rate", 1001.0, id="high rate"),
        pytest.param("points.edge_filter", -0.1, id="negative jump"),
        pytest.param("points.clearing", 1, id="int for clearing"),
        pytest.param("points.max_uncertainty", -0.1, id="negative uncertainty"),
        pytest.param("points.max_uncertainty", math.nan, id="nan uncertainty"),
        pytest.param("depth.compression", "jpeg", id="compression"),
        pytest.param("input.rotate", 45, id="an eighth of a turn"),
        pytest.param("input.rotate", -90, id="counter-clockwise"),
        pytest.param("input.rotate", 90.0, id="float for degrees"),
        pytest.param("input.mask", None, id="no path"),
        pytest.param("input.timeout", 0.0, id="no time"),
        pytest.param("diagnostics.period", 61.0, id="long period"),
        pytest.param("depth.encoding", "32FC3", id="encoding"),
        pytest.param("precision", "float16", id="precision"),
        pytest.param("image_transport", "theora", id="transport"),
        pytest.param("input.crop", "left", id="crop"),
        pytest.param("input.rectify", "", id="rectify"),
        pytest.param("device", "tpu", id="device"),
        pytest.param("device", "cuda:x", id="device number"),
        pytest.param("checkpoint", "", id="no checkpoint"),
        pytest.param("flip", 1, id="int for bool"),
        pytest.param("checkpoint", None, id="unset"),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=name.replace(".", r"\.")):
        NodeParameters().changed({name: value}, configured=False)
    field = name.replace(".", "_")
    with pytest.raises(ParameterError):
        dataclasses.replace(NodeParameters(), **{field: value})


def test_a_set_is_taken_whole_or_not_at_all() -> None:
    parameters = NodeParameters()
    with pytest.raises(ParameterError, match="stride"):
        parameters.changed({"depth.max": 20.0, "points.stride": 0}, configured=True)
    assert parameters == NodeParameters()
    changed = parameters.changed({"depth.max": 20.0, "points.stride": 2}, configured=True)
    assert (changed.depth_max, changed.points_stride) == (20.0, 2)


def test_the_range_of_depth_is_not_empty() -> None:
    for low, high in ((5.0, 5.0), (80.0, 5.0)):
        with pytest.raises(ParameterError, match=f"depth.min must be below depth.max {high}"):
            NodeParameters().changed({"depth.min": low, "depth.max": high}, configured=True)
    # Without a depth.max, the network's own limit is not known here.
    assert NodeParameters().changed({"depth.min": 5.0}, configured=True).depth_min == 5.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint", "debug"),
        ("device", "cpu"),
        ("precision", "float32"),
        ("flip", True),
        ("input.crop", "none"),
        ("input.mask", "mask.png"),
        ("input.rotate", 180),
        ("image_transport", "compressed"),
    ],
)
def test_what_belongs_to_the_model_changes_only_without_one(name: str, value: object) -> None:
    assert NodeParameters().changed({name: value}, configured=False).to_ros()[name] == value
    with pytest.raises(ParameterError, match="unconfigured"):
        NodeParameters().changed({name: value}, configured=True)
    same = NodeParameters().to_ros()[name]
    assert NodeParameters().changed({name: same}, configured=True) == NodeParameters()


def test_autostart_is_fixed_at_the_start() -> None:
    with pytest.raises(ParameterError, match="autostart"):
        NodeParameters().changed({"autostart": False}, configured=False)


def test_a_parameter_without_a_name_is_refused() -> None:
    with pytest.raises(ParameterError, match="needs a name"):
        NodeParameters().changed({"points.stride": 2, "": 1}, configured=False)


def test_parameters_of_others_are_passed_over() -> None:
    changed = NodeParameters().changed({"use_sim_time": True}, configured=True)
    assert changed == NodeParameters()


@pytest.mark.parametrize(
    ("setting", "topic", "expected"),
    [
        ("auto", "/cam/image_raw", True),
        ("auto", "/image", True),
        ("auto", "/cam/image_rect", False),
        ("auto", "/cam/image_rect_color", False),
        ("auto", "/cam/image_rect/compressed", False),
        ("auto", "/direct/image/compressed", True),
        ("always", "/cam/image_rect", True),
        ("never", "/cam/image_raw", False),
    ],
)
def test_rectifies(setting: str, topic: str, expected: bool) -> None:
    parameters = NodeParameters().changed({"input.rectify": setting}, configured=True)
    assert parameters.rectifies(topic) is expected


def test_rviz_shows_image_depth_and_cloud() -> None:
    manager = yaml.safe_load((CONFIG / "depthformer.rviz").read_text())["Visualization Manager"]
    shown = {
        display["Topic"]["Value"]: display["Class"].rpartition("/")[2]
        for display in manager["Displays"]
        if "Topic" in display
    }
    assert shown == {"/image": "Image", "/depth/color": "Image", "/points": "PointCloud2"}
