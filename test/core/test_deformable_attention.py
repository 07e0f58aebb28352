"""ms_deform_attn against its grid_sample reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.ops import ms_deform_attn, portable_attention
from depthformer_core.ops.deformable_attention import ms_deform_attn_reference

Inputs = tuple[torch.Tensor, list[tuple[int, int]], torch.Tensor, torch.Tensor]


def make_inputs(
    *,
    batch: int = 2,
    shapes: list[tuple[int, int]] | None = None,
    queries: int = 11,
    heads: int = 2,
    dim: int = 8,
    points: int = 3,
    low: float = -0.3,
    high: float = 1.3,
    seed: int = 0,
) -> Inputs:
    shapes = shapes or [(7, 9), (4, 5), (1, 3), (1, 1)]
    generator = torch.Generator().manual_seed(seed)
    rows = sum(height * width for height, width in shapes)
    value = torch.randn(batch, rows, heads, dim, generator=generator)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator)
    weights = torch.randn(batch, queries, heads, len(shapes), points, generator=generator)
    weights = weights.flatten(3).softmax(-1).view_as(weights)
    return value, shapes, low + (high - low) * locations, weights


def outputs_and_gradients(operator, inputs: Inputs) -> list[torch.Tensor]:
    value, shapes, locations, weights = inputs
    variables = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    output = operator(variables[0], shapes, variables[1], variables[2])
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    return [output.detach(), *torch.autograd.grad((output * direction).sum(), variables)]


def test_other_devices_than_cpu_and_cuda() -> None:
    value, shapes, locations, weights = make_inputs()
    output = ms_deform_attn(value.to("meta"), shapes, locations.to("meta"), weights.to("meta"))
    assert output.shape == (2, 11, 16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"low": 0.0, "high": 1.0},
        {"shapes": [(1, 1)], "points": 1, "queries": 1, "batch": 1, "heads": 1},
        {"low": -50.0, "high": 50.0},
        {"dim": 1, "heads": 3},
    ],
    ids=["around the border", "inside", "one pixel", "far outside", "one channel"],
)
def test_values_and_gradients_equal_the_reference(options) -> None:
    inputs = make_inputs(**options)
    ours = outputs_and_gradients(ms_deform_attn, inputs)
    reference = outputs_and_gradients(ms_deform_attn_reference, inputs)
    names = ("output", "value", "locations", "weights")
    for name, actual, expected in zip(names, ours, reference, strict=True):
        torch.testing.assert_close(actual, expected, rtol=2e-5, atol=2e-5, msg=name)


@pytest.mark.parametrize("options", [{}, {"low": -3.0, "high": 4.0}, {"dim": 1, "heads": 3}])
def test_both_ways_to_the_gradients_agree(options) -> None:
    value, shapes, locations, weights = make_inputs(**options)
    batch, queries = locations.shape[:2]
    gradient = torch.randn(batch, queries, value[0, 0].numel())
    arguments = (gradient, value, shapes, locations, weights)
    sparse = portable_attention.sparse_gradients(*arguments)
    by_grid = portable_attention.grid_gradients(*arguments)
    torch.testing.assert_close(sparse, by_grid, rtol=2e-5, atol=2e-5)


# Between two pixels' squares gradients jump: examples of chance would meet that one day.
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4),
    queries=st.integers(1, 8),
    heads=st.integers(1, 4),
    dim=st.integers(1, 9),
    points=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_any_shape_equals_the_reference(**options) -> None:
    inputs = make_inputs(**options)
    both = (outputs_and_gradients(op, inputs) for op in (ms_deform_attn, ms_deform_attn_reference))
    for ours, reference in zip(*both, strict=True):
        torch.testing.assert_close(ours, reference, rtol=2e-5, atol=2e-5)


def test_pieces_of_the_queries_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(queries=23)
    output, *gradients = outputs_and_gradients(ms_deform_attn, inputs)
    monkeypatch.setattr(portable_attention, "_CPU_SAMPLES", 200)
    in_pieces, *of_pieces = outputs_and_gradients(ms_deform_attn, inputs)
    torch.testing.assert_close(in_pieces, output, rtol=0, atol=0)
    torch.testing.assert_close(of_pieces, gradients, rtol=1e-5, atol=1e-5)


def test_samples_outside_are_zero() -> None:
    value, shapes, locations, weights = make_inputs()
    for far in (-1e30, 1e30, float("inf"), -float("inf")):
        output = ms_deform_attn(value, shapes, torch.full_like(locations, far), weights)
        assert torch.equal(output, torch.zeros_like(output))


def test_nan_locations_stay_within_their_query() -> None:
    value, shapes, locations, weights = make_inputs()
    expected = ms_deform_attn(value, shapes, locations, weights)
    locations[:, 3] = float("nan")
    output = ms_deform_attn(value, shapes, locations, weights)
    assert output[:, 3].isnan().all()
    kept = torch.arange(locations.shape[1]) != 3
    torch.testing.assert_close(output[:, kept], expected[:, kept], rtol=0, atol=0)


def test_half_precision_values_keep_their_type() -> None:
    value, shapes, locations, weights = make_inputs()
    expected = ms_deform_attn(value, shapes, locations, weights)
    output = ms_deform_attn(value.bfloat16(), shapes, locations, weights)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=2e-2, atol=2e-2)
    usual = ms_deform_attn_reference(value.bfloat16(), shapes, locations, weights)
    assert usual.dtype == torch.bfloat16
    torch.testing.assert_close(usual.float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("operator", [ms_deform_attn, ms_deform_attn_reference])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": torch.zeros(2, 3, 4)}, r"value must be .* got \(2, 3, 4\)"),
        ({"shapes": [(2, 2)]}, "hold 4 pixels, value 87"),
        ({"locations": torch.zeros(1, 2, 2, 4, 3, 2)}, "sampling_locations must be"),
        ({"locations": torch.zeros(2, 11, 2, 4, 3, 3)}, "sampling_locations must be"),
        ({"locations": torch.zeros(2, 0, 2, 4, 3, 2)}, "sampling_locations must be"),
        ({"weights": torch.zeros(2, 11, 2, 4, 2)}, "attention_weights must have shape"),
    ],
    ids=["value", "shapes", "batch", "coordinates", "no query", "weights"],
)
def test_shapes_that_do_not_fit_are_named(operator, change, message: str) -> None:
    value, shapes, locations, weights = make_inputs()
    arguments = {"value": value, "shapes": shapes, "locations": locations, "weights": weights}
    with pytest.raises(ValueError, match=message):
        operator(*(arguments | change).values())
