"""Arguments that the launch files share, and their values."""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

from depthformer_core.bags.message_types import COMPRESSED, calibration_beside
from depthformer_core.errors import DepthFormerError
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from launch import LaunchContext

_SWITCH = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def config_file(name: str) -> PathJoinSubstitution:
    """Return the path of a file of config/, in the source tree and in an installed package."""
    return PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", name])


def node_arguments(*, params_file: str, use_sim_time: str) -> list[DeclareLaunchArgument]:
    """Declare the arguments of every launch file.

    Args:
        params_file: File of config/ that holds the parameters by default.
        use_sim_time: What that argument does.
    """
    return [
        DeclareLaunchArgument(
            "params_file",
            default_value=config_file(params_file),
            description="YAML file with the parameters of depth_node",
        ),
        _optional(
            "checkpoint",
            "A checkpoint (.safetensors, .onnx, or the release's .pth) or a preset's name",
        ),
        _optional("device", "auto, cpu, cuda or cuda:N; tensorrt or openvino of an .onnx"),
        _optional(
            "precision", "Number format of the network", choices=["auto", "float32", "bfloat16"]
        ),
        _optional("flip", "Average with the mirrored image, for twice the time: true or false"),
        _optional("calibration", "File of `depthformer calibrate`, which corrects the depth"),
        _optional(
            "rectify",
            "Rectify images with camera_info; auto does unless their topic is named rectified",
            choices=["auto", "always", "never"],
        ),
        _optional("points_stride", "Every n-th row and column becomes a point, 1 to 64"),
        _optional("autostart", "Configure and activate without a supervisor: true or false"),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="What depth_node logs",
        ),
        switch_argument("use_sim_time", use_sim_time),
    ]


def scan_arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments of a laser scan made of depth images."""
    return [
        DeclareLaunchArgument(
            "scan_frame",
            default_value="camera_link",
            description="Frame of the scan, at the camera: x is its viewing direction, z is up",
        ),
        DeclareLaunchArgument(
            "scan_topic", default_value="scan", description="Topic of the scan, in the namespace"
        ),
        DeclareLaunchArgument(
            "scan_height",
            default_value="1",
            description="Rows around the principal point whose nearest depth counts, pixels",
        ),
        DeclareLaunchArgument(
            "range_min", default_value="0.3", description="Nearest range of the scan, metres"
        ),
        DeclareLaunchArgument(
            "range_max", default_value="12.0", description="Farthest range of the scan, metres"
        ),
    ]


def camera_info_argument() -> DeclareLaunchArgument:
    """Declare the topic of the calibration."""
    return DeclareLaunchArgument(
        "camera_info_topic",
        default_value="",
        description="Topic of their calibration; empty: camera_info beside the images",
    )


def namespace_argument() -> DeclareLaunchArgument:
    """Declare the namespace of the one node of a launch file."""
    return DeclareLaunchArgument(
        "namespace", default_value="", description="Namespace of the node and its outputs"
    )


def transport_argument() -> DeclareLaunchArgument:
    """Declare the topic and transport of the images."""
    return DeclareLaunchArgument(
        "image_transport",
        default_value="raw",
        choices=["raw", "compressed"],
        description="Whether images come as they are, or as JPEG or PNG on the topic's /compressed",
    )


def switch_argument(name: str, description: str) -> DeclareLaunchArgument:
    """Declare an argument that is on or off, and off by default; see `switch`."""
    return DeclareLaunchArgument(
        name, default_value="false", description=f"{description}: true or false"
    )


def _optional(
    name: str, description: str, *, choices: list[str] | None = None
) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        name,
        default_value="",
        choices=choices and ["", *choices],
        description=f"{description}; empty: as in params_file",
    )


def value(context: LaunchContext, name: str) -> str:
    """Return the value of an argument in a `launch.LaunchContext`."""
    return str(context.perform_substitution(LaunchConfiguration(name)))


def switch(context: LaunchContext, name: str) -> bool:
    """Return the value of a switch: true or false, 1 or 0, in upper or lower case.

    Raises:
        DepthFormerError: It is neither; the message names the argument.
    """
    text = value(context, name)
    if (state := text.strip().lower()) not in _SWITCH:
        raise DepthFormerError(f"{name} must be true or false, got {text!r}")
    return _SWITCH[state]


def number(context: LaunchContext, name: str) -> float:
    """Return the value of an argument that is a number.

    Raises:
        DepthFormerError: It is none; the message names the argument.
    """
    text = value(context, name)
    try:
        return float(text)
    except ValueError:
        raise DepthFormerError(f"{name} must be a number, got {text!r}") from None


def path(context: LaunchContext, name: str) -> Path:
    """Return the value of an argument that is a path: absolute, with `~` expanded."""
    return user_path(value(context, name))


def existing_path(context: LaunchContext, name: str) -> Path:
    """Return the value of an argument that is an existing path, as of `path`.

    Raises:
        DepthFormerError: There is nothing; the message names the argument and the path.
    """
    found = path(context, name)
    if not found.exists():
        raise DepthFormerError(f"{name}: {found} does not exist")
    return found


def checkpoint(context: LaunchContext) -> str:
    """Return the value of the argument `checkpoint`: a preset, an absolute path, or nothing.

    Raises:
        DepthFormerError: It is no preset, and no file either; the message names both.
    """
    text = value(context, "checkpoint")
    if not text or text in PRESETS:
        return text
    file = path(context, "checkpoint")
    if not file.is_file():
        raise DepthFormerError(
            f"checkpoint: there is no file {file}, and {text!r} is no preset ({', '.join(PRESETS)})"
        )
    return str(file)


def calibration(context: LaunchContext) -> str:
    """Return the value of the argument `calibration`: an absolute path, or nothing.

    Raises:
        DepthFormerError: There is no such file.
    """
    return str(existing_path(context, "calibration")) if value(context, "calibration") else ""


def image_topic(context: LaunchContext) -> str:
    """Return the topic of the images, with `/compressed` once for compressed ones."""
    topic = value(context, "image_topic")
    if value(context, "image_transport") == "raw" or topic.endswith(COMPRESSED):
        return topic
    return topic + COMPRESSED


def camera_info_topic(context: LaunchContext) -> str:
    """Return the topic of the calibration: the argument's, else that beside the images."""
    return value(context, "camera_info_topic") or calibration_beside(value(context, "image_topic"))


def namespace(context: LaunchContext, name: str) -> str:
    """Return the absolute namespace of a node, within that of `PushRosNamespace`.

    Args:
        context: The `launch.LaunchContext`.
        name: Namespace of the node; one with a leading slash is absolute already.
    """
    pushed = "" if name.startswith("/") else context.launch_configurations.get("ros_namespace", "")
    return "/" + "/".join(part for part in f"{pushed}/{name}".split("/") if part)


def resolved(topic: str, *, namespace: str) -> str:
    """Return the absolute name of a topic of a node in an absolute namespace."""
    return topic if topic.startswith("/") else f"{namespace.rstrip('/')}/{topic}"
