"""Trees, conifers and bushes beside a generated road."""

import numpy as np

from depthformer_core.synthetic.scene.solids import Builder, Material, rows
from depthformer_core.types import FloatingArray


def add_trees(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, size: FloatingArray
) -> None:
    """Add broad-leaved trees of heights (N,), metres, at points (N, 3)."""
    count = len(origin)
    if not count:
        return
    trunk = size * rng.uniform(0.24, 0.36, count)
    thick = 0.014 * size * rng.uniform(0.7, 1.4, count) + 0.03
    builder.add(
        Material.BARK,
        origin=origin,
        yaw=rng.uniform(0, 6, count),
        low=rows(-thick, -0.5, -thick),
        high=rows(thick, trunk + 0.35 * (size - trunk), thick),
        inset=rows(thick * 0.35, thick * 0.35, thick * 0.35, thick * 0.35),
        colour=np.array((0.33, 0.27, 0.21)) * rng.uniform(0.6, 1.2, (count, 1)),
    )
    green = greens(rng, count)
    crown = size - trunk
    spread = crown * rng.uniform(0.28, 0.42, count)
    for level, reach in (
        (0.50, 0.0),
        (0.28, 0.45),
        (0.32, 0.5),
        (0.45, 0.55),
        (0.62, 0.4),
        (0.78, 0.15),
    ):
        turn = rng.uniform(0, 2 * np.pi, count)
        x, z = reach * spread * np.cos(turn), reach * spread * np.sin(turn)
        wide = spread * rng.uniform(0.55, 0.8, count) * (1.15 if not reach else 1.0)
        tall = crown * rng.uniform(0.24, 0.33, count) * (1.45 if not reach else 1.0)
        up = trunk + level * crown
        builder.add(
            Material.LEAVES,
            origin=origin,
            yaw=turn,
            low=rows(x - wide, up - tall, z - wide),
            high=rows(x + wide, up + tall, z + wide),
            colour=green * rng.uniform(0.85, 1.15, (count, 1)),
            round_body=True,
        )


def add_conifers(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, size: FloatingArray
) -> None:
    """Add conifers of heights (N,), metres, at points (N, 3)."""
    count = len(origin)
    if not count:
        return
    builder.add(
        Material.BARK,
        origin=origin,
        yaw=0.3,
        low=(-0.15, -0.5, -0.15),
        high=rows(0.15, size * 0.4, 0.15),
        colour=(0.27, 0.21, 0.17),
    )
    green = greens(rng, count) * (0.55, 0.72, 0.85)
    wide = size * rng.uniform(0.14, 0.22, count)
    for low, high, share in (
        (0.06, 0.40, 1.0), (0.20, 0.55, 0.86), (0.36, 0.70, 0.68), (0.52, 0.85, 0.5),
        (0.68, 1.0, 0.3),
    ):  # fmt: skip
        half = wide * share
        builder.add(
            Material.LEAVES,
            origin=origin,
            yaw=rng.uniform(0, 6, count),
            low=rows(-half, size * low, -half),
            high=rows(half, size * high, half),
            inset=rows(half, half, half, half) * 0.97,
            colour=green * rng.uniform(0.85, 1.1, (count, 1)),
        )


def add_bushes(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, size: FloatingArray
) -> None:
    """Add bushes of heights (N,), metres, at points (N, 3)."""
    count = len(origin)
    if not count:
        return
    green = greens(rng, count)
    for share in (1.0, 0.75):
        wide = size * rng.uniform(0.45, 0.9, count) * share
        x, z = rng.uniform(-0.6, 0.6, (2, count)) * size * (share < 1)
        builder.add(
            Material.LEAVES,
            origin=origin,
            yaw=rng.uniform(0, 6, count),
            low=rows(x - wide, -0.4 * size, z - wide * 0.8),
            high=rows(x + wide, size * share, z + wide * 0.8),
            colour=green * rng.uniform(0.8, 1.2, (count, 1)),
            round_body=True,
        )


def greens(rng: np.random.Generator, count: int) -> FloatingArray:
    """Draw greens of leaves, (count, 3)."""
    season = rng.uniform(-0.05, 0.14, (count, 1))
    return np.asarray(
        np.clip(np.array((0.27, 0.38, 0.15)) + season * (1.0, 0.35, 0.1), 0, 1)
        * rng.uniform(0.65, 1.15, (count, 1))
    )
