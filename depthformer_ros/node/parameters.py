"""Parameters of the node: one dataclass, declared on the node, read back and checked from it."""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from depthformer_core.bags.calibration_messages import named_rectified
from depthformer_core.bags.depth_messages import DEPTH_COMPRESSIONS, DEPTH_ENCODINGS
from depthformer_core.config import Crop, Focal
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.cloud import CloudOptions
from depthformer_core.inference.rotate import ROTATIONS
from depthformer_core.presets import PRESETS
from depthformer_core.weights import SHIPPED

DEVICE = re.compile(r"auto|cpu|(cuda|tensorrt)(:\d+)?|openvino")


class ParameterError(DepthFormerError):
    """A parameter the node cannot take; the message names it and the value."""


@dataclass(frozen=True)
class Rule:
    """Constraints of one parameter.

    Attributes:
        name: Name of the ROS parameter.
        description: Description, with its unit.
        choices: Allowed values; empty for any.
        pattern: Regular expression a text matches as a whole, or None.
        limits: Smallest and largest number allowed, or None.
        read_only: Whether it is fixed when the node starts.
        of_model: Whether it is fixed while a model is loaded.
    """

    name: str
    description: str
    choices: tuple[str, ...] | tuple[int, ...] = ()
    pattern: re.Pattern[str] | None = None
    limits: tuple[float, float] | None = None
    read_only: bool = False
    of_model: bool = False

    def check(self, value: Any, kind: type) -> None:
        """Raise `ParameterError` for a value of another type or out of range."""
        actual = type(value)
        if actual is not kind:  # a bool is no int here
            raise ParameterError(f"{self.name} must be of type {kind.__name__}, got {value!r}")
        if self.choices and value not in self.choices:
            raise ParameterError(
                f"{self.name} must be one of {_listed(self.choices)}, got {value!r}"
            )
        if self.pattern and not self.pattern.fullmatch(value):
            raise ParameterError(f"{self.name} must match {self.pattern.pattern}, got {value!r}")
        # Written so that NaN fails too.
        if self.limits and not self.limits[0] <= value <= self.limits[1]:
            raise ParameterError(
                f"{self.name} must be within {self.limits[0]} and {self.limits[1]}, got {value}"
            )


def _listed(choices: tuple[str, ...] | tuple[int, ...]) -> str:
    return ", ".join(map(str, choices))


def _parameter(default: Any, name: str, description: str, **rule: Any) -> Any:
    return dataclasses.field(default=default, metadata={"rule": Rule(name, description, **rule)})


@dataclass(frozen=True, kw_only=True)
class NodeParameters:
    """Every parameter of the node, with its default; validated on construction."""

    checkpoint: str = _parameter(
        "small",
        "checkpoint",
        "Path of a checkpoint, .safetensors or the official release's .pth, or of an exported "
        "network, .onnx; small, or small_kitti for streets like KITTI's, for weights that come "
        "with the package; or another preset for untrained weights: "
        + ", ".join(name for name in PRESETS if name not in SHIPPED),
        pattern=re.compile(r".+"),
        of_model=True,
    )
    device: str = _parameter(
        "auto",
        "device",
        "Where the network runs: cpu, cuda or cuda:N, of an exported network tensorrt or openvino "
        "too; auto uses a GPU if there is one",
        pattern=DEVICE,
        of_model=True,
    )
    precision: str = _parameter(
        "auto",
        "precision",
        "Number format of the network; auto uses the fast one of the device",
        choices=("auto", "float32", "bfloat16"),
        of_model=True,
    )
    flip: bool = _parameter(
        False,
        "flip",
        "Average with the mirrored image: twice the time, better depth, and depth/uncertainty of a "
        "network that has none of its own",
        of_model=True,
    )
    compile: bool = _parameter(
        False,
        "compile",
        "Let torch.compile make kernels: needs a compiler, and minutes at the start and for each "
        "new size of images",
        of_model=True,
    )
    autostart: bool = _parameter(
        True,
        "autostart",
        "Configure and activate at start; false leaves that to a supervisor",
        read_only=True,
    )
    image_transport: str = _parameter(
        "raw",
        "image_transport",
        "Subscribe to image (raw) or image/compressed (compressed)",
        choices=("raw", "compressed"),
        of_model=True,
    )
    input_crop: Literal["auto", "kitti", "view", "none"] = _parameter(
        "auto",
        "input.crop",
        "Part of the image that gets depth: the bottom 352 rows and middle 1216 columns (kitti), "
        "what lies in the field of view of the training images (view), all (none), or the "
        "checkpoint's own (auto)",
        choices=("auto", *get_args(Crop)),
        of_model=True,
    )
    input_focal: Literal["resize", "scale", "none"] = _parameter(
        "resize",
        "input.focal",
        "What is done about a camera of another focal length than the network's: resize its "
        "images, scale the depth, or nothing (none)",
        choices=get_args(Focal),
        of_model=True,
    )
    input_rectify: str = _parameter(
        "auto",
        "input.rectify",
        "Rectify images with camera_info; auto does unless the topic is named rectified",
        choices=("auto", "always", "never"),
    )
    input_mask: str = _parameter(
        "",
        "input.mask",
        "Path of a PNG file of the images' size, black where the camera sees the robot itself: no "
        "depth and no points there; empty for none",
        of_model=True,
    )
    input_rotate: Literal[0, 90, 180, 270] = _parameter(
        0,
        "input.rotate",
        "Degrees clockwise by which images become upright, of a camera that is mounted upside down "
        "or sideways; outputs stay those of the images as they come",
        choices=ROTATIONS,
        of_model=True,
    )
    input_timeout: float = _parameter(
        2.0,
        "input.timeout",
        "Seconds without an image after which the input counts as stale",
        limits=(0.1, 60.0),
    )
    camera_height: float = _parameter(
        0.0,
        "camera.height",
        "Height of the camera over the ground, metres: the ground in the depth is compared with "
        "it, and /diagnostics warns; 0 takes it from /tf_static, where that has it",
        limits=(0.0, 100.0),
    )
    depth_encoding: Literal["32FC1", "16UC1"] = _parameter(
        "32FC1",
        "depth.encoding",
        "Encoding of depth/image_rect: metres (32FC1), or millimetres up to 65.535 m (16UC1)",
        choices=DEPTH_ENCODINGS,
    )
    depth_compression: Literal["png", "rvl"] = _parameter(
        "png",
        "depth.compression",
        "Code of depth/image_rect/compressedDepth: png, or rvl, which is faster and larger",
        choices=DEPTH_COMPRESSIONS,
    )
    depth_min: float = _parameter(
        0.0,
        "depth.min",
        "Depth below which -Inf is published, metres",
        limits=(0.0, 1000.0),
    )
    depth_max: float = _parameter(
        0.0,
        "depth.max",
        "Depth beyond which +Inf is published, metres; 0 for the network's own limit",
        limits=(0.0, 1000.0),
    )
    depth_calibration: str = _parameter(
        "",
        "depth.calibration",
        "File of `depthformer calibrate`, which corrects the depth of one camera; images of "
        "another camera get no depth; empty for none",
        of_model=True,
    )
    depth_rate: float = _parameter(
        0.0,
        "depth.rate",
        "Depth images a second at most, with their camera_info, uncertainty and image; 0 for all",
        limits=(0.0, 1000.0),
    )
    points_rate: float = _parameter(
        0.0,
        "points.rate",
        "Clouds a second at most; 0 for all",
        limits=(0.0, 1000.0),
    )
    points_stride: int = _parameter(
        1,
        "points.stride",
        "Every n-th row and column of the depth image becomes a point",
        limits=(1, 64),
    )
    points_edge_filter: float = _parameter(
        0.05,
        "points.edge_filter",
        "Flying pixels between two surfaces are removed: those with a neighbour in the depth "
        "image that is farther or nearer by more than this share of the depth; 0 keeps them",
        limits=(0.0, 10.0),
    )
    points_clearing: bool = _parameter(
        False,
        "points.clearing",
        "Give rays that hit nothing up to depth.max a point there, so that costmaps clear the "
        "cells along them; their obstacle_max_range must be below depth.max",
    )
    points_max_uncertainty: float = _parameter(
        0.0,
        "points.max_uncertainty",
        "Largest uncertainty of a point, as a share of its depth; 0 for any",
        limits=(0.0, 10.0),
    )
    color_rate: float = _parameter(
        0.0,
        "color.rate",
        "Coloured previews a second at most; 0 for all",
        limits=(0.0, 1000.0),
    )
    diagnostics_period: float = _parameter(
        1.0,
        "diagnostics.period",
        "Seconds between two messages on /diagnostics",
        limits=(0.1, 60.0),
    )

    def __post_init__(self) -> None:
        """Reject values out of range."""
        for field in dataclasses.fields(self):
            _rule(field).check(getattr(self, field.name), type(field.default))
        if 0 < self.depth_max <= self.depth_min:
            raise ParameterError(
                f"depth.min must be below depth.max {self.depth_max}, got {self.depth_min}"
            )

    def to_ros(self) -> dict[str, Any]:
        """Return the values by the names of the ROS parameters."""
        return {_rule(field).name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def rates(self) -> dict[str, float]:
        """Limits of the outputs as `Outputs` takes them, Hz."""
        return {"depth": self.depth_rate, "points": self.points_rate, "color": self.color_rate}

    @property
    def cloud(self) -> CloudOptions:
        """Which pixels become points."""
        return CloudOptions(
            self.points_stride,
            self.points_edge_filter,
            clearing=self.points_clearing,
            max_uncertainty=self.points_max_uncertainty,
        )

    def rectifies(self, topic: str) -> bool:
        """Return whether images of the resolved topic `topic` are rectified before inference."""
        if self.input_rectify != "auto":
            return self.input_rectify == "always"
        return not named_rectified(topic)

    def claims_rectified(self, topic: str) -> bool:
        """Return whether a parameter alone claims that images of a topic are rectified."""
        return self.input_rectify == "never" and not named_rectified(topic)

    def changed(self, values: Mapping[str, Any], *, configured: bool) -> "NodeParameters":
        """Return a copy with some values changed, all of them or none.

        Args:
            values: New values by the names of the ROS parameters; names of parameters that are
                not this node's own, as `use_sim_time`, are ignored.
            configured: Whether a model is loaded.

        Raises:
            ParameterError: A value is out of range or of another type, or its parameter cannot
                be changed now.
        """
        if "" in values:  # rclpy takes that for a parameter it knows
            raise ParameterError(f"a parameter needs a name, got {values['']!r} for none")
        changes = {}
        for field in dataclasses.fields(self):
            rule = _rule(field)
            if rule.name not in values:
                continue
            changes[field.name] = value = values[rule.name]
            rule.check(value, type(field.default))
            if value == getattr(self, field.name):
                continue
            if rule.read_only:
                raise ParameterError(f"{rule.name} cannot be changed after the start")
            if rule.of_model and configured:
                raise ParameterError(
                    f"{rule.name} belongs to the loaded model: "
                    "it can be changed only while the node is unconfigured"
                )
        return dataclasses.replace(self, **changes)


def _rule(field: "dataclasses.Field[Any]") -> Rule:
    rule = field.metadata["rule"]
    assert isinstance(rule, Rule)
    return rule


def descriptors() -> dict[str, ParameterDescriptor]:
    """Return the descriptors by the names of the ROS parameters, as tools show them."""
    made = {}
    for field in dataclasses.fields(NodeParameters):
        rule = _rule(field)
        descriptor = ParameterDescriptor(
            name=rule.name, description=rule.description, read_only=rule.read_only
        )
        constraints = []
        if rule.choices:
            constraints.append(f"one of {_listed(rule.choices)}")
        if rule.pattern:
            constraints.append("matches " + rule.pattern.pattern)
        if rule.of_model:
            constraints.append("changed only while the node is unconfigured")
        descriptor.additional_constraints = "; ".join(constraints)
        if rule.limits:
            low, high = rule.limits
            if isinstance(field.default, int):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=low, to_value=high, step=0.0)
                ]
        made[rule.name] = descriptor
    return made


def declare_parameters(node: Node) -> NodeParameters:
    """Declare every parameter on a node and return the initial values.

    Args:
        node: The node.

    Raises:
        ParameterError: An initial value is out of range or of another type.
    """
    defaults = NodeParameters().to_ros()
    initial = {
        name: _declare(node, name, defaults[name], descriptor)
        for name, descriptor in descriptors().items()
    }
    fields = {_rule(field).name: field.name for field in dataclasses.fields(NodeParameters)}
    return NodeParameters(**{fields[name]: value for name, value in initial.items()})


def _declare(node: Node, name: str, default: Any, descriptor: ParameterDescriptor) -> Any:
    """Declare a parameter, and return its value; accept a whole number for a float."""
    try:
        # YAML and command lines have 50 for 50.0, which rclpy would refuse.
        loose = ParameterDescriptor(dynamic_typing=True)
        value = node.declare_parameter(name, default, loose).value
        node.undeclare_parameter(name)
        value = _as_number(value, default)
        return node.declare_parameter(name, value, descriptor, ignore_override=True).value
    except ParameterException as error:
        raise ParameterError(f"{name}: {error}") from error


def _as_number(value: Any, default: Any) -> Any:
    return float(value) if type(default) is float and type(value) is int else value


def take_whole_numbers(node: Node) -> None:
    """Accept whole numbers for float parameters, where this rclpy can (from Iron)."""
    if not hasattr(node, "add_pre_set_parameters_callback"):
        return
    defaults = NodeParameters().to_ros()

    def convert(parameters: list[Parameter]) -> list[Parameter]:
        return [
            Parameter(parameter.name, value=_as_number(parameter.value, defaults[parameter.name]))
            if parameter.name in defaults
            else parameter
            for parameter in parameters
        ]

    node.add_pre_set_parameters_callback(convert)


def unknown_parameters(node: Node) -> list[str]:
    """Return messages about initial parameters that the node does not have."""
    # rclpy has no public access to initial values that are not declared.
    overrides = getattr(node, "_parameter_overrides", {})
    messages = []
    for name in overrides:
        if node.has_parameter(name) or name.startswith("qos_overrides."):
            continue
        alike = difflib.get_close_matches(name, NodeParameters().to_ros(), n=1)
        meant = f"; did you mean {alike[0]}?" if alike else ""
        messages.append(
            f"there is no parameter {name}, {overrides[name].value!r} is not used{meant}"
        )
    return messages
