"""Export of a network: trace, reference, verification, and the file."""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.export.attention_check import (
    Open,
    check_attentions,
    open_by_onnx_runtime,
    open_by_openvino,
)
from depthformer_core.export.form import export_form
from depthformer_core.export.half import to_half
from depthformer_core.export.onnx_file import finish, trace
from depthformer_core.export.record import fixed_images, record
from depthformer_core.export.reference import BLOCKS_KEY, KEY
from depthformer_core.export.verify import Comparison, VerificationError, compare
from depthformer_core.files import replacing
from depthformer_core.inference.crop import KITTI_SIZE
from depthformer_core.inference.exported_network import (
    CHECKPOINT,
    CONFIG,
    NORMALIZATION,
    PARAMETERS,
    PRECISION,
    PRESET,
    WEIGHTS,
)
from depthformer_core.inference.normalize import MEAN, STD
from depthformer_core.inference.sessions import Session, open_session
from depthformer_core.models import DepthFormer, freeze
from depthformer_core.presets import preset_name

# What makes metres or places: rounding is an error there.
_EXACT = ("head", "upsampling", "neck.self_attention.locate", "neck.cross_attention.locate")

_LEAST = 32
"""Rows and columns of the smallest image: one pixel of the coarsest map."""

_MOST = 8192


@dataclass(frozen=True)
class Export:
    """A file that was written.

    Attributes:
        bytes: Its size.
        size: Height and width of its images, pixels.
        comparisons: With PyTorch, one for each runtime; empty if it was not verified.
        attention_difference: The largest of the attentions on their own, in deviations of the
            result; None if it was not verified.
    """

    bytes: int
    size: tuple[int, int]
    comparisons: Sequence[Comparison] = ()
    attention_difference: float | None = None


def own_size(config: DepthFormerConfig) -> tuple[int, int]:
    """Return height and width of the images that a network was trained on, as it reads them.

    Raises:
        DepthFormerError: The configuration does not say.
    """
    if config.crop == "kitti":
        return KITTI_SIZE
    if config.image_height is None or config.image_width is None:
        raise DepthFormerError(
            "the network does not know the size of its training images: give --size HEIGHT WIDTH"
        )
    return config.image_height, config.image_width


def export_network(
    model: DepthFormer,
    path: Path,
    *,
    checkpoint: str,
    weights_sha256: str = "",
    size: tuple[int, int] | None = None,
    precision: str = "float32",
    verify: bool = True,
    keep_blocks: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Export:
    """Write a network as an ONNX file.

    Args:
        model: The network, on the CPU; it is changed.
        path: The file to write.
        checkpoint: What the network was made from.
        weights_sha256: SHA-256 of its file; that of names and values without one.
        size: Height and width of the images; None for the network's own.
        precision: float32 or float16.
        verify: Whether the file is compared with PyTorch before it is written.
        keep_blocks: Whether the outputs of all blocks are outputs of the file.
        progress: Called with what is done next, in words.

    Raises:
        DepthFormerError: The size is none for this network, or the file would be too large.
        VerificationError: The file computes something else; it is not written.
    """
    height, width = size or own_size(model.config)
    if min(height, width) < _LEAST or max(height, width) > _MOST:
        raise DepthFormerError(
            f"--size must be {_LEAST} to {_MOST} pixels, got {height} {width} (height, width)"
        )
    # What is missing is missed before the minutes of work.
    for library in ("onnxscript", *(["onnxruntime"] if verify else [])):
        importlib.import_module(library)
    metadata = {
        CONFIG: json.dumps(model.config.to_dict()),
        CHECKPOINT: checkpoint,
        PRESET: preset_name(model.config, checkpoint),
        PRECISION: precision,
        NORMALIZATION: json.dumps({"mean": MEAN, "std": STD}),
        WEIGHTS: weights_sha256 or hash_weights(model),
        PARAMETERS: str(sum(weight.numel() for weight in model.parameters())),
    }
    progress(f"running PyTorch on four images of {width}x{height}")
    freeze(model)
    metadata[KEY] = record(model, fixed_images(height, width)).encode()
    calls = export_form(model, height, width)
    progress("writing the network as ONNX operators")
    traced = trace(model, height, width)
    metadata[BLOCKS_KEY] = json.dumps(traced.blocks)
    del model
    if precision == "float16":
        to_half(traced.model, _EXACT)
    content = finish(traced, metadata, keep_blocks=keep_blocks)
    comparisons: list[Comparison] = []
    difference = None
    if verify:
        try:
            progress("comparing the attention, with samples far outside of the image too")
            difference = check_attentions(traced.model, calls, _runtimes(), precision=precision)
            # Large, and needed no more.
            del traced, calls
            comparisons = [_compare(content, device, progress) for device in _devices()]
        except VerificationError as error:
            raise VerificationError(f"{path} was not written: {error}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Export(len(content), (height, width), comparisons, difference)


_NAMES = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}


def hash_weights(model: DepthFormer) -> str:
    """Return the SHA-256 of names and values of a network's weights, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _devices() -> list[str]:
    """Return the devices whose runtimes compare a file: those that are installed."""
    return ["cpu", *(["openvino"] if importlib.util.find_spec("openvino") else [])]


def _runtimes() -> dict[str, Open]:
    opens = {"cpu": open_by_onnx_runtime, "openvino": open_by_openvino}
    return {_NAMES[device]: opens[device] for device in _devices()}


def _compare(content: bytes, device: str, progress: Callable[[str], None]) -> Comparison:
    """Compare the whole network by one runtime."""
    progress(f"comparing the whole network by {_NAMES[device]}")

    def open_file(names: Sequence[str]) -> Session:
        return open_session(content, device=device, extra_outputs=names)

    comparison = compare(open_file)
    if not comparison.agrees:
        raise VerificationError(comparison.describe_failure("the file"))
    return comparison
