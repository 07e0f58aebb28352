"""Weights that come with the package, described by the cards beside them."""

from pathlib import Path

SHIPPED = {
    name: Path(__file__).with_name(f"{name}.safetensors") for name in ("small", "small_kitti")
}
"""Files by the names of their presets."""

SHIPPED_NOTES = {
    "small": "Using the weights that come with the package. They were trained on generated streets "
    "alone: take small_kitti for streets like KITTI's, or a checkpoint trained on real images "
    "where metres matter.",
    "small_kitti": "Using the weights small_kitti that come with the package, for research: they "
    "were trained on generated streets and a few dozen frames, most of them KITTI's. Use a "
    "checkpoint trained on your own images where metres matter.",
}
"""Notes for their users, by the same names."""
