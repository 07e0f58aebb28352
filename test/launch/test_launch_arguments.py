from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

import yaml

from depthformer_ros.launch_arguments import depth_node, node_arguments
from launch import LaunchContext

REPOSITORY = Path(__file__).parents[2]


def made(image_topic: str, camera_info_topic: str | None = None, **arguments: str) -> Any:
    """The node for some values of the arguments, ready to run."""
    context = LaunchContext()
    context.extend_locals({"current_launch_file_directory": str(REPOSITORY / "launch")})
    context.launch_configurations.update(arguments)
    for argument in node_arguments(params_file="kitti.yaml", use_sim_time="time"):
        argument.visit(context)
    node = depth_node(
        context, namespace="eye", image_topic=image_topic, camera_info_topic=camera_info_topic
    )
    node._perform_substitutions(context)
    return node


def parameter_files(node: Any) -> list[Path]:
    words = ["".join(part.text for part in word if hasattr(part, "text")) for word in node.cmd]
    return [Path(file) for flag, file in pairwise(words) if flag == "--params-file"]


def parameters(node: Any) -> dict[str, Any]:
    """Those that are set beside the file."""
    _, given = parameter_files(node)
    (values,) = yaml.safe_load(given.read_text()).values()
    return dict(values["ros__parameters"])


def test_what_is_empty_stays_as_in_the_file() -> None:
    node = made("/camera/image_raw")
    assert parameter_files(node)[0].resolve() == REPOSITORY / "config" / "kitti.yaml"
    assert parameters(node) == {"image_transport": "raw", "use_sim_time": False}
    assert node.expanded_remapping_rules == [("image", "/camera/image_raw")]
    assert node.expanded_node_namespace == "/eye"


def test_what_is_given_goes_to_the_node() -> None:
    given = {"checkpoint": "/w.safetensors", "device": "cuda:1", "precision": "bfloat16"}
    node = made("/camera/image/compressed", "/camera/info", use_sim_time="true", **given)
    assert parameters(node) == {"image_transport": "compressed", "use_sim_time": True, **given}
    assert node.expanded_remapping_rules == [
        ("image/compressed", "/camera/image/compressed"),
        ("camera_info", "/camera/info"),
    ]
