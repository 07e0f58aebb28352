"""A network as an ONNX model."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn

from depthformer_core.errors import DepthFormerError
from depthformer_core.export.blocks import watched, watched_attentions
from depthformer_core.models import DepthFormer

OPSET = 18
"""Newest set of operators that every runtime reads; from 20 on TensorRT's GridSample is wrong."""

_LIMIT = 2**31 - 1  # bytes of a protobuf message


@dataclass(frozen=True)
class Traced:
    """A network as an ONNX model, with the names of values in it.

    Attributes:
        model: The model; its outputs are depth and, if the network has it, uncertainty.
        blocks: Names of the blocks' outputs, in the order of computation.
    """

    model: onnx.ModelProto
    blocks: tuple[str, ...]


class _WithBlocks(nn.Module):
    """A network that returns the outputs of its blocks behind its own."""

    def __init__(self, model: DepthFormer) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        with (
            watched(self.model, found.__setitem__),
            watched_attentions(self.model, found.__setitem__),
        ):
            maps = self.model(image)
        return *maps.split(1, dim=1), *found.values()


def trace(model: DepthFormer, height: int, width: int) -> Traced:
    """Write a network as an ONNX model.

    Args:
        model: The network in the form for export.
        height: Rows of the images.
        width: Their columns.

    Raises:
        DepthFormerError: The file would be larger than an ONNX file can be.
    """
    image = torch.zeros(1, 3, height, width)
    tensors = (*model.parameters(), *model.buffers())
    if (size := sum(tensor.nbytes for tensor in tensors)) > _LIMIT:
        raise DepthFormerError(
            f"the network has {size / 1e9:.1f} GB at {height}x{width}, and an ONNX file at most "
            "2 GB: choose a smaller --size"
        )
    blocks: list[str] = []
    names: list[str] = []
    with (
        torch.no_grad(),
        watched(model, lambda name, _: blocks.append(name)),
        # In one list they are in the order in which the exporter's outputs are.
        watched(model, lambda name, _: names.append(name)),
        watched_attentions(model, lambda name, _: names.append(name)),
    ):
        model(image)
    outputs = ("depth", "uncertainty")[: 1 + model.config.uncertainty]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _WithBlocks(model).eval(),
            (image,),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            optimize=True,
            verbose=False,
            input_names=["image"],
            output_names=[*outputs, *names],
        )
    assert program is not None
    proto = program.model_proto
    # The values of the blocks stay in the graph, under their names, but are outputs no more.
    within = list(proto.graph.output)[len(outputs) :]
    del proto.graph.output[len(outputs) :]
    proto.graph.value_info.extend(within)
    return Traced(proto, tuple(blocks))


def finish(traced: Traced, metadata: Mapping[str, str], *, keep_blocks: bool) -> bytes:
    """Return the content of the file, checked.

    Args:
        traced: The model; it is changed.
        metadata: Texts to store.
        keep_blocks: Whether the blocks are outputs too, as `Traced.blocks` names them.

    Raises:
        DepthFormerError: The file would be larger than an ONNX file can be.
    """
    proto = traced.model
    graph = proto.graph
    # The exporter notes the lines of code that every node comes from.
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    if keep_blocks:
        values = {value.name: value for value in graph.value_info}
        graph.output.extend(values[name] for name in traced.blocks)
    onnx.helper.set_model_props(proto, dict(metadata))
    proto.producer_name = "depthformer"
    proto.producer_version = ""
    if (size := proto.ByteSize()) > _LIMIT:
        raise DepthFormerError(
            f"the file would have {size / 1e9:.1f} GB, and an ONNX file has at most 2 GB: choose a "
            "smaller --size, or --precision float16"
        )
    content: bytes = proto.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter prints and warns of to itself."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
