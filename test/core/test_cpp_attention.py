"""The C++ package is a rival where it is installed, and nothing fails where it is not."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from depthformer_core.benchmark.cpp_attention import cpp_attention
from depthformer_core.ops import ms_deform_attn

CPU = torch.device("cpu")
PACKAGE = "torch_ms_deform_attn"
IS_HERE = importlib.util.find_spec(PACKAGE) is not None


@pytest.mark.skipif(IS_HERE, reason="the C++ package is installed")
def test_error_where_it_is_not_installed() -> None:
    with pytest.raises(ValueError, match="not installed"):
        cpp_attention(CPU)


@pytest.mark.skipif(IS_HERE, reason="the C++ package is installed")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('undefined symbol: c10')", "cannot be loaded: undefined symbol: c10"),
        ("import no_such_module", "cannot be loaded: No module named 'no_such_module'"),
    ],
    ids=["built for another PyTorch", "incomplete"],
)
def test_error_names_why_it_cannot_be_loaded(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{PACKAGE}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=message):
        cpp_attention(CPU)
    assert PACKAGE not in sys.modules


@pytest.mark.skipif(not IS_HERE, reason="the C++ package is not installed")
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_computes_the_same(dtype: torch.dtype, tolerance: float) -> None:
    shapes = [(5, 7), (3, 4)]
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(1, 47, 2, 8, generator=generator).to(dtype)
    locations = torch.rand(1, 9, 2, 2, 3, 2, generator=generator)
    weights = torch.rand(1, 9, 2, 2, 3, generator=generator)
    expected = ms_deform_attn(value, shapes, locations, weights)
    output = cpp_attention(CPU)(value, shapes, locations, weights)
    torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)
