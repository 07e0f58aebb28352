"""Deformable attention as gathers and multiplications."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.export.attention import BilinearSamples, GatherAttention
from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.models.positional import PositionalEncoding
from depthformer_core.ops import ms_deform_attn

SHAPES = [(5, 7), (3, 4), (1, 2), (1, 1)]


def sample(
    values: torch.Tensor, x: torch.Tensor, y: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """Sample from places at the middle of each map."""
    samples = BilinearSamples(SHAPES, heads=2, points=3)
    return samples(samples.table(values), x, y, logits, torch.full((len(x), 2), 0.5))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), reach=st.sampled_from([0.5, 3.0, 1e3, 1e7]), whole=st.booleans())
def test_equals_the_attention(seed: int, reach: float, whole: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5 * 7 + 3 * 4 + 2 + 1, 8, generator=generator)
    x, y, logits = torch.randn(3, 11, 2 * 4 * 3, generator=generator)
    x, y = x * reach, y * reach
    if whole:
        # On the pixels themselves and on the borders between them.
        x, y = (x * 2).round() / 2, (y * 2).round() / 2
    sizes = torch.tensor([(width, height) for height, width in SHAPES]).float()
    offsets = torch.stack((x, y), dim=-1).view(1, 11, 2, 4, 3, 2)
    weights = logits.view(1, 11, 2, 12).softmax(dim=-1).view(1, 11, 2, 4, 3)
    wanted = ms_deform_attn(
        values.view(1, -1, 2, 4), SHAPES, 0.5 + offsets / sizes[:, None], weights
    )
    # Beside a pixel's middle, rounding moves a sample by a few millionths of a pixel.
    torch.testing.assert_close(sample(values, x, y, logits)[None], wanted, rtol=0, atol=2e-4)


def test_infinite_offsets_are_outside_and_nan_stays_within_the_table() -> None:
    values = torch.randn(5 * 7 + 3 * 4 + 2 + 1, 8)
    x, y, logits = torch.zeros(3, 1, 24)
    inside = sample(values, x, y, logits)
    outside = sample(values, x + torch.inf, y - torch.inf, logits)
    assert inside.abs().max() > 0
    assert torch.equal(outside, torch.zeros_like(outside))
    # No index may be outside of the table, whatever comes.
    assert sample(values, x * torch.nan, y, logits).isnan().all()


@pytest.mark.parametrize("chunk", [1, 2**27])
def test_whole_attention_in_parts_and_at_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthformer_core.export.attention._VALUES_PER_CHUNK", chunk)
    torch.manual_seed(0)
    attention = DeformableAttention(16, heads=2, levels=4, points=3).eval()
    torch.nn.init.normal_(attention.sampling_offsets.weight)
    torch.nn.init.normal_(attention.attention_weights.weight)
    encoding = PositionalEncoding.of_maps(SHAPES, 16, device=torch.device("cpu"))
    encoding = encoding.with_levels(torch.randn(4, 16))
    count = len(encoding.row_of)
    given = {
        "query_encoding": encoding,
        "reference_points": torch.rand(count, 2),
        "spatial_shapes": SHAPES,
    }
    query, value = torch.randn(2, 1, count, 16)
    with torch.no_grad():
        ours = GatherAttention(attention, **given)(query, value=value, **given)
        wanted = attention(query.clone(), value=value, **given)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
