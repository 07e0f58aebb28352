"""Devices and precisions of networks."""

import contextlib
from collections.abc import Iterator
from typing import Literal, get_args

import torch

from depthformer_core.errors import DepthFormerError

Precision = Literal["float32", "bfloat16"]

AMPERE = (8, 0)
"""Compute capability from which on GPUs compute in bfloat16; those before only emulate it."""


def resolve_device(device: str) -> torch.device:
    """Parse the name of a device.

    Args:
        device: `auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        DepthFormerError: The name is unknown or the device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        exported = device.partition(":")[0] in ("tensorrt", "openvino")
        hint = ": it is for exported networks, see `depthformer export`" if exported else ""
        raise DepthFormerError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}{hint}")
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise DepthFormerError(
                f"device {device!r} requested, but PyTorch sees {count} CUDA devices"
            )
    return resolved


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Parse the name of a precision.

    Args:
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 on a GPU or a processor that
            computes in it, else float32.
        device: Where the network runs.

    Raises:
        DepthFormerError: The name is unknown.
    """
    if precision == "auto":
        return "bfloat16" if computes_in_bfloat16(device) else "float32"
    choices: tuple[Precision, ...] = get_args(Precision)
    for choice in choices:
        if precision == choice:
            return choice
    raise DepthFormerError(f"precision must be auto or one of {choices}, got {precision!r}")


def cudnn_flags(
    device: torch.device, *, allow_tf32: bool | None = None, benchmark: bool | None = None
) -> contextlib.AbstractContextManager[None]:
    """Change how cuDNN computes convolutions, for the whole process, while the context lasts.

    Args:
        device: Where they are computed; on a CPU nothing changes.
        allow_tf32: Whether those of float32 may round what they multiply to TensorFloat-32; None
            for no change.
        benchmark: Whether those of a new shape are tried by several algorithms first, to take the
            fastest. Never where deterministic algorithms are requested. None for no change.
    """
    if device.type != "cuda":
        return contextlib.nullcontext()
    cudnn = torch.backends.cudnn
    deterministic = cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    return cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark if benchmark is None else benchmark and not deterministic,
        deterministic=deterministic,
        allow_tf32=cudnn.allow_tf32 if allow_tf32 is None else allow_tf32,
    )


@contextlib.contextmanager
def tf32_products(device: torch.device) -> Iterator[None]:
    """Let a GPU round what float32 matrix products multiply to TensorFloat-32 meanwhile."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 is native on a device, and so faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    # An older PyTorch does not report it.
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def peak_memory(device: torch.device) -> int:
    """Return the largest memory of this process so far, bytes: on the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
