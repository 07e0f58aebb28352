"""The package `torch-ms-deform-attn`: an implementation in C++ and CUDA, as a baseline.

It is optional: it is used where it is installed.
"""

import functools
import importlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from depthformer_core.errors import DepthFormerError

_PACKAGE = "torch_ms_deform_attn"


def cpp_attention(device: torch.device) -> Callable[..., Tensor]:
    """Find the package's attention, with the arguments of `ms_deform_attn`.

    Args:
        device: Where it will be called.

    Raises:
        DepthFormerError: It is not installed, or not for that device; the message says so.
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
    """Return the size of each level, and the row of its first pixel."""
    sizes = torch.tensor(shapes, device=device)
    counts = sizes.prod(dim=1)
    return sizes, counts.cumsum(dim=0) - counts
