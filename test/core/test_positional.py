"""The sine position code."""

import math

import pytest
import torch

from depthformer_core.models.positional import sine_position_code


def test_code_is_rows_then_columns_counted_from_one() -> None:
    code = sine_position_code(3, 5, 8, device=torch.device("cpu")).view(3, 5, 8)
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
        sine_position_code(1, 1, 6, device=torch.device("cpu"))
