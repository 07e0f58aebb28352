"""Walls close to a road: noise barriers, retaining walls, hoardings, hedges, abutments."""

import numpy as np

from depthformer_core.synthetic.scene import furniture
from depthformer_core.synthetic.scene.layout import Layout
from depthformer_core.synthetic.scene.paint import BLOCKS, BOARDS, BRICKS, RIBS
from depthformer_core.synthetic.scene.solids import Builder, Material
from depthformer_core.types import FloatingArray

_PIECE = 4.0  # metres
_COLOURS = np.array(
    [
        (0.62, 0.61, 0.58), (0.50, 0.49, 0.47), (0.72, 0.70, 0.66), (0.40, 0.33, 0.26),
        (0.30, 0.36, 0.28), (0.48, 0.28, 0.22), (0.55, 0.58, 0.60), (0.28, 0.36, 0.42),
        (0.66, 0.58, 0.44), (0.78, 0.78, 0.75),
    ]
)  # fmt: skip

_HEDGE, _LOW = 4, 5  # kinds without a paint of their own


def add_barriers(builder: Builder, rng: np.random.Generator, layout: Layout) -> None:
    """Add walls along one or both sides of the road, and at times a bridge close ahead.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        layout: The road.
    """
    near = 1 if layout.lane > 0 else -1
    sides = [(near,), (near, -near), (-near,)][rng.choice(3, p=(0.5, 0.3, 0.2))]
    for side in sides:
        border = layout.sides[side]
        t = border.edge + rng.uniform(0.35, max(0.5, min(border.pavement, 2.5)))
        _wall(builder, rng, layout, side, side * float(t))
    if layout.oncoming and layout.lanes > 1 and rng.random() < 0.3:
        _wall(builder, rng, layout, 0, 0.0, kind=_LOW)
    if rng.random() < 0.35:
        s = rng.uniform(4.0, 45.0)
        origin, yaw = layout.stand(np.array([s]), 0.0)
        left, right = (layout.sides[side].edge + rng.uniform(0.4, 2.5) for side in (-1, 1))
        if layout.theme == "highway":
            left += 10.5
        furniture.add_bridge(
            builder, rng, origin[0], float(yaw[0] + rng.normal(0, 0.06)), left=left, right=right
        )


def _wall(
    builder: Builder,
    rng: np.random.Generator,
    layout: Layout,
    side: int,
    t: float,
    *,
    kind: int | None = None,
) -> None:
    """Add a wall along the road, `t` metres to the right of its middle."""
    start = layout.start + 2 if rng.random() < 0.7 else rng.uniform(4, 20)
    end = min(start + rng.uniform(40, 180), layout.end - 4)
    s: FloatingArray = np.arange(start, end, _PIECE)
    if side:
        s = s[layout.free(s, side, 3.0)]
    if not len(s):
        return
    if kind is None:
        kind = int(rng.choice(6, p=(0.24, 0.18, 0.14, 0.26, 0.10, 0.08)))
    colour = _COLOURS[rng.integers(len(_COLOURS))] * rng.uniform(0.75, 1.1)
    if kind == BRICKS:
        colour = np.array((0.48, 0.29, 0.23)) * rng.uniform(0.7, 1.3, 3)
    height = float(rng.uniform(0.8, 1.1) if kind == _LOW else rng.uniform(1.8, 5.0))
    origin, yaw = layout.stand(s, t)
    if kind == _HEDGE:
        length = np.full(len(s), _PIECE)
        height = float(rng.uniform(1.2, 3.0))
        furniture.add_walls(builder, rng, origin, yaw, length=length, kind="hedge", height=height)
        return
    half, thick = _PIECE / 2 + 0.03, 0.3 if kind == _LOW else 0.12
    code = (BLOCKS if kind == _LOW else kind) + 8 * int(rng.integers(4096))
    lean = 0.2 if kind == _LOW else 0.0
    builder.add(
        Material.BARRIER,
        origin=origin,
        yaw=yaw,
        low=(-thick, -0.6, -half),
        high=(thick, height, half),
        inset=(lean, lean, 0.0, 0.0),
        colour=np.clip(colour, 0, 0.9),
        accent=0.1 + 0.5 * rng.random() + 0.3 * rng.random(3),
        # The pattern goes on from piece to piece.
        detail=_details(code, height, s),
    )
    if kind in (BOARDS, RIBS) and rng.random() < 0.8:
        posts, yaw = layout.stand(s - _PIECE / 2, t)
        builder.add(
            Material.PLAIN,
            origin=posts,
            yaw=yaw,
            low=(-0.17, -0.5, -0.09),
            high=(0.17, height + rng.uniform(-0.05, 0.1), 0.09),
            colour=rng.choice((0.25, 0.45, 0.6)) * np.array((1.0, 1.0, 0.98)),
        )


def _details(code: int, height: float, s: FloatingArray) -> FloatingArray:
    """Return the paint parameters of each piece, (N, 4)."""
    detail = np.zeros((len(s), 4))
    detail[:, 0], detail[:, 1], detail[:, 2] = code, height, s
    return detail
