"""Exported networks that need no PyTorch to be written: depth is linear in the image."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from depthformer_core.config import DepthFormerConfig
from depthformer_core.presets import PRESETS

MEAN, STD = (120.0, 115.0, 100.0), (60.0, 55.0, 58.0)
OFFSET, SLOPE = 20.0, 2.0
SPREAD = 0.125
"""Depth is `OFFSET + SLOPE * mean of the channels`, uncertainty that times `SPREAD`."""


def write_exported(
    path: Path,
    size: tuple[int, int] = (64, 96),
    *,
    config: DepthFormerConfig = PRESETS["debug"],
    shape: tuple[Any, ...] | None = None,
    depth: str = "depth",
    config_text: str | None = "",
    **metadata: str | None,
) -> Path:
    """Write an ONNX file as `depthformer export` does, with a trivial network.

    Args:
        path: The file.
        size: Height and width that it reads.
        config: The network that it seems to be.
        shape: Shape of its input, if it is not (1, 3, height, width).
        depth: Name of its output.
        config_text: Text in place of that of `config`; None for none at all.
        **metadata: Texts in place of the right ones; None for none at all.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, dimensions: tuple[Any, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions)

    constants = {"slope": SLOPE, "offset": OFFSET, "spread": SPREAD}
    initial = [numpy_helper.from_array(np.float32(one), name) for name, one in constants.items()]
    initial.append(numpy_helper.from_array(np.array([1], np.int64), "channels"))
    nodes = [
        helper.make_node("ReduceMean", ["image", "channels"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], [depth]),
    ]
    outputs = [value(depth, (1, 1, *size))]
    if config.uncertainty:
        nodes.append(helper.make_node("Mul", [depth, "spread"], ["uncertainty"]))
        outputs.append(value("uncertainty", (1, 1, *size)))
    image = value("image", (1, 3, *size) if shape is None else shape)
    graph = helper.make_graph(nodes, "linear", [image], outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    texts = {
        "config": json.dumps(config.to_dict()) if config_text == "" else config_text,
        "checkpoint": "linear.safetensors",
        "precision": "float32",
        "normalization": json.dumps({"mean": MEAN, "std": STD}),
        "weights": "0" * 64,
        "parameters": "3",
        **metadata,
    }
    for name, text in texts.items():
        if text is not None:
            model.metadata_props.add(key=f"depthformer_{name}", value=text)
    onnx.save(model, str(path))
    return path


def linear_depth(rgb: Any) -> Any:
    """Depth (H, W) that such a network predicts for an image, metres."""
    values = (rgb.astype(np.float64) - MEAN) / STD
    return OFFSET + SLOPE * values.mean(axis=2)


def _missing(folder: Path) -> Path:
    return folder / "missing.onnx"


def _empty(folder: Path) -> Path:
    path = folder / "empty.onnx"
    path.touch()
    return path


def _text(folder: Path) -> Path:
    path = folder / "text.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\n" * 50)
    return path


def _truncated(folder: Path) -> Path:
    path = write_exported(folder / "truncated.onnx")
    path.write_bytes(path.read_bytes()[:300])
    return path


def _elsewhere(folder: Path) -> Path:
    """Write a network whose weights are to be read from any file of the machine."""
    import onnx

    path = write_exported(folder / "elsewhere.onnx")
    model = onnx.load(str(path))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/hostname")
    weights.external_data.add(key="length", value="4")
    path.write_bytes(model.SerializeToString())
    return path


def _another(**changes: Any) -> Any:
    def make(folder: Path) -> Path:
        return write_exported(folder / "another.onnx", **changes)

    return make


_SHAPE = "must have the input image of shape (1, 3, H, W) alone"
_MEANS = "depthformer_normalization must have three numbers as mean and three positive ones as std"
DAMAGED = {
    "missing": (_missing, "no checkpoint at"),
    "empty": (_empty, "empty.onnx "),
    "text": (_text, "cannot be opened"),
    "truncated": (_truncated, "cannot be opened"),
    "weights elsewhere": (_elsewhere, "cannot be opened"),
    "another network's": (_another(config_text=None), "is no network of `depthformer export`"),
    "any number of images": (_another(shape=("N", 3, 64, 96)), _SHAPE),
    "grey images": (_another(shape=(1, 1, 64, 96)), _SHAPE),
    "huge images": (_another(size=(10**5, 10**5)), "[1, 3, 100000, 100000]"),
    "another output": (_another(depth="result"), "must have the outputs depth"),
    "configuration of nothing": (_another(config_text="{}"), "missing configuration fields"),
    "configuration, no JSON": (_another(config_text="small"), "has a bad configuration"),
    "configuration, nested": (_another(config_text="[" * 10**5), "has a bad configuration"),
    "no normalization": (_another(normalization="[1, 2, 3]"), _MEANS),
    "much normalization": (_another(normalization=f'{{"mean": {[0] * 10**5}}}'), _MEANS),
    "normalization by nothing": (
        _another(normalization='{"mean": [0, 0, 0], "std": [1, 0, 1]}'),
        _MEANS,
    ),
    "normalization, no numbers": (
        _another(normalization='{"mean": [NaN, 0, 0], "std": [1, 1, 1]}'),
        _MEANS,
    ),
    "many parameters": (_another(parameters="9" * 5000), "must be a whole number"),
    "another precision": (_another(precision="int3"), "must be one of float32"),
}
"""Files that are no exported networks: how to write them, and what their error says."""
