"""The Swin branch: timm's network, but for the order of padding and rolling."""

import pytest
import timm
import torch

from depthformer_core.models.swin import SwinBlock, SwinTransformer


def make_tiny() -> SwinTransformer:
    return SwinTransformer(
        96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=7, drop_path=0.0
    ).eval()


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    return timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=448, features_only=True, out_indices=(0, 1, 2, 3)
    ).eval()


def test_timm_weights_load_and_give_timm_features(reference: torch.nn.Module) -> None:
    ours = make_tiny()
    weights = {
        name.replace("layers_", "layers."): tensor
        for name, tensor in reference.state_dict().items()
    }
    keys = ours.load_state_dict(weights, strict=False)
    assert keys.unexpected_keys == []
    assert all(name.startswith("norms.") for name in keys.missing_keys)
    # A multiple of the window at every scale, where the order makes no difference.
    image = torch.randn(1, 3, 448, 448, generator=torch.Generator().manual_seed(0))
    captured: list[torch.Tensor] = []
    for layer in ours.layers:
        layer.register_forward_hook(lambda _m, _i, output: captured.append(output))
    with torch.inference_mode():
        ours(image)
        for actual, expected in zip(captured, reference(image), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 61), (64, 96)])
def test_any_size_gives_four_halving_features(size: tuple[int, int]) -> None:
    model = SwinTransformer(
        8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2), window_size=7, drop_path=0.0
    ).eval()
    with torch.inference_mode():
        features = model(torch.zeros(2, 3, *size))
    height, width = (-(-side // 4) for side in size)
    for stage, feature in enumerate(features):
        assert feature.shape == (2, 8 * 2**stage, height, width)
        height, width = (-(-side // 2) for side in (height, width))


def test_shifted_window_sees_no_token_across_the_padded_edge() -> None:
    block = SwinBlock(8, num_heads=1, window_size=7, shift=True, drop_path=0.0).eval()
    x = torch.randn(1, 10, 10, 8, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 0] += 1.0
    with torch.inference_mode():
        moved = (block(changed) - block(x)).abs().amax(dim=(0, 2, 3))
    # Rows 0-3 share the first shifted windows; the roll makes the last rows their neighbours.
    assert (moved[:4] > 0).any()
    assert moved[4:].max() == 0
