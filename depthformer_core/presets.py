"""Named configurations."""

import dataclasses

from depthformer_core.config import DepthFormerConfig

_SWIN_LARGE_KITTI = DepthFormerConfig(
    embed_dim=192,
    depths=(2, 2, 18, 2),
    num_heads=(6, 12, 24, 48),
    hahi_dim=512,
    max_depth=80.0,
    crop="kitti",
    focal_length=721.5377,
    image_width=1242,
    image_height=375,
)
_SWIN_TINY_KITTI = dataclasses.replace(
    _SWIN_LARGE_KITTI, embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), hahi_dim=256
)


# About 4 M parameters: for a robot without a GPU, and for this package's own demo. It reads images
# at half the focal length of KITTI's, a quarter of the pixels, and of other cameras' what lies in
# KITTI's field of view.
_SMALL = DepthFormerConfig(
    embed_dim=32,
    depths=(2, 2, 2, 2),
    num_heads=(1, 2, 4, 8),
    drop_path=0.1,
    stem_dim=16,
    hahi_dim=32,
    hahi_heads=2,
    hahi_points=1,
    # From every pixel, the cross-attention was a fifth of a frame on a CPU.
    hahi_query_stride=2,
    norm="image",
    # Far depth costs a ReLU large weights, which a network from random ones learns slowly.
    head="sigmoid",
    upsampling="convex",
    uncertainty=True,
    max_depth=80.0,
    crop="view",
    focal_length=721.5377 / 2,
    image_width=621,
    image_height=188,
)


def _indoors(config: DepthFormerConfig) -> DepthFormerConfig:
    """Return the same network for NYU Depth V2."""
    return dataclasses.replace(
        config,
        max_depth=10.0,
        crop="none",
        focal_length=518.8579,
        image_width=640,
        image_height=480,
    )


PRESETS: dict[str, DepthFormerConfig] = {
    "swin_large_kitti": _SWIN_LARGE_KITTI,
    "swin_tiny_kitti": _SWIN_TINY_KITTI,
    "swin_large_nyu": _indoors(_SWIN_LARGE_KITTI),
    "swin_tiny_nyu": _indoors(_SWIN_TINY_KITTI),
    "small": _SMALL,
    "small_kitti": _SMALL,
    # The same topology at the smallest widths, for tests.
    "debug": DepthFormerConfig(
        embed_dim=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1),
        drop_path=0.0,
        stem_dim=4,
        hahi_dim=8,
        hahi_heads=1,
        hahi_points=2,
        max_depth=80.0,
        crop="kitti",
    ),
}


def preset_name(config: DepthFormerConfig, checkpoint: str = "") -> str:
    """Return the preset with an architecture, whatever its dropout; empty for none.

    Args:
        config: The architecture.
        checkpoint: Of two presets with one architecture, the one of this name goes first.
    """
    names = [name for name in PRESETS if name == checkpoint] or list(PRESETS)
    for name in names:
        preset = PRESETS[name]
        dropped = dataclasses.replace(preset, drop_path=config.drop_path, dropout=config.dropout)
        if dropped == config:
            return name
    return ""
