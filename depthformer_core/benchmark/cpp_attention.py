"""The package `torch-ms-deform-attn`: a formulation in C++ and CUDA to be measured beside ours.

Nothing here needs it. It is looked for where somebody has installed it.
"""

import functools
import importlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from depthformer_core.errors import DepthFormerError

_PACKAGE = "torch_ms_deform_attn"


def cpp_attention(device: torch.device) -> Callable[..., Tensor]:
    """Find the package's attention, to be called as `ms_deform_attn` is.

    Args:
        device: Where it will be called.

    Raises:
        ValueError: It is not installed, or not for that device; the message says which.
    """
    try:
        attend = importlib.import_module(_PACKAGE).ms_deform_attn
        native = importlib.import_module(f"{_PACKAGE}._C")
    except ModuleNotFoundError as error:
        if error.name == _PACKAGE:
            raise DepthFormerError("not installed") from error
        raise DepthFormerError(f"cannot be loaded: {error}") from error
    except ImportError as error:
        raise DepthFormerError(f"cannot be loaded: {error}") from error
    if device.type == "cuda" and not native.with_cuda:
        raise DepthFormerError("installed without its CUDA part")

    def call(
        value: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        shapes, starts = _levels(tuple(spatial_shapes), value.device)
        # It computes in float32 alone.
        inputs = (value.float(), shapes, starts, sampling_locations, attention_weights)
        output: Tensor = attend(*inputs)
        return output.to(value.dtype)

    return call


@functools.lru_cache(maxsize=1)
def _levels(shapes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Size of each level, and the row of its first pixel."""
    sizes = torch.tensor(shapes, device=device)
    counts = sizes.prod(dim=1)
    return sizes, counts.cumsum(dim=0) - counts
