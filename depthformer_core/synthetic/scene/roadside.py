"""Bodies beside a generated road and over it."""

import numpy as np

from depthformer_core.synthetic.scene import furniture, plants, vehicles
from depthformer_core.synthetic.scene.layout import Layout
from depthformer_core.synthetic.scene.solids import Builder
from depthformer_core.types import FloatingArray


def add_roadside(builder: Builder, rng: np.random.Generator, layout: Layout) -> None:
    """Add houses, parked cars, fences, plants, poles, people, rails and bridges.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        layout: The road that they stand beside.
    """
    for side in (-1, 1):
        if layout.theme in ("city", "suburb"):
            _houses(builder, rng, layout, side)
            _park(builder, rng, layout, side)
        if layout.theme == "suburb":
            _fence(builder, rng, layout, side)
        if layout.theme == "rural":
            _farms(builder, rng, layout, side)
        _plants(builder, rng, layout, side)
        _poles(builder, rng, layout, side)
        _people(builder, rng, layout, side)
    _rails(builder, rng, layout)
    _overhead(builder, rng, layout)


def _houses(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    city = layout.theme == "city"
    count = int((layout.end - layout.start) / 9)
    widths = rng.uniform(8.0, 26.0, count) if city else rng.uniform(7.5, 15.0, count)
    dense = rng.random() < 0.6
    if city:
        gaps = np.where(rng.random(count) < (0.08 if dense else 0.3), rng.uniform(3, 15, count), 0)
    else:
        gaps = rng.uniform(2.0, 9.0 if dense else 25.0, count)
    s = layout.start + np.cumsum(widths + gaps) - widths / 2
    keep = (s < layout.end) & layout.free(s, side, 0.0)
    for junction in layout.junctions:
        if junction.left if side < 0 else junction.right:
            keep &= (s + widths / 2 < junction.start - 1.5) | (s - widths / 2 > junction.end + 1.5)
    s, widths = s[keep], widths[keep]
    count = len(s)
    back = rng.uniform(0, 0.3, count) if city else rng.uniform(0, 4.0, count)
    origin, yaw = layout.stand(s, side * (border.edge + border.front + back), side * np.pi / 2)
    gable_share = rng.choice((0.1, 0.9)) if city else 0.93
    tall = rng.uniform(2, 6) if city else 1.6
    furniture.add_houses(
        builder,
        rng,
        origin,
        yaw + (0.0 if city else rng.normal(0, 0.04, count)),
        width=widths,
        depth=rng.uniform(9.0, 14.0, count),
        storeys=np.clip(np.rint(rng.normal(tall, 0.9 if city else 0.6, count)), 1, 8),
        gable=rng.random(count) < gable_share,
        shops=city,
    )


def _farms(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    s = layout.spread(rng, rng.uniform(60, 160))
    s = s[layout.free(s, side, 12.0)]
    count = len(s)
    origin, yaw = layout.stand(
        s, side * (border.edge + rng.uniform(8, 30, count)), side * np.pi / 2
    )
    furniture.add_houses(
        builder, rng, origin, yaw + rng.normal(0, 0.4, count),
        width=rng.uniform(8, 22, count), depth=rng.uniform(8, 14, count),
        storeys=rng.integers(1, 3, count).astype(float), gable=np.ones(count, bool),
        shops=False,
    )  # fmt: skip


def _park(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    share = rng.uniform(0.1, 0.95)
    s: FloatingArray
    direction = 0.0 if side == layout.ours else np.pi
    if border.parking > 4:  # across the road's direction
        s = np.arange(layout.start, layout.end, rng.uniform(2.5, 2.9))
        t, turn = border.edge - 2.3, direction + np.pi / 2
    elif border.parking:
        s = np.arange(layout.start, layout.end, rng.uniform(5.3, 6.6))
        s = s + rng.uniform(-0.25, 0.25, len(s))
        t, turn = border.edge - border.parking / 2 - 0.05, direction
    else:
        # Driveways of houses.
        if layout.theme != "suburb":
            return
        s = layout.spread(rng, 22.0)
        t, turn, share = border.edge + border.pavement + 3.0, np.pi / 2, 0.5
    s = s[layout.free(s, side, 5.5) & (rng.random(len(s)) < share)]
    offset = side * (t + rng.normal(0, 0.08, len(s)))
    origin, yaw = layout.stand(s, offset, turn)
    yaw = yaw + rng.normal(0, 0.025, len(s)) + np.pi * (rng.random(len(s)) < 0.12)
    van = rng.random(len(s)) < 0.1
    vehicles.add_cars(builder, rng, origin[~van], yaw[~van])
    vehicles.add_vans(builder, rng, origin[van], yaw[van])


def _fence(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    place = border.edge + border.pavement + 0.3
    s = layout.start
    while s < layout.end:
        run = rng.uniform(10, 30)
        pieces: FloatingArray = np.arange(s + 1, min(s + run, layout.end), 3.0)
        if rng.random() < 0.7 and len(pieces):
            pieces = pieces[layout.free(pieces, side, 4.0)]
            origin, yaw = layout.stand(pieces, side * place)
            kind = ("wall", "hedge", "fence")[rng.integers(3)]
            furniture.add_walls(
                builder, rng, origin, yaw, length=np.full(len(pieces), 3.0),
                kind=kind, height=float(rng.uniform(0.7, 1.8 if kind != "wall" else 1.3)),
            )  # fmt: skip
        s += run + rng.uniform(3.0, 6.0)


def _plants(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    avenue = {"city": 0.45, "suburb": 0.3, "rural": 0.35, "highway": 0.0}[layout.theme]
    if rng.random() < avenue:
        s = layout.spread(rng, rng.uniform(8, 22), 0.15)
        s = s[layout.free(s, side, 3.0)]
        reach = border.edge + (0.9 if border.kerb else border.pavement + 1.0)
        origin, _ = layout.stand(s, side * reach)
        size = rng.uniform(4.5, 11.0) * rng.uniform(0.85, 1.15, len(s))
        plants.add_trees(builder, rng, origin, size)
    density = {"city": 24.0, "suburb": 9.0, "rural": 5.0, "highway": 6.0}[layout.theme]
    s = layout.spread(rng, density * rng.uniform(0.7, 2.0), 2.0)
    s = s[layout.free(s, side, 6.0)]
    count = len(s)
    first = border.edge + {
        "city": border.front + 14.0, "suburb": border.pavement + 1.5,
        "rural": border.pavement + 2.5,
        "highway": border.pavement + (5.0 if side > 0 else 16.0),
    }[layout.theme]  # fmt: skip
    spread = {"city": 10.0, "suburb": 22.0, "rural": 40.0, "highway": 25.0}[layout.theme]
    t = first + spread * rng.random(count) ** 1.7
    origin, _ = layout.stand(s, side * t)
    draw = rng.random(count)
    conifers = rng.choice((0.05, 0.5), p=(0.7, 0.3))
    bushes = rng.uniform(0.15, 0.5)
    kinds = np.where(draw < conifers, 0, np.where(draw < conifers + bushes, 1, 2))
    size = rng.uniform(5, 14, count)
    plants.add_conifers(builder, rng, origin[kinds == 0], size[kinds == 0] * 1.2)
    plants.add_bushes(builder, rng, origin[kinds == 1], rng.uniform(0.6, 2.4, (kinds == 1).sum()))
    plants.add_trees(builder, rng, origin[kinds == 2], size[kinds == 2])
    if layout.theme in ("rural", "highway") and rng.random() < 0.6:
        _wood(builder, rng, layout, side * (first + rng.uniform(6, 25)), conifers)


def _wood(
    builder: Builder, rng: np.random.Generator, layout: Layout, t: float, conifers: float
) -> None:
    """Add the rim of a wood."""
    start = rng.uniform(layout.start, layout.end)
    s = np.arange(start, min(start + rng.uniform(60, 160), layout.end - 1), 3.2)
    origin, _ = layout.stand(s, t + np.sign(t) * rng.uniform(0, 7, len(s)))
    size = rng.uniform(9, 16, len(s))
    fir = rng.random(len(s)) < conifers
    plants.add_conifers(builder, rng, origin[fir], size[fir] * 1.2)
    plants.add_trees(builder, rng, origin[~fir], size[~fir])


def _poles(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    t = side * (border.edge + (0.45 if border.kerb else border.pavement + 0.2))
    inwards = np.pi if side > 0 else 0.0
    if layout.theme in ("city", "suburb") and rng.random() < 0.7:
        s = layout.spread(rng, rng.uniform(22, 45), 0.1)
        origin, yaw = layout.stand(s[layout.free(s, side, 1.0)], t, inwards)
        furniture.add_lamps(builder, rng, origin, yaw, float(rng.uniform(4.5, 9.0)))
    if layout.theme in ("rural", "suburb") and rng.random() < 0.4:
        s = layout.spread(rng, rng.uniform(30, 50), 0.05)
        origin, yaw = layout.stand(s[layout.free(s, side, 1.0)], t + side * 2.0)
        furniture.add_masts(builder, rng, origin, yaw)
    if layout.theme in ("rural", "highway") and rng.random() < 0.7:
        s = layout.spread(rng, 25.0 if layout.theme == "rural" else 50.0, 0.0)
        origin, yaw = layout.stand(s[layout.free(s, side, 1.0)], t)
        furniture.add_posts(builder, origin, yaw)
    s = layout.spread(rng, rng.uniform(25, 70), 0.5)
    s = s[layout.free(s, side, 0.5)]
    turn = 0.0 if side == layout.ours else np.pi
    origin, yaw = layout.stand(s, t + side * rng.uniform(0, 0.6, len(s)), turn)
    furniture.add_signs(builder, rng, origin, yaw + rng.normal(0, 0.1, len(s)))
    if layout.theme == "city" and rng.random() < 0.5:
        s = np.array([junction.start - 1.5 for junction in layout.junctions])
        origin, yaw = layout.stand(s, t)
        furniture.add_lights(builder, origin, yaw)


def _people(builder: Builder, rng: np.random.Generator, layout: Layout, side: int) -> None:
    border = layout.sides[side]
    if not border.kerb:
        return
    s = layout.spread(rng, rng.choice((9.0, 25.0, 80.0)), 0.8)
    t = side * (border.edge + rng.uniform(0.6, max(0.7, border.pavement - 0.3), len(s)))
    origin, yaw = layout.stand(s, t, np.pi * rng.integers(2))
    vehicles.add_pedestrians(builder, rng, origin, yaw + rng.normal(0, 0.4, len(s)))


def _rails(builder: Builder, rng: np.random.Generator, layout: Layout) -> None:
    for side in (-1, 1):
        border = layout.sides[side]
        share = {"highway": 0.85, "rural": 0.3}.get(layout.theme, 0.0)
        if rng.random() < share:
            s: FloatingArray = np.arange(layout.start + 2, layout.end - 2, 4.0)
            s = s[layout.free(s, side, 3.0)]
            origin, yaw = layout.stand(s, side * (border.edge + 0.6))
            furniture.add_walls(
                builder, rng, origin, yaw, length=np.full(len(s), 4.0), kind="rail", height=0.75
            )
    if layout.theme == "highway" and rng.random() < 0.35:
        s = np.arange(layout.start + 2, layout.end - 2, 4.0)
        origin, yaw = layout.stand(s, layout.sides[1].edge + rng.uniform(4, 9))
        furniture.add_walls(
            builder, rng, origin, yaw, length=np.full(len(s), 4.0), kind="wall",
            height=float(rng.uniform(2.5, 4.5)),
        )  # fmt: skip


def _overhead(builder: Builder, rng: np.random.Generator, layout: Layout) -> None:
    left, right = layout.sides[-1].edge, layout.sides[1].edge
    share = {"city": 0.12, "suburb": 0.04, "rural": 0.12, "highway": 0.5}[layout.theme]
    if rng.random() < share:
        s = rng.uniform(25, layout.end - 60)
        origin, yaw = layout.stand(np.array([s]), 0.0)
        reach = left + (12.0 if layout.theme == "highway" else 3.5)
        furniture.add_bridge(
            builder,
            rng,
            origin[0],
            float(yaw[0] + rng.normal(0, 0.12)),
            left=reach,
            right=right + 3.5,
        )
    if layout.theme == "highway" and rng.random() < 0.6:
        s = rng.uniform(20, layout.end - 80)
        origin, yaw = layout.stand(np.array([s]), 0.0)
        furniture.add_gantry(
            builder, rng, origin[0], float(yaw[0]), left=left + 1.5, right=right + 1.5
        )
