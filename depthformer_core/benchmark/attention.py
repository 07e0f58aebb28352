"""Time of deformable attention alone: `python -m depthformer_core.benchmark.attention`."""

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from torch import Tensor

from depthformer_core.benchmark.cpp_attention import cpp_attention
from depthformer_core.benchmark.device_rates import copy_rate, seconds_of
from depthformer_core.device import resolve_device, resolve_precision
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.ops import attention_path, portable_attention
from depthformer_core.ops.deformable_attention import (
    fused_deform_attn,
    ms_deform_attn,
    ms_deform_attn_reference,
)

# The neck of Swin-L on an image of KITTI, 352x1216.
_LEVELS = [(88, 304), (44, 152), (22, 76), (11, 38)]
_STEM = (176, 608)
_HEADS, _POINTS, _DIM = 8, 8, 64
# So many of the 107,008 are enough for a CPU.
_CPU_QUERIES = 2**14

# Queries at a time of the usual implementation, which holds every sample.
_PIECE = 8192
# Bytes: far more than caches hold, and what the second level of a large GPU does hold.
_LARGE_COPY, _SMALL_COPY = 2**30, 2**24


@dataclass(frozen=True)
class AttentionInputs:
    """Inputs of `fused_deform_attn`."""

    value: Tensor
    spatial_shapes: list[tuple[int, int]]
    offsets: Tensor
    logits: Tensor
    reference_points: Tensor

    @property
    def gathered_bytes(self) -> int:
        """Bytes of all corners of all samples."""
        return 4 * self.logits.numel() * self.value.shape[3] * self.value.element_size()

    def piece(self, part: slice) -> "AttentionInputs":
        """Return the inputs of some of the queries."""
        return AttentionInputs(
            self.value,
            self.spatial_shapes,
            self.offsets[:, part],
            self.logits[:, part],
            self.reference_points[part],
        )


def draw_inputs(
    query_maps: list[tuple[int, int]],
    *,
    levels: list[tuple[int, int]],
    heads: int,
    points: int,
    dim: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> AttentionInputs:
    """Draw inputs as a trained neck has them: samples spread around each query's own place.

    Args:
        query_maps: (H, W) of the maps with the queries, pixels.
        levels: (H, W) of the maps that are attended to, pixels.
        heads: Attention heads.
        points: Samples, per head and level.
        dim: Channels of a head.
        dtype: Type of values, offsets and logits.
        device: Where they are made.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    places = [
        torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(-1)
        for h, w in query_maps
    ]
    reference_points = torch.cat(places).to(device)
    queries, samples = len(reference_points), heads * len(levels) * points
    return AttentionInputs(
        value=draw(1, sum(h * w for h, w in levels), heads, dim),
        spatial_shapes=levels,
        offsets=4 * draw(1, queries, 2 * samples),
        logits=draw(1, queries, samples),
        reference_points=reference_points,
    )


def _fused(inputs: AttentionInputs) -> Tensor:
    return fused_deform_attn(*_arguments(inputs))


def _plain(inputs: AttentionInputs) -> Tensor:
    locations, weights = portable_attention.locate(*_arguments(inputs))
    return ms_deform_attn(inputs.value, inputs.spatial_shapes, locations, weights)


def _portable(inputs: AttentionInputs) -> Tensor:
    return portable_attention.attend_fused(*_arguments(inputs))


def _grid_sample(inputs: AttentionInputs) -> Tensor:
    if not inputs.value.is_cuda:
        # As mixed precision does: in halves it reads outside the maps.
        inputs = dataclasses.replace(inputs, value=inputs.value.float())
    dtype = inputs.logits.dtype
    pieces = range(0, inputs.logits.shape[1], _PIECE)
    outputs = [
        _other(ms_deform_attn_reference, inputs.piece(slice(start, start + _PIECE)))
        for start in pieces
    ]
    return torch.cat(outputs, dim=1).to(dtype)


def _other(attend: Callable[..., Tensor], inputs: AttentionInputs) -> Tensor:
    return fused_deform_attn(*_arguments(inputs), attend=attend)


_Arguments = tuple[Tensor, list[tuple[int, int]], Tensor, Tensor, Tensor]


def _arguments(inputs: AttentionInputs) -> _Arguments:
    return (
        inputs.value,
        inputs.spatial_shapes,
        inputs.offsets,
        inputs.logits,
        inputs.reference_points,
    )


def baselines(
    device: torch.device, *, gradients: bool = False
) -> Mapping[str, Callable[[AttentionInputs], object]]:
    """Return the implementations of the attention on a device, by name, ours first.

    The C++ package is one where it is installed for that device.

    Args:
        device: Where they run.
        gradients: Whether the gradients of values, offsets and logits are computed too.
    """
    found: dict[str, Callable[[AttentionInputs], Tensor]]
    if gradients:
        found = {"ours": _fused, "grid_sample": _grid_sample}
    else:
        found = {"portable": _portable, "grid_sample": _grid_sample}
        if not attention_path(device, _DIM).startswith("portable"):
            found = {"fused kernel": _fused, "softmax, then kernel": _plain, **found}
    with contextlib.suppress(ValueError):
        found["ms_deform_attn C++"] = functools.partial(_other, cpp_attention(device))
    if not gradients:
        return found
    return {name: functools.partial(_differentiate, attend) for name, attend in found.items()}


def _differentiate(
    attend: Callable[[AttentionInputs], Tensor], inputs: AttentionInputs
) -> tuple[Tensor, ...]:
    variables = [
        tensor.detach().requires_grad_() for tensor in (inputs.value, inputs.offsets, inputs.logits)
    ]
    value, offsets, logits = variables
    output = attend(dataclasses.replace(inputs, value=value, offsets=offsets, logits=logits))
    return torch.autograd.grad(output.float().square().sum(), variables)


def run(
    *,
    device: str = "auto",
    runs: int = 20,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    gradients: bool = False,
) -> None:
    """Time the neck's attentions of Swin-L at 352x1216, all implementations in turns.

    On a GPU both of them in full, on the CPU a part of the cross-attention's queries.

    Args:
        device: auto, cpu, cuda or cuda:N.
        runs: Counted runs of each, after two that are not counted.
        precision: Type of values, offsets and logits; auto as for networks.
        gradients: Compute the gradients too, as in training.
    """
    place = resolve_device(device)
    resolved = resolve_precision(precision, place)
    memory, cache = (copy_rate(place, size) for size in (_LARGE_COPY, _SMALL_COPY))
    path = attention_path(place, _DIM)
    print(f"{_name(place)}, {path}, PyTorch {torch.__version__}, {resolved}")
    print(f"copies: {memory / 1e9:.0f} GB/s in memory, {cache / 1e9:.0f} GB/s in cache (16 MiB)")
    try:
        cpp_attention(place)
    except DepthFormerError as error:
        print(f"ms_deform_attn C++: {error}")
    print(
        "\n| attention | implementation | median ms | ratio | gathered | GB/s | of memory "
        "| of cache |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, maps, part in _attentions(place):
        inputs = draw_inputs(
            maps,
            levels=_LEVELS,
            heads=_HEADS,
            points=_POINTS,
            dim=_DIM,
            dtype=getattr(torch, resolved),
            device=place,
        ).piece(part)
        times = _take_turns(inputs, place, runs, gradients=gradients)
        ours = next(iter(times.values()))
        for baseline, measured in times.items():
            ratio = statistics.median(b / a for a, b in zip(ours, measured, strict=True))
            median = statistics.median(measured)
            speed = inputs.gathered_bytes / median
            print(
                f"| {name} | {baseline} | {1e3 * median:.3f} | {ratio:.2f} "
                f"| {inputs.gathered_bytes / 1e9:.1f} GB | {speed / 1e9:.0f} "
                f"| {speed / memory:.0%} | {speed / cache:.0%} |"
            )


def _attentions(device: torch.device) -> list[tuple[str, list[tuple[int, int]], slice]]:
    """Return name, query maps and used queries of each attention."""
    if device.type == "cuda":
        return [("cross", [_STEM], slice(None)), ("self", _LEVELS, slice(None))]
    # From the middle of the image: few samples are outside.
    first = _STEM[0] * _STEM[1] // 2
    return [("cross", [_STEM], slice(first, first + _CPU_QUERIES))]


def _take_turns(
    inputs: AttentionInputs, device: torch.device, runs: int, *, gradients: bool
) -> dict[str, list[float]]:
    """Measure the seconds of each run of each baseline, after two to warm up."""
    implementations = baselines(device, gradients=gradients)
    times: dict[str, list[float]] = {baseline: [] for baseline in implementations}
    with torch.inference_mode(not gradients):
        for _ in range(runs + 2):
            for baseline, attend in implementations.items():
                times[baseline].append(seconds_of(device, functools.partial(attend, inputs)))
    return {baseline: measured[2:] for baseline, measured in times.items()}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    with exit_on_error("attention"):
        tyro.cli(run)
