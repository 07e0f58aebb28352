"""Time of deformable attention alone on a GPU: `python -m depthformer_core.ops.benchmark`."""

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from torch import Tensor

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

# The usual formulation holds every sample; this is how many queries it is given at a time.
_PIECE = 8192
# Bytes: far more than caches hold, and what the second level of a large GPU does hold.
_LARGE_COPY, _SMALL_COPY = 2**30, 2**24


@dataclass(frozen=True)
class AttentionInputs:
    """What `fused_deform_attn` takes."""

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
        """Take some of the queries."""
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
        query_maps: (H, W) of the maps whose pixels ask, pixels.
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
    outputs = []
    for start in range(0, inputs.logits.shape[1], _PIECE):
        piece = inputs.piece(slice(start, start + _PIECE))
        outputs.append(fused_deform_attn(*_arguments(piece), attend=ms_deform_attn_reference))
    return torch.cat(outputs, dim=1)


_Arguments = tuple[Tensor, list[tuple[int, int]], Tensor, Tensor, Tensor]


def _arguments(inputs: AttentionInputs) -> _Arguments:
    return (
        inputs.value,
        inputs.spatial_shapes,
        inputs.offsets,
        inputs.logits,
        inputs.reference_points,
    )


SIDES: dict[str, Callable[[AttentionInputs], Tensor]] = {
    "fused kernel": _fused,
    "softmax, then kernel": _plain,
    "portable": _portable,
    "grid_sample": _grid_sample,
}


def _milliseconds(run: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _copied_bytes_per_second(size: int) -> float:
    """Bytes read and written by copying some memory again and again."""
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    repeats = max(1, _LARGE_COPY // size)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)

    fastest = min(_milliseconds(copy) for _ in range(5))
    return 2 * size * repeats / (fastest / 1e3)


def run(*, runs: int = 20, precision: Literal["bfloat16", "float16"] = "bfloat16") -> None:
    """Time the neck's two attentions of Swin-L at 352x1216, all formulations taking turns.

    Args:
        runs: Counted runs of each, after two that are not counted.
        precision: Type of values, offsets and logits.
    """
    if not torch.cuda.is_available():
        raise SystemExit("the benchmark needs a CUDA device, and PyTorch sees none")
    path = attention_path("cuda", _DIM)
    if path.startswith("portable"):
        raise SystemExit(f"there is no kernel to measure: {path}")
    memory, cache = map(_copied_bytes_per_second, (_LARGE_COPY, _SMALL_COPY))
    print(f"{torch.cuda.get_device_name()}, {path}, PyTorch {torch.__version__}, {precision}")
    print(f"copies: {memory / 1e9:.0f} GB/s in memory, {cache / 1e9:.0f} GB/s in cache (16 MiB)\n")
    print(
        "| attention | formulation | median ms | ratio | gathered | GB/s | of memory | of cache |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, maps in (("cross", [_STEM]), ("self", _LEVELS)):
        inputs = draw_inputs(
            maps,
            levels=_LEVELS,
            heads=_HEADS,
            points=_POINTS,
            dim=_DIM,
            dtype=getattr(torch, precision),
            device="cuda",
        )
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        with torch.inference_mode():
            for _ in range(runs + 2):
                for side, attend in SIDES.items():
                    times[side].append(_milliseconds(functools.partial(attend, inputs)))
        counted = {side: measured[2:] for side, measured in times.items()}
        fused = next(iter(counted.values()))
        for side, measured in counted.items():
            ratio = statistics.median(b / a for a, b in zip(fused, measured, strict=True))
            median = statistics.median(measured)
            speed = inputs.gathered_bytes / (median / 1e3)
            print(
                f"| {name} | {side} | {median:.3f} | {ratio:.1f} "
                f"| {inputs.gathered_bytes / 1e9:.1f} GB | {speed / 1e9:.0f} "
                f"| {speed / memory:.0%} | {speed / cache:.0%} |"
            )


if __name__ == "__main__":
    tyro.cli(run)
