"""The HAHI neck."""

import pytest
import torch

from depthformer_core.models.hahi import HAHI, DeformableAttention
from depthformer_core.models.positional import PositionalEncoding

DIMS = (4, 8, 16, 32, 64)


def make_features(height: int = 12, width: int = 20) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(height * 2, width * 2), *((-(-height // s), -(-width // s)) for s in (1, 2, 4, 8))]
    return [
        torch.randn(2, dim, *size, generator=generator)
        for dim, size in zip(DIMS, sizes, strict=True)
    ]


def test_shapes_are_kept() -> None:
    neck = HAHI(DIMS, dim=8, heads=2, points=2).eval()
    features = make_features()
    with torch.inference_mode():
        outputs = neck(features)
    assert [o.shape for o in outputs] == [f.shape for f in features]


def test_coarse_scales_reach_every_output() -> None:
    neck = HAHI(DIMS, dim=8, heads=2, points=2).eval()
    features = make_features()
    with torch.inference_mode():
        before = neck(features)
        features[4] = features[4] + 1.0
        after = neck(features)
    for level, (old, new) in enumerate(zip(before, after, strict=True)):
        assert not torch.equal(old, new), level


def test_batch_entries_do_not_mix() -> None:
    neck = HAHI(DIMS, dim=8, heads=2, points=2).eval()
    features = make_features()
    with torch.inference_mode():
        both = neck(features)
        second = neck([feature[1:] for feature in features])
    for together, alone in zip(both, second, strict=True):
        torch.testing.assert_close(together[1:], alone, rtol=1e-5, atol=1e-5)


def test_cached_codes_serve_training_after_inference() -> None:
    neck = HAHI(DIMS, dim=8, heads=2, points=2)
    with torch.inference_mode():
        neck.eval()(make_features(height=5, width=7))
    outputs = neck.train()(make_features(height=5, width=7))
    sum(output.sum() for output in outputs).backward()
    missing = [name for name, p in neck.named_parameters() if p.grad is None]
    assert missing == []


def test_new_attention_samples_around_the_reference_point() -> None:
    attention = DeformableAttention(8, heads=4, levels=2, points=3)
    offsets = attention.sampling_offsets.bias.view(4, 2, 3, 2)
    reach = offsets.abs().amax(-1)
    torch.testing.assert_close(reach, torch.tensor([1.0, 2.0, 3.0]).expand(4, 2, 3))
    assert not attention.sampling_offsets.weight.any()


@pytest.mark.parametrize("queries", [1, 8192, 8200])
def test_any_number_of_queries(queries: int) -> None:
    attention = DeformableAttention(4, heads=1, levels=1, points=1).eval()
    with torch.inference_mode():
        output = attention(
            torch.randn(1, queries, 4),
            query_encoding=PositionalEncoding.of_maps(
                [(1, queries)], 4, device=torch.device("cpu")
            ),
            value=torch.randn(1, 6, 4),
            reference_points=torch.rand(queries, 2),
            spatial_shapes=[(2, 3)],
        )
    assert output.shape == (1, queries, 4)


def test_queries_of_squares_cover_every_pixel() -> None:
    """Also where the squares do not fill the map."""
    neck = HAHI(DIMS, dim=8, heads=2, points=2, query_stride=2).eval()
    features = make_features(height=5, width=7)
    with torch.inference_mode():
        outputs = neck(features)
        features[4] = features[4] + 1.0
        moved = neck(features)
    assert [o.shape for o in outputs] == [f.shape for f in features]
    assert all(o.isfinite().all() for o in outputs)
    assert not torch.equal(outputs[0], moved[0])


def test_squares_lie_where_their_pixels_do() -> None:
    """Weights that were trained with one stride are a start for another."""
    torch.manual_seed(0)
    every, squares = (
        HAHI(DIMS, dim=8, heads=2, points=2, query_stride=stride).eval() for stride in (1, 2)
    )
    squares.load_state_dict(every.state_dict())
    # Maps without detail: a square is then what its pixels are.
    smooth = [
        feature.mean(dim=(2, 3), keepdim=True).expand_as(feature) for feature in make_features()
    ]
    with torch.inference_mode():
        one, other = every(smooth)[0], squares(smooth)[0]
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(one[inside], other[inside], rtol=0.05, atol=0.05)
