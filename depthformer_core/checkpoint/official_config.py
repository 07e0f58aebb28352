"""Configuration of the network in a checkpoint of the release."""

import ast
import math
from collections.abc import Iterator, Mapping
from typing import Any

from depthformer_core.config import STAGES, DepthFormerConfig
from depthformer_core.errors import CheckpointError, DepthFormerError
from depthformer_core.inference.crop import KITTI_SIZE
from depthformer_core.inference.normalize import MEAN, STD
from depthformer_core.models.decoder import NEGATIVE_SLOPE
from depthformer_core.presets import PRESETS

Shapes = Mapping[str, tuple[int, ...]]

# The release's own is 8 KB long.
_MOST_CHARACTERS = 2**18
# What only matters while a network is trained.
_TRAINING = ("drop_path", "dropout")
_HEADS = 8  # of the release's deformable attention, always
# By the channels of their first stage; presets have no others.
_BACKBONES = {96: "Swin-T", 192: "Swin-L"}
_CAMERAS = {"KITTIDataset": PRESETS["swin_large_kitti"], "NYUDataset": PRESETS["swin_large_nyu"]}


class _Expression:
    """Placeholder of an expression that is no literal."""

    def __repr__(self) -> str:
        return "an expression"


def choose_config(shapes: Shapes, *, text: str | None, preset: str | None) -> DepthFormerConfig:
    """Find the configuration of a network of the release.

    Args:
        shapes: Shape of each of its tensors by the release's name.
        text: The release's configuration, as Python text; None where it is unknown.
        preset: The preset that the user names; None to use the other two.

    Raises:
        CheckpointError: The three do not determine one network, contradict each other, or
            determine one that computes something else than ours.
        DepthFormerError: No preset has that name.
    """
    if preset is not None and preset not in PRESETS:
        raise DepthFormerError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    if text is None:
        if preset is not None:
            return PRESETS[preset]
        raise CheckpointError(_missing_configuration(_architecture(shapes)))
    try:
        values = _literals(text)
    except CheckpointError as error:
        if preset is not None:
            return PRESETS[preset]
        raise CheckpointError(f"{error}; name its network by --preset") from error
    config = _translate(values, shapes)
    if preset is not None:
        _compare(config, preset)
    return config


def _translate(values: dict[str, object], shapes: Shapes) -> DepthFormerConfig:
    """Convert the release's configuration to ours."""
    model = _part(values, "model")
    head, neck, backbone = (_part(model, name) for name in ("decode_head", "neck", "backbone"))
    activation, slope = _part(head, "act_cfg"), NEGATIVE_SLOPE
    wanted: tuple[tuple[str, dict[str, object], str, object, object], ...] = (
        ("decode_head.align_corners", head, "align_corners", True, False),
        ("decode_head.classify", head, "classify", False, False),
        ("neck.cross_att", neck, "cross_att", True, True),
        ("neck.self_att", neck, "self_att", True, True),
        ("decode_head.act_cfg.type", activation, "type", "LeakyReLU", "ReLU"),
        ("decode_head.act_cfg.negative_slope", activation, "negative_slope", slope, slope),
    )
    for name, part, key, ours, usual in wanted:
        if (theirs := part.get(key, usual)) != ours:
            raise CheckpointError(
                f"its configuration has {name} {theirs!r}: this network computes something else "
                f"than DepthFormer's {ours!r}"
            )
    if not isinstance(scale_up := head.get("scale_up", False), bool):
        raise CheckpointError(f"its configuration has decode_head.scale_up {scale_up!r}")
    _check_normalization(values)
    architecture = _architecture(shapes)
    for name, part, key in (
        ("embed_dim", backbone, "embed_dims"),
        ("depths", backbone, "depths"),
        ("num_heads", backbone, "num_heads"),
        ("window_size", backbone, "window_size"),
        ("hahi_dim", neck, "embedding_dim"),
        ("hahi_points", neck, "num_points"),
    ):
        theirs = part.get(key, architecture[name])
        theirs = tuple(theirs) if isinstance(theirs, list) else theirs
        if theirs != architecture[name]:
            raise CheckpointError(
                f"its configuration has {key} {theirs!r}, its tensors {architecture[name]!r}"
            )
    try:
        return DepthFormerConfig(
            **architecture,
            **_view(values),
            drop_path=_number(backbone, "drop_path_rate", DepthFormerConfig.drop_path),
            head="sigmoid" if scale_up else "relu",
            min_depth=_number(head, "min_depth", DepthFormerConfig.min_depth),
            max_depth=_number(head, "max_depth", None),
        )
    except ValueError as error:
        raise CheckpointError(f"its configuration is of no DepthFormer: {error}") from error


def _architecture(shapes: Shapes) -> dict[str, Any]:
    """Infer the sizes of a network from its tensors' shapes."""
    blocks = [set[str]() for _ in range(STAGES)]
    heads = [0] * STAGES
    rows = 0
    for name, shape in shapes.items():
        match name.split("."):
            case ["backbone", "stages", stage, "blocks", block, *rest] if stage.isdecimal():
                if int(stage) >= STAGES:
                    raise CheckpointError(f"unknown tensor {name}: no DepthFormer has it")
                blocks[int(stage)].add(block)
                if rest[-1:] == ["relative_position_bias_table"] and len(shape) == 2:
                    rows, heads[int(stage)] = shape
    points = _size(shapes, "neck.self_attn.attention_weights.bias", 0) // (STAGES * _HEADS)
    return {
        "embed_dim": _size(shapes, "backbone.patch_embed.projection.weight", 0),
        "depths": tuple(len(names) for names in blocks),
        "num_heads": tuple(heads),
        # A table has a row for each offset within a window.
        "window_size": (math.isqrt(rows) + 1) // 2,
        "stem_dim": _size(shapes, "backbone.conv1.weight", 0),
        "hahi_dim": _size(shapes, "neck.level_embed", 1),
        "hahi_heads": _HEADS,
        "hahi_points": points,
    }


def _size(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes.get(name)
    if shape is None:
        raise CheckpointError(f"missing tensor {name}: this is no DepthFormer")
    if len(shape) <= axis:
        raise CheckpointError(f"tensor {name} has shape {shape}")
    return shape[axis]


def _missing_configuration(architecture: dict[str, Any]) -> str:
    """Return the message for a file that holds no configuration."""
    fitting = [
        name
        for name, config in PRESETS.items()
        if all(getattr(config, field) == value for field, value in architecture.items())
    ]
    if not fitting:
        shown = ", ".join(f"{name} {value}" for name, value in architecture.items())
        return f"it holds no configuration, and its tensors are of no preset: {shown}"
    options = " or ".join(f"--preset {name}" for name in fitting)
    return (
        f"it holds a {_BACKBONES[architecture['embed_dim']]}, but not what that was trained on: "
        f"depthformer convert FILE OUT.safetensors {options}"
    )


def _compare(config: DepthFormerConfig, preset: str) -> None:
    """Reject a preset that the release's configuration contradicts."""
    theirs, ours = config.to_dict(), PRESETS[preset].to_dict()
    different = [
        f"{name} is {theirs[name]} in the file, {ours[name]} in the preset"
        for name in theirs
        if name not in _TRAINING and theirs[name] != ours[name]
    ]
    if different:
        raise CheckpointError(
            f"it does not hold {preset}: {'; '.join(different)}. Without --preset, the "
            "file's own configuration is taken"
        )


def _view(values: dict[str, object]) -> dict[str, Any]:
    """Return crop, focal length and size of the images that a network was trained on."""
    steps = [step for step in _dictionaries(values) if step.get("type") == "KBCrop"]
    for step in steps:
        height, width = KITTI_SIZE
        size = step.get("height", height), step.get("width", width)
        if size != KITTI_SIZE:
            raise CheckpointError(
                f"its configuration crops images to {size[1]}x{size[0]} instead of KITTI's "
                f"{width}x{height}"
            )
    view: dict[str, Any] = {"crop": "kitti" if steps else "none"}
    test = _part(_part(values, "data"), "test")
    known = _CAMERAS.get(str(values.get("dataset_type", test.get("type"))))
    if known is not None:
        names = ("focal_length", "image_width", "image_height")
        view |= {name: getattr(known, name) for name in names}
    return view


def _check_normalization(values: dict[str, object]) -> None:
    """Reject a network that was trained on images of other means, deviations or colour order."""
    steps = [step for step in _dictionaries(values) if step.get("type") == "Normalize"]
    ours = {"mean": list(MEAN), "std": list(STD), "to_rgb": True}
    for step in (_part(values, "img_norm_cfg"), *steps):
        theirs = {name: step.get(name, value) for name, value in ours.items()}
        if theirs != ours:
            raise CheckpointError(
                f"its configuration normalises images by mean {theirs['mean']}, std "
                f"{theirs['std']}, to_rgb {theirs['to_rgb']}: this network knows ImageNet's, "
                f"{MEAN} and {STD}, in RGB alone"
            )


def _dictionaries(values: object) -> Iterator[dict[str, object]]:
    """Iterate over all dictionaries in a configuration, at any depth."""
    if isinstance(values, dict):
        yield values
    for item in values.values() if isinstance(values, dict) else values:  # type: ignore[attr-defined]
        if isinstance(item, dict | list):
            yield from _dictionaries(item)


def _part(values: dict[str, object], name: str) -> dict[str, object]:
    part = values.get(name, {})
    if not isinstance(part, dict):
        raise CheckpointError(f"its configuration has no dictionary {name}, but {part!r:.100}")
    return part


def _number(part: dict[str, object], name: str, usual: float | None) -> float:
    value = part.get(name, usual)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CheckpointError(f"its configuration has {name} {value!r:.100}, which is no number")
    return float(value)


def _literals(text: str) -> dict[str, object]:
    """Read the assignments of a text, without running it."""
    if len(text) > _MOST_CHARACTERS:
        raise CheckpointError(f"its configuration has {len(text)} characters, which is absurd")
    try:
        tree = ast.parse(text)
        values = {
            target.id: _literal(statement.value)
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise CheckpointError(f"its configuration cannot be read: {error!r:.200}") from error
    if "model" not in values:
        raise CheckpointError("its configuration has no model")
    return values


def _literal(node: ast.expr) -> object:
    """Return the value of a literal or of `dict(...)`; an `_Expression` for anything else."""
    match node:
        case ast.Constant(value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
            return -value
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            names = [None if key is None else _literal(key) for key in keys]
            pairs = zip(names, values, strict=True)
            return {name: _literal(value) for name, value in pairs if isinstance(name, str)}
        case ast.Call(ast.Name("dict"), [], keywords):
            return {item.arg: _literal(item.value) for item in keywords if item.arg is not None}
        case ast.Call(ast.Name("dict"), [ast.Dict() as whole], []):
            return _literal(whole)
    return _Expression()
