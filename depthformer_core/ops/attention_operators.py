"""Multi-scale deformable attention as operators of PyTorch.

`torch.compile`, autograd and autocast see these operators. Each operator registers the shape of
its result, its gradient and its types, and chooses between the CUDA kernel and the portable
implementation when it runs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from depthformer_core.ops import portable_attention
from depthformer_core.ops.attention_kernel import find_kernel

_NAMESPACE = "depthformer"
# Heights and widths take turns in `spatial_shapes`: operators know no lists of pairs.
_OUTPUT = "-> Tensor"
_PLAIN = "Tensor value, SymInt[] spatial_shapes, Tensor locations, Tensor weights"
_FUSED = "Tensor value, SymInt[] spatial_shapes, Tensor offsets, Tensor logits, Tensor reference"


def flatten_shapes(spatial_shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Flatten (H, W) of each level into the list that the operators take."""
    return [size for shape in spatial_shapes for size in shape]


def _unflatten(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(sizes[::2], sizes[1::2], strict=True))


@torch.library.custom_op(
    f"{_NAMESPACE}::deform_attn", mutates_args=(), schema=f"({_PLAIN}) {_OUTPUT}"
)
def deform_attn_operator(
    value: Tensor, spatial_shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    """Compute `ms_deform_attn`."""
    shapes = _unflatten(spatial_shapes)
    kernel = find_kernel(value, shapes, queries=locations.shape[1], points=locations.shape[4])
    if kernel is None:
        return portable_attention.attend(value, shapes, locations, weights)
    return kernel.attend(value, shapes, locations, weights)


@torch.library.custom_op(
    f"{_NAMESPACE}::deform_attn_backward",
    mutates_args=(),
    schema=f"(Tensor gradient, {_PLAIN}) -> (Tensor, Tensor, Tensor)",
)
def _backward_operator(
    gradient: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[int],
    locations: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of `ms_deform_attn`'s value, locations and weights."""
    shapes = _unflatten(spatial_shapes)
    kernel = find_kernel(value, shapes, queries=locations.shape[1], points=locations.shape[4])
    # The kernel adds in any order, so does grid_sample's backward, which PyTorch warns of.
    if kernel is None or torch.are_deterministic_algorithms_enabled():
        found = portable_attention.gradients(gradient, value, shapes, locations, weights)
        return found[0].contiguous(), found[1].contiguous(), found[2].contiguous()
    return kernel.gradients(gradient, value, shapes, locations, weights)


@torch.library.custom_op(
    f"{_NAMESPACE}::fused_deform_attn", mutates_args=(), schema=f"({_FUSED}) {_OUTPUT}"
)
def fused_deform_attn_operator(
    value: Tensor,
    spatial_shapes: Sequence[int],
    offsets: Tensor,
    logits: Tensor,
    reference: Tensor,
) -> Tensor:
    """Compute `fused_deform_attn`."""
    shapes = _unflatten(spatial_shapes)
    kernel = None
    if offsets.dtype == logits.dtype:
        kernel = find_kernel(
            value,
            shapes,
            queries=logits.shape[1],
            points=logits.shape[2] // (value.shape[2] * len(shapes)),
            projected=logits.dtype,
        )
    if kernel is None:
        return portable_attention.attend_fused(value, shapes, offsets, logits, reference)
    return kernel.attend_fused(value, shapes, offsets, logits, reference)


@deform_attn_operator.register_fake
def _(value: Tensor, _shapes: Sequence[int], locations: Tensor, _weights: Tensor) -> Tensor:
    return _output_like(value, locations)


@fused_deform_attn_operator.register_fake
def _(value: Tensor, _shapes: Sequence[int], offsets: Tensor, *_: Tensor) -> Tensor:
    return _output_like(value, offsets)


def _output_like(value: Tensor, samples: Tensor) -> Tensor:
    batch, _, heads, dim = value.shape
    return value.new_empty(batch, samples.shape[1], heads * dim)


@_backward_operator.register_fake
def _(
    _gradient: Tensor, value: Tensor, _shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        value.new_empty(value.shape),
        locations.new_empty(locations.shape),
        weights.new_empty(weights.shape),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], **_: Any) -> None:
    value, ctx.spatial_shapes, *tensors = inputs
    ctx.save_for_backward(value, *tensors)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = ctx.saved_tensors
    of_value, of_locations, of_weights = _backward_operator(
        gradient, value, ctx.spatial_shapes, locations, weights
    )
    return of_value, None, of_locations, of_weights


def _differentiate_fused(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    value, offsets, logits, reference = ctx.saved_tensors
    shapes = _unflatten(ctx.spatial_shapes)
    locations, weights = portable_attention.locate(value, shapes, offsets, logits, reference)
    of_value, of_locations, of_weights = _backward_operator(
        gradient, value, ctx.spatial_shapes, locations, weights
    )
    sizes = portable_attention.level_sizes(shapes, value.device)
    of_offsets = (of_locations / sizes[:, None]).reshape(offsets.shape)
    # The softmax's own gradient.
    weighted = (of_weights * weights).flatten(3)
    of_logits = weighted - weights.flatten(3) * weighted.sum(-1, keepdim=True)
    return (
        of_value,
        None,
        of_offsets.to(offsets.dtype),
        of_logits.reshape(logits.shape).to(logits.dtype),
        of_locations.sum((0, 2, 3, 4)).to(reference.dtype),
    )


deform_attn_operator.register_autograd(_differentiate, setup_context=_keep)
fused_deform_attn_operator.register_autograd(_differentiate_fused, setup_context=_keep)


def _autocast(operator: Any) -> Any:
    """Let autocast round the values, as for matrix products, but not the sampling locations."""

    def run(value: Tensor, *args: Any) -> Any:
        with torch.autocast("cuda", enabled=False):
            if value.dtype == torch.float32:
                value = value.to(torch.get_autocast_dtype("cuda"))
            return operator(value, *args)

    return run


# Registrations end with the library they belong to.
_library = torch.library.Library(_NAMESPACE, "FRAGMENT")
_library.impl("deform_attn", _autocast(deform_attn_operator), "AutocastCUDA")
_library.impl("fused_deform_attn", _autocast(fused_deform_attn_operator), "AutocastCUDA")
