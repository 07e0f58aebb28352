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
    **metadata: str | None,
) -> Path:
    """Write an ONNX file as `depthformer export` does, with a trivial network.

    Args:
        path: The file.
        size: Height and width that it reads.
        config: The network that it seems to be.
        shape: Shape of its input, if it is not (1, 3, height, width).
        depth: Name of its output.
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
        "config": json.dumps(config.to_dict()),
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
