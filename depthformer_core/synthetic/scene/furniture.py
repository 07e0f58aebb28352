"""Houses, trees, walls, poles and what else stands beside a road."""

import numpy as np

from depthformer_core.synthetic.scene.plants import greens
from depthformer_core.synthetic.scene.solids import (
    Builder,
    Material,
    PaintedPlacement,
    Placement,
    rows,
)
from depthformer_core.types import BoolArray, FloatingArray

_WALLS = np.array(
    [
        (0.80, 0.76, 0.66), (0.74, 0.66, 0.52), (0.72, 0.55, 0.42), (0.56, 0.33, 0.27),
        (0.48, 0.28, 0.23), (0.78, 0.78, 0.76), (0.62, 0.62, 0.60), (0.84, 0.80, 0.55),
        (0.66, 0.70, 0.72), (0.55, 0.48, 0.40), (0.85, 0.84, 0.82),
    ]
)  # fmt: skip
_TILES = np.array(
    [(0.48, 0.24, 0.17), (0.40, 0.20, 0.16), (0.30, 0.30, 0.32), (0.22, 0.22, 0.24),
     (0.42, 0.32, 0.26)]
)  # fmt: skip
_SIGNS = np.array(
    [(0.85, 0.85, 0.85), (0.10, 0.25, 0.60), (0.85, 0.80, 0.15), (0.75, 0.10, 0.10),
     (0.10, 0.42, 0.25)]
)  # fmt: skip
_STEEL = (0.46, 0.48, 0.49)


def add_houses(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    width: FloatingArray,
    depth: FloatingArray,
    storeys: FloatingArray,
    gable: BoolArray,
    shops: bool,
) -> None:
    """Add houses.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        origin: (N, 3), middle of each front on the ground.
        yaw: (N,), direction from the front to the back of the house.
        width: (N,), along the front, metres.
        depth: (N,), metres.
        storeys: (N,).
        gable: (N,), whether it has a gable roof, else a flat one.
        shops: Whether there may be shop windows on the ground floor.
    """
    count = len(origin)
    if not count:
        return
    storey = rng.uniform(2.7, 3.3, count)
    base = rng.uniform(0.2, 0.7, count)
    height = base + storeys * storey + 0.4
    wall = _WALLS[rng.integers(len(_WALLS), size=count)] * rng.uniform(0.85, 1.05, (count, 1))
    wall = np.clip(wall + rng.normal(0, 0.02, (count, 3)), 0, 0.92)
    detail = rows(
        storey, base, rng.uniform(1.7, 3.1, count), np.floor(rng.random(count) * 4096) * 4
        + (shops & (rng.random(count) < 0.5))
    )  # fmt: skip
    common: Placement = {"origin": origin, "yaw": yaw}
    half = width / 2
    # The walls go into the ground: it is not level.
    builder.add(
        Material.FACADE,
        low=rows(-half, -3.0, 0.0),
        high=rows(half, height, depth),
        colour=wall,
        accent=np.clip(wall * rng.choice((0.6, 1.25), (count, 1)), 0, 0.95),
        detail=detail,
        **common,
    )
    tiles = _TILES[rng.integers(len(_TILES), size=count)] * rng.uniform(0.8, 1.2, (count, 1))
    along = rng.random(count) < 0.6  # the ridge runs along the front
    rise = rng.uniform(0.55, 0.95, count) * np.where(along, depth, width) / 2
    eaves = rng.uniform(0.25, 0.6, count)
    side = np.where(along, 0.0, half + eaves - 0.02)
    end = np.where(along, depth / 2 + eaves - 0.02, 0.0)
    pick = np.flatnonzero(gable)
    builder.add(
        Material.ROOF,
        origin=origin[pick],
        yaw=yaw[pick],
        low=rows(-half - eaves, height, -eaves)[pick],
        high=rows(half + eaves, height + rise, depth + eaves)[pick],
        inset=rows(side, side, end, end)[pick],
        colour=tiles[pick],
        accent=wall[pick],
        detail=rows(along, 0.0, 0.0, 0.0)[pick],
    )
    x, z = rng.uniform(-0.3, 0.3, count) * width, rng.uniform(0.3, 0.7, count) * depth
    builder.add(
        Material.FACADE,
        origin=origin[pick],
        yaw=yaw[pick],
        low=rows(x - 0.35, height, z - 0.35)[pick],
        high=rows(x + 0.35, height + rise * 0.9 + 0.9, z + 0.35)[pick],
        colour=(0.45, 0.27, 0.22),
        detail=(100.0, 200.0, 100.0, 0.0),
    )
    flat = np.flatnonzero(~gable)
    builder.add(
        Material.CONCRETE,
        origin=origin[flat],
        yaw=yaw[flat],
        low=rows(-half - 0.1, height, -0.25)[flat],
        high=rows(half + 0.1, height + rng.uniform(0.3, 0.9, count), depth)[flat],
        colour=(wall * 0.85)[flat],
    )


def add_walls(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    length: FloatingArray,
    kind: str,
    height: float,
) -> None:
    """Add pieces of wall, hedge, fence or guard rail.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        origin: (N, 3), middle of each piece.
        yaw: (N,), direction along the piece.
        length: (N,), metres.
        kind: `wall`, `hedge`, `fence` or `rail`.
        height: Metres.
    """
    if not len(origin):
        return
    half = length / 2 + 0.03
    common: Placement = {"origin": origin, "yaw": yaw}
    if kind == "rail":
        builder.add(
            Material.PLAIN,
            low=rows(-0.06, height - 0.31, -half),
            high=rows(0.06, height, half),
            colour=(0.56, 0.58, 0.59),
            **common,
        )
        builder.add(
            Material.PLAIN,
            low=(-0.07, -0.3, -0.06),
            high=(0.03, height - 0.05, 0.06),
            colour=_STEEL,
            **common,
        )
        return
    material = {"wall": Material.CONCRETE, "hedge": Material.LEAVES, "fence": Material.SLATS}[kind]
    colour = {
        "wall": _WALLS[rng.integers(len(_WALLS))] * 0.9,
        "hedge": greens(rng, 1)[0],
        "fence": np.array([(0.75, 0.74, 0.70), (0.42, 0.32, 0.24), (0.22, 0.26, 0.24)])[
            rng.integers(3)
        ],
    }[kind]
    thick = {"wall": 0.12, "hedge": 0.35, "fence": 0.03}[kind]
    uneven = rng.normal(0, 0.05 * height, len(origin)) if kind == "hedge" else 0.0
    builder.add(
        material,
        low=rows(-thick, -0.6, -half),
        high=rows(thick, height + uneven, half),
        colour=colour,
        **common,
    )


def add_lamps(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    height: float,
) -> None:
    """Add street lamps; their arms point to the right of directions (N,)."""
    reach = float(rng.uniform(0.6, 2.2))
    common: Placement = {"origin": origin, "yaw": yaw}
    builder.add(
        Material.PLAIN,
        low=(-0.08, -0.5, -0.08),
        high=(0.08, height, 0.08),
        inset=(0.035, 0.035, 0.035, 0.035),
        colour=_STEEL,
        **common,
    )
    builder.add(
        Material.PLAIN,
        low=(0, height - 0.1, -0.04),
        high=(reach, height, 0.04),
        colour=_STEEL,
        **common,
    )
    builder.add(
        Material.PLAIN,
        low=(reach - 0.1, height - 0.16, -0.13),
        high=(reach + 0.6, height + 0.02, 0.13),
        colour=(0.62, 0.62, 0.60),
        **common,
    )


def add_signs(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, yaw: FloatingArray
) -> None:
    """Add traffic signs that are read along directions (N,)."""
    count = len(origin)
    height, size = rng.uniform(1.9, 2.6, count), rng.uniform(0.25, 0.36, count)
    colour = _SIGNS[rng.integers(len(_SIGNS), size=count)]
    common: Placement = {"origin": origin, "yaw": yaw}
    builder.add(
        Material.PLAIN,
        low=(-0.035, -0.3, -0.035),
        high=rows(0.035, height + size, 0.035),
        colour=_STEEL,
        **common,
    )
    is_round = rng.random(count) < 0.5
    for flag in (True, False):
        pick = np.flatnonzero(is_round == flag)
        builder.add(
            Material.SIGN,
            origin=origin[pick],
            yaw=yaw[pick],
            low=rows(-size, height - size, -0.07)[pick],
            high=rows(size, height + size, -0.04)[pick],
            colour=colour[pick],
            accent=(0.75, 0.10, 0.10),
            detail=rows(size, height, 0.0, 1.0 * flag)[pick],
            round_body=flag,
        )


def add_lights(builder: Builder, origin: FloatingArray, yaw: FloatingArray) -> None:
    """Add traffic lights that are read along directions (N,)."""
    common: Placement = {"origin": origin, "yaw": yaw}
    builder.add(
        Material.PLAIN, low=(-0.06, -0.3, -0.06), high=(0.06, 3.4, 0.06), colour=_STEEL, **common
    )
    builder.add(
        Material.PLAIN,
        low=(-0.17, 2.4, -0.30),
        high=(0.17, 3.35, -0.06),
        colour=(0.10, 0.11, 0.10),
        **common,
    )
    for up, colour in (
        (3.05, (0.85, 0.12, 0.10)),
        (2.77, (0.3, 0.24, 0.08)),
        (2.48, (0.07, 0.22, 0.14)),
    ):
        builder.add(
            Material.PLAIN,
            low=(-0.1, up, -0.33),
            high=(0.1, up + 0.2, -0.27),
            colour=colour,
            round_body=True,
            **common,
        )


def add_posts(builder: Builder, origin: FloatingArray, yaw: FloatingArray) -> None:
    """Add white delineators."""
    common: Placement = {"origin": origin, "yaw": yaw}
    builder.add(
        Material.PLAIN,
        low=(-0.06, -0.2, -0.05),
        high=(0.06, 0.75, 0.05),
        colour=(0.85, 0.85, 0.83),
        **common,
    )
    builder.add(
        Material.PLAIN,
        low=(-0.062, 0.75, -0.052),
        high=(0.062, 0.98, 0.052),
        colour=(0.12, 0.12, 0.12),
        **common,
    )


def add_masts(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, yaw: FloatingArray
) -> None:
    """Add wooden masts with a crossbar."""
    height = float(rng.uniform(7.5, 10.5))
    common: Placement = {"origin": origin, "yaw": yaw}
    bark = (0.36, 0.30, 0.24)
    builder.add(
        Material.BARK, low=(-0.13, -0.5, -0.13), high=(0.13, height, 0.13), colour=bark, **common
    )
    builder.add(
        Material.BARK,
        low=(-1.1, height - 0.8, -0.06),
        high=(1.1, height - 0.65, 0.06),
        colour=bark,
        **common,
    )


def add_bridge(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: float,
    *,
    left: float,
    right: float,
) -> None:
    """Add a bridge over the road.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        origin: (3,), middle of the road below it.
        yaw: Direction of the road.
        left: Width of the opening to the left, metres.
        right: Its width to the right, metres.
    """
    clear, deck = rng.uniform(4.6, 6.2), rng.uniform(1.0, 1.7)
    width = rng.uniform(5.0, 14.0) / 2
    grey = np.array((0.60, 0.59, 0.56)) * rng.uniform(0.75, 1.1)
    place: PaintedPlacement = {"origin": origin[None], "yaw": np.array([yaw]), "colour": grey}
    builder.add(
        Material.CONCRETE, low=(-60, clear, -width), high=(60, clear + deck, width), **place
    )
    for side in (-1, 1):
        near, far = side * width, side * (width - 0.2)
        builder.add(
            Material.SLATS,
            low=(-60, clear + deck, min(near, far)),
            high=(60, clear + deck + 1.1, max(near, far)),
            origin=origin[None],
            yaw=yaw,
            colour=(0.40, 0.46, 0.44),
        )
    for low, high in ((-60.0, -left), (right, 60.0)):
        builder.add(
            Material.CONCRETE, low=(low, -4, -width + 0.3), high=(high, clear, width - 0.3), **place
        )


def add_gantry(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: float,
    *,
    left: float,
    right: float,
) -> None:
    """Add an overhead sign from `left` to `right` of the road's middle, metres."""
    place: Placement = {"origin": origin[None], "yaw": np.array([yaw])}
    for x in (-left, right):
        builder.add(
            Material.PLAIN,
            low=(x - 0.18, -1.5, -0.18),
            high=(x + 0.18, 7.0, 0.18),
            colour=_STEEL,
            **place,
        )
    builder.add(
        Material.PLAIN, low=(-left, 6.5, -0.15), high=(right, 7.0, 0.15), colour=_STEEL, **place
    )
    middle = rng.uniform(-left * 0.4, right * 0.6)
    builder.add(
        Material.SIGN,
        low=(middle - 2.4, 5.3, -0.3),
        high=(middle + 2.4, 7.6, -0.18),
        colour=_SIGNS[rng.choice((1, 4))],
        accent=(0.86, 0.86, 0.86),
        detail=(2.4, 6.45, middle, 2.0),
        **place,
    )
