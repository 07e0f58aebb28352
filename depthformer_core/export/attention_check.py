"""The attentions of an exported network on their own, with samples far outside of the maps."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import torch
from onnx.utils import Extractor

from depthformer_core.export.blocks import ATTENDED, QUERY, VALUES
from depthformer_core.export.form import AttentionCall
from depthformer_core.export.verify import VerificationError
from depthformer_core.inference.sessions import (
    RuntimeDevice,
    import_runtime,
    open_onnx,
    openvino_settings,
)
from depthformer_core.ops import fused_deform_attn
from depthformer_core.types import FloatArray, FloatingArray

_SCALES = (1.0, 30.0, 1000.0)
"""Deviations of the queries: with the last, nearly all samples are outside."""

# Of the result's deviation; rounding of queries of 1000 is 0.003 of it, half a pixel more than 0.1.
_TOLERANCES = {"float32": 1e-2, "float16": 0.05}

Run = Callable[[Mapping[str, FloatingArray]], FloatArray]
"""Runs a part of a model with one output."""

Open = Callable[[bytes], Run]
"""Opens a part of a model."""


def check_attentions(
    model: onnx.ModelProto,
    calls: Mapping[str, AttentionCall],
    runtimes: Mapping[str, Open],
    *,
    precision: str,
) -> float:
    """Compare the attentions in a model with PyTorch's, for samples near and far outside.

    Args:
        model: The exported model.
        calls: The attentions that it was made from, by their names.
        runtimes: What opens it, by name.
        precision: float32 or float16.

    Returns:
        The largest difference, in deviations of the result for queries of deviation 1.

    Raises:
        VerificationError: An attention computes something else; the message names it.
    """
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    extractor = Extractor(model)
    largest = 0.0
    for name, call in calls.items():
        query, value, attended = (f"{name}.{part}" for part in (QUERY, VALUES, ATTENDED))
        part = extractor.extract_model([query, value], [attended]).SerializeToString()
        runs = {runtime: open_part(part) for runtime, open_part in runtimes.items()}
        unit = 0.0
        for scale in _SCALES:
            inputs = {
                key: values.astype(onnx.helper.tensor_dtype_to_np_dtype(types[key]))
                for key, values in zip((query, value), _draw(call, scale), strict=True)
            }
            wanted = _attend(call, inputs[query], inputs[value])
            # Far outside of small maps there is nothing, and no deviation either.
            unit = unit or float(wanted.std())
            for runtime, run in runs.items():
                got = run(inputs).astype(np.float32)
                difference = float(np.abs(got - wanted).max()) / unit
                if not difference <= _TOLERANCES[precision]:
                    raise VerificationError(
                        f"{name} differs from PyTorch by {difference:.2g} of its deviation with "
                        f"{runtime}, for queries of deviation {scale:g}"
                    )
                largest = max(largest, difference)
    return largest


def _draw(call: AttentionCall, scale: float) -> tuple[FloatArray, FloatArray]:
    """Draw queries of a deviation, (1, Q, dim), and projected values, (1, sum(H * W), dim)."""
    generator = torch.Generator().manual_seed(0)
    dim = call.attention.value_proj.out_features
    count = sum(height * width for height, width in call.spatial_shapes)
    query = torch.randn(1, len(call.reference_points), dim, generator=generator) * scale
    return query.numpy(), torch.randn(1, count, dim, generator=generator).numpy()


def _attend(call: AttentionCall, query: FloatingArray, values: FloatingArray) -> FloatArray:
    """Return what PyTorch's attention adds to queries, computed in float32."""
    attention = call.attention
    with torch.no_grad():
        encoded = torch.from_numpy(query).float() + call.query_encoding[:]
        attended = attention.output_proj(
            fused_deform_attn(
                torch.from_numpy(values).float().unflatten(-1, (attention.heads, -1)),
                call.spatial_shapes,
                attention.sampling_offsets(encoded),
                attention.attention_weights(encoded),
                call.reference_points,
            )
        )
    result: FloatArray = attended.numpy()
    return result


def open_by_onnx_runtime(content: bytes) -> Run:
    """Open a part of a model by ONNX Runtime."""
    session = open_onnx(content, RuntimeDevice("cpu"), name="the attention")

    def run(inputs: Mapping[str, FloatingArray]) -> FloatArray:
        result: FloatArray = session.run(None, dict(inputs))[0]
        return result

    return run


def open_by_openvino(content: bytes) -> Run:
    """Open a part of a model by OpenVINO."""
    core = import_runtime("openvino", device="openvino").Core()
    compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", openvino_settings())

    def run(inputs: Mapping[str, FloatingArray]) -> FloatArray:
        result: FloatArray = compiled(dict(inputs))[0]
        return result

    return run
