"""Half precision for what bears it, in an ONNX model."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Products of matrices: nearly all of the work.
_HALF = ("Conv", "Gemm", "MatMul")
# What has a result as exact as its inputs, by the indices of those that hold values.
_FOLLOWING = {
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice"),
        (0,),
    ),
    **dict.fromkeys(("Split", "Gather", "Identity", "Pad"), (0,)),
    "Concat": None,
}


_MODEL = "model"  # what the exporter puts before names of modules and weights


def to_half(model: onnx.ModelProto, exact: Collection[str]) -> None:
    """Compute convolutions and products of matrices in float16, in place.

    Sums along residuals, norms, softmax, interpolation, and all nodes of the exact modules stay
    float32, and so do inputs and outputs of the network.

    Args:
        model: The model, all of float32.
        exact: Modules whose own products stay float32, such as `head`.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    kinds: dict[str, int] = {value.name: TensorProto.FLOAT for value in graph.input}
    for value in (*graph.value_info, *graph.output):
        kinds[value.name] = value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        kinds[tensor.name] = tensor.data_type
    cast: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []

    def read(name: str, kind: int) -> str:
        """Return the name of a value in a number format, cast where it has the other."""
        if not name or kinds[name] == kind:
            return name
        if (name, kind) not in cast:
            other = f"{name}.{'half' if kind == TensorProto.FLOAT16 else 'single'}"
            cast[name, kind] = other
            kinds[other] = kind
            if name in weights:
                array = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(array, other))
            else:
                nodes.append(helper.make_node("Cast", [name], [other], to=kind))
        return cast[name, kind]

    single, half = TensorProto.FLOAT, TensorProto.FLOAT16
    for node in graph.node:
        floats = [
            index for index, name in enumerate(node.input) if kinds.get(name) in (single, half)
        ]
        values = [index for index in floats if node.input[index] not in weights]
        kind = single
        if node.op_type in _HALF and not _is_of(node, exact):
            kind = half
        elif node.op_type in _FOLLOWING and values and not outputs.intersection(node.output):
            follows = _FOLLOWING[node.op_type]
            of_values = [index for index in values if follows is None or index in follows]
            if of_values and all(kinds[node.input[index]] == half for index in of_values):
                kind = half
        for index in floats:
            node.input[index] = read(node.input[index], kind)
        nodes.append(node)
        for name in node.output:
            if kinds.get(name) != single:
                continue
            if kind == half and name in outputs:
                raise AssertionError(f"output {name} must stay float32")
            kinds[name] = kind
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for value in graph.value_info:
        if value.name in kinds:
            value.type.tensor_type.elem_type = kinds[value.name]


def _is_of(node: onnx.NodeProto, modules: Collection[str]) -> bool:
    """Return whether a node computes for one of the modules.

    The exporter notes the modules of a node, but not where autocast is disabled around it; and it
    renames weights that it transposes.
    """
    scopes = next((p.value for p in node.metadata_props if p.key == "namespace"), "")
    names = [part.partition(":")[0].strip() for part in scopes.split("/")]
    return any(
        name == f"{_MODEL}.{module}" or name.startswith(f"{_MODEL}.{module}.")
        for name in (*names, *node.input)
        for module in modules
    )
