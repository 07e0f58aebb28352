"""Deformable attention as operators: what torch.compile, gradients and mixed precision see."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.models.positional import PositionalEncoding
from depthformer_core.ops import fused_deform_attn, ms_deform_attn
from depthformer_core.ops.attention_operators import (
    deform_attn_operator,
    flatten_shapes,
    fused_deform_attn_operator,
)
from depthformer_core.ops.deformable_attention import ms_deform_attn_reference

SHAPES = [(3, 4), (2, 2)]
BATCH, QUERIES, HEADS, POINTS, DIM = 2, 5, 2, 3, 8
Tensors = list[torch.Tensor]


def make_inputs(*, grad: bool = False, device: str = "cpu") -> Tensors:
    """Value, locations and weights."""
    generator = torch.Generator().manual_seed(0)
    samples = (BATCH, QUERIES, HEADS, len(SHAPES), POINTS)
    tensors = [
        torch.randn(BATCH, 16, HEADS, DIM, generator=generator),
        torch.rand(*samples, 2, generator=generator) * 1.4 - 0.2,
        torch.rand(samples, generator=generator),
    ]
    return [tensor.to(device).requires_grad_(grad) for tensor in tensors]


def make_fused_inputs(*, grad: bool = False) -> Tensors:
    """Value, offsets, logits and reference points."""
    generator = torch.Generator().manual_seed(0)
    samples = HEADS * len(SHAPES) * POINTS
    tensors = [
        torch.randn(BATCH, 16, HEADS, DIM, generator=generator),
        torch.randn(BATCH, QUERIES, 2 * samples, generator=generator),
        torch.randn(BATCH, QUERIES, samples, generator=generator),
        torch.rand(QUERIES, 2, generator=generator),
    ]
    return [tensor.requires_grad_(grad) for tensor in tensors]


def with_shapes(tensors: Tensors) -> tuple[object, ...]:
    return (tensors[0], flatten_shapes(SHAPES), *tensors[1:])


@pytest.mark.slow
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_opcheck(*, grad: bool) -> None:
    torch.library.opcheck(deform_attn_operator, with_shapes(make_inputs(grad=grad)))
    torch.library.opcheck(fused_deform_attn_operator, with_shapes(make_fused_inputs(grad=grad)))


def test_opcheck_of_the_gradient() -> None:
    gradient = torch.randn(BATCH, QUERIES, HEADS * DIM)
    torch.library.opcheck(
        torch.ops.depthformer.deform_attn_backward.default,
        (gradient, *with_shapes(make_inputs())),
    )


def test_operator_equals_the_function() -> None:
    inputs = make_inputs(grad=True)
    output = deform_attn_operator(*with_shapes(inputs))
    expected = ms_deform_attn(inputs[0], SHAPES, *inputs[1:])
    assert torch.equal(output, expected)
    direction = torch.randn_like(output)
    for actual, reference in zip(
        torch.autograd.grad(output, inputs, direction),
        torch.autograd.grad(expected, inputs, direction),
        strict=True,
    ):
        assert torch.equal(actual, reference)


@pytest.mark.parametrize("attend", [ms_deform_attn, ms_deform_attn_reference])
def test_fused_operator_equals_its_parts(attend) -> None:
    inputs = make_fused_inputs(grad=True)
    output = fused_deform_attn_operator(*with_shapes(inputs))
    expected = fused_deform_attn(inputs[0], SHAPES, *inputs[1:], attend=attend)
    torch.testing.assert_close(output, expected, rtol=2e-5, atol=2e-5)
    direction = torch.randn_like(output)
    for actual, reference in zip(
        torch.autograd.grad(output, inputs, direction),
        torch.autograd.grad(expected, inputs, direction),
        strict=True,
    ):
        torch.testing.assert_close(actual, reference, rtol=2e-4, atol=2e-4)


def test_attention_compiles_into_one_graph() -> None:
    torch.manual_seed(0)
    attention = DeformableAttention(16, heads=2, levels=2, points=3).eval()
    torch.nn.init.normal_(attention.sampling_offsets.weight)
    arguments = {
        "query_encoding": PositionalEncoding.of_maps(
            [(1, QUERIES)], 16, device=torch.device("cpu")
        ),
        "value": torch.randn(BATCH, 16, 16),
        "reference_points": torch.rand(QUERIES, 2),
        "spatial_shapes": SHAPES,
    }
    query = torch.randn(BATCH, QUERIES, 16)
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(query, **arguments), attention(query, **arguments))
    parameters = list(attention.parameters())
    for actual, expected in zip(
        torch.autograd.grad(compiled(query, **arguments).square().sum(), parameters),
        torch.autograd.grad(attention(query, **arguments).square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_mixed_precision_rounds_values_and_not_locations() -> None:
    """Of a GPU, only the shapes and types are needed."""
    with FakeTensorMode():
        value, locations, weights = make_inputs(device="cuda")
        assert ms_deform_attn(value, SHAPES, locations, weights).dtype == torch.float32
        before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        # torch.autocast itself stays off where there is no such device.
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        try:
            output = ms_deform_attn(value, SHAPES, locations, weights)
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 5, 13)}, r"logits must be .* got \(2, 5, 13\)"),
        ({"logits": torch.zeros(1, 5, 12)}, "logits must be"),
        ({"offsets": torch.zeros(2, 5, 12)}, r"offsets must have shape \(2, 5, 24\)"),
        ({"reference_points": torch.zeros(4, 2)}, r"reference_points .* \(5, 2\), got \(4, 2\)"),
        ({"spatial_shapes": [(3, 4), (-2, -2)]}, "spatial_shapes must be positive"),
        ({"spatial_shapes": [(3, 4), (1, 2)]}, "hold 14 pixels, value 16"),
    ],
    ids=["logits", "batch", "offsets", "reference points", "negative", "pixels"],
)
def test_shapes_that_do_not_fit_are_named(change, message: str) -> None:
    names = ("value", "offsets", "logits", "reference_points")
    arguments = dict(zip(names, make_fused_inputs(), strict=True), spatial_shapes=SHAPES)
    with pytest.raises(ValueError, match=message):
        fused_deform_attn(**(arguments | change))
