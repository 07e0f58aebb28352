"""Named configurations."""

from depthformer_core.config import DepthFormerConfig

# max_depth of the two protocols, metres (the release's data sets).
_KITTI = 80.0
_NYU = 10.0

PRESETS: dict[str, DepthFormerConfig] = {
    "swin_large_kitti": DepthFormerConfig(
        embed_dim=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
        hahi_dim=512,
        max_depth=_KITTI,
        crop="kitti",
    ),
    "swin_tiny_kitti": DepthFormerConfig(
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        hahi_dim=256,
        max_depth=_KITTI,
        crop="kitti",
    ),
    "swin_large_nyu": DepthFormerConfig(
        embed_dim=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
        hahi_dim=512,
        max_depth=_NYU,
    ),
    "swin_tiny_nyu": DepthFormerConfig(
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        hahi_dim=256,
        max_depth=_NYU,
    ),
    # About 4 M parameters: a robot without a GPU, and this package's own tests and demo.
    "small": DepthFormerConfig(
        embed_dim=32,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        drop_path=0.1,
        stem_dim=16,
        hahi_dim=64,
        hahi_heads=4,
        hahi_points=4,
        max_depth=_KITTI,
        crop="kitti",
    ),
    # The same topology at the smallest widths: milliseconds, for tests.
    "debug": DepthFormerConfig(
        embed_dim=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1),
        drop_path=0.0,
        stem_dim=4,
        hahi_dim=8,
        hahi_heads=1,
        hahi_points=2,
        max_depth=_KITTI,
        crop="kitti",
    ),
}
