"""The sine positional encoding."""

import math

import pytest
import torch

from depthformer_core.models.positional import PositionalEncoding

CPU = torch.device("cpu")


def test_code_is_rows_then_columns_counted_from_one() -> None:
    code = PositionalEncoding.of_maps([(3, 5)], 8, device=CPU)[:].view(3, 5, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                function(position / 10000**exponent)
                for position in (row + 1, column + 1)
                for exponent in (0.0, 0.5)
                for function in (math.sin, math.cos)
            ]
            assert code[row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_dim_is_checked() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        PositionalEncoding.of_maps([(1, 1)], 6, device=CPU)


def test_maps_follow_each_other_and_have_a_code_of_their_own() -> None:
    shapes = [(3, 5), (2, 4)]
    levels = torch.randn(2, 8)
    code = PositionalEncoding.of_maps(shapes, 8, device=CPU).with_levels(levels)
    expected = torch.cat(
        [
            PositionalEncoding.of_maps([shape], 8, device=CPU)[:] + level
            for shape, level in zip(shapes, levels, strict=True)
        ]
    )
    torch.testing.assert_close(code[:], expected)
    torch.testing.assert_close(code[4:17], expected[4:17])


def test_a_linear_layer_needs_no_code_written_out() -> None:
    code = PositionalEncoding.of_maps([(3, 5), (2, 4)], 8, device=CPU)
    layer = torch.nn.Linear(8, 2)
    torch.testing.assert_close(code.project(layer), layer(code[:]))


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_added_to_features_it_is_what_it_is_written_out(
    dtype: torch.dtype, *, gradients: bool
) -> None:
    code = PositionalEncoding.of_maps([(3, 5), (2, 4)], 8, device=CPU)
    code = code.with_levels(torch.randn(2, 8))
    features = torch.randn(2, 23, 8).to(dtype)
    with torch.set_grad_enabled(gradients):
        coded = code.add_to(features)
    assert torch.equal(coded, features + code[:].to(dtype))


def test_positions_of_squares_are_the_middles_of_their_pixels() -> None:
    one = PositionalEncoding.of_maps([(6, 8)], 8, device=CPU)
    squares = PositionalEncoding.of_maps([(3, 4)], 8, device=CPU, stride=2)
    # Of the slowest wave the code is nearly a line.
    middles = (one.rows[::2, 2] + one.rows[1::2, 2]) / 2
    torch.testing.assert_close(squares.rows[:, 2], middles, rtol=1e-3, atol=1e-4)
