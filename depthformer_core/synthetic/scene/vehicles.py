"""Cars, vans, trucks, buses, cyclists and pedestrians in the sizes that real ones have."""

import numpy as np

from depthformer_core.synthetic.scene.solids import (
    Builder,
    Material,
    PaintedPlacement,
    Placement,
    rows,
)
from depthformer_core.types import FloatingArray

LACQUER = np.array(
    [
        (0.82, 0.82, 0.81), (0.62, 0.64, 0.66), (0.45, 0.47, 0.49), (0.22, 0.23, 0.25),
        (0.08, 0.08, 0.09), (0.10, 0.11, 0.13), (0.55, 0.08, 0.08), (0.38, 0.06, 0.07),
        (0.10, 0.19, 0.42), (0.07, 0.12, 0.25), (0.17, 0.30, 0.24), (0.62, 0.56, 0.44),
        (0.75, 0.45, 0.12), (0.36, 0.50, 0.62),
    ]
)  # fmt: skip
"""Colours that vehicles are painted with."""

_CLOTHES = np.array(
    [
        (0.15, 0.17, 0.24), (0.55, 0.14, 0.14), (0.20, 0.35, 0.55), (0.75, 0.72, 0.66),
        (0.28, 0.30, 0.28), (0.70, 0.58, 0.18), (0.12, 0.12, 0.13), (0.42, 0.48, 0.30),
    ]
)  # fmt: skip
_TYRE = (0.07, 0.07, 0.075)


def add_cars(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    length: FloatingArray | None = None,
) -> None:
    """Add cars.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        origin: (N, 3), their middles on the ground.
        yaw: (N,), directions that they face.
        length: (N,), metres; drawn without.
    """
    count = len(origin)
    kind = rng.choice(4, count, p=(0.38, 0.27, 0.17, 0.18))  # hatchback, saloon, estate, SUV
    ones = np.ones(count)
    if length is None:
        length = rng.uniform(*np.array([(3.6, 4.6, 4.5, 4.2), (4.3, 4.9, 4.9, 4.8)])[:, kind])
    width = rng.uniform(*np.array([(1.64, 1.76, 1.74, 1.80), (1.80, 1.90, 1.87, 1.95)])[:, kind])
    height = rng.uniform(*np.array([(1.42, 1.38, 1.43, 1.60), (1.56, 1.48, 1.52, 1.86)])[:, kind])
    belt = height * rng.uniform(0.60, 0.65, count)
    hood = belt * rng.uniform(0.86, 0.97, count)
    clearance = 0.13 + 0.08 * (height - 1.35)
    colour = LACQUER[rng.integers(len(LACQUER), size=count)] * rng.uniform(0.9, 1.08, (count, 1))
    half, back, front = width / 2, -length / 2, length / 2
    radius = np.clip(0.205 * height, 0.28, 0.37)
    axle = 0.295 * length
    boot = np.array([0.03, 0.20, 0.02, 0.03])[kind] * length
    wind = np.array([0.24, 0.29, 0.26, 0.23])[kind] * length  # length of the hood
    detail = np.stack((length, radius, axle, hood), axis=1)
    floor = clearance
    common: PaintedPlacement = {"origin": origin, "yaw": yaw, "colour": colour}
    builder.add(
        Material.BODYWORK,
        low=rows(-half, floor, back),
        high=rows(half, hood, front),
        inset=rows(0.05 * ones, 0.05 * ones, 0.06 * ones, 0.16 * ones),
        detail=detail,
        **common,
    )
    cabin = back + boot, front - wind
    builder.add(
        Material.BODYWORK,
        low=rows(-half + 0.04, hood - 0.02, cabin[0] - 0.10),
        high=rows(half - 0.04, belt, cabin[1] + 0.12),
        inset=rows(0.02 * ones, 0.02 * ones, 0.05 * ones, 0.10 * ones),
        detail=detail,
        **common,
    )
    lean = height - belt
    builder.add(
        Material.CABIN,
        low=rows(-half + 0.06, belt, cabin[0] - 0.03),
        high=rows(half - 0.06, height, cabin[1]),
        inset=rows(
            0.34 * lean, 0.34 * lean,
            lean * np.array([0.45, 1.0, 0.4, 0.35])[kind], lean * rng.uniform(1.2, 1.5, count),
        ),
        detail=rows(belt, height, cabin[0], cabin[1]),
        **common,
    )  # fmt: skip
    _wheels(builder, origin, yaw, half - 0.07, axle, radius, 0.09)


def add_vans(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    length: FloatingArray | None = None,
    doors: bool = False,
) -> None:
    """Add vans, see `add_cars`; `doors` adds doors, lamps and a bumper at the rear."""
    count = len(origin)
    if length is None:
        length = rng.uniform(4.4, 5.9, count)
    width = rng.uniform(1.85, 2.02, count)
    height = rng.uniform(1.85, 2.6, count)
    hood = rng.uniform(1.0, 1.2, count)
    colour = LACQUER[rng.choice(9, count, p=(0.5, 0.1, 0.07, 0.07, 0.06, 0.0, 0.08, 0.0, 0.12))]
    half, back, front = width / 2, -length / 2, length / 2
    radius, axle = np.full(count, 0.34), 0.31 * length
    detail = np.stack((length, radius, axle, hood), axis=1)
    common: PaintedPlacement = {"origin": origin, "yaw": yaw, "colour": colour}
    builder.add(
        Material.BODYWORK,
        low=rows(-half, 0.2, back),
        high=rows(half, hood, front),
        inset=(0.02, 0.02, 0.02, 0.2),
        detail=detail,
        **common,
    )
    builder.add(
        Material.CABIN,
        low=rows(-half + 0.02, hood, back + 0.02),
        high=rows(half - 0.02, height, front - 0.65),
        inset=rows(0.12, 0.12, 0.06, 0.62 * (height - hood)),
        detail=rows(hood + 0.08, height, front - 2.3, front),
        **common,
    )
    _wheels(builder, origin, yaw, half - 0.1, axle, radius, 0.12)
    if not doors:
        return
    bare: Placement = {"origin": origin, "yaw": yaw}
    glazed = rng.random(count) < 0.6
    dark = (0.09, 0.10, 0.11)
    builder.add(
        Material.PLAIN,
        low=rows(-half + 0.02, 0.30, back - 0.08),
        high=rows(half - 0.02, 0.52, back + 0.1),
        colour=dark,
        **bare,
    )
    builder.add(
        Material.PLAIN,
        low=rows(-0.012, 0.52, back - 0.005),
        high=rows(0.012, height - 0.08, back + 0.06),
        colour=colour * 0.35,
        **bare,
    )
    for side in (-1, 1):
        lamp, pane = side * (half - 0.12), side * half * 0.46
        builder.add(
            Material.PLAIN,
            low=rows(lamp - 0.07, 0.8, back - 0.02),
            high=rows(lamp + 0.07, hood + 0.25, back + 0.1),
            colour=(0.60, 0.06, 0.05),
            **bare,
        )
        builder.add(
            Material.PLAIN,
            origin=origin[glazed],
            yaw=yaw[glazed],
            low=rows(pane - 0.28, hood + 0.12, back)[glazed],
            high=rows(pane + 0.28, np.minimum(hood + 0.65, height - 0.2), back + 0.1)[glazed],
            colour=(0.13, 0.15, 0.16),
        )


def add_trucks(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, yaw: FloatingArray
) -> None:
    """Add lorries, see `add_cars`."""
    count = len(origin)
    length, height = rng.uniform(7.5, 14.5, count), rng.uniform(3.3, 4.0, count)
    cab = rng.uniform(2.7, 3.4, count)
    front, half = length / 2, 1.25
    paint = LACQUER[rng.integers(len(LACQUER), size=count)]
    white = np.array((0.82, 0.82, 0.80))
    plain = rng.random(count) < 0.5
    cargo = np.where(plain[:, None], white, 0.35 + 0.45 * rng.random((count, 3)))
    detail = np.stack((length, np.full(count, 0.5), 0.33 * length, np.full(count, 1.0)), axis=1)
    builder.add(
        Material.CARGO,
        origin=origin,
        yaw=yaw,
        low=rows(-half, 1.05, -front),
        high=rows(half, height, front - 2.4),
        colour=cargo,
        accent=paint,
        detail=rng.random((count, 4)),
    )
    builder.add(
        Material.PLAIN,
        origin=origin,
        yaw=yaw,
        low=rows(-half + 0.1, 0.55, -front + 0.3),
        high=rows(half - 0.1, 1.05, front - 0.3),
        colour=(0.14, 0.14, 0.15),
    )
    builder.add(
        Material.BODYWORK,
        origin=origin,
        yaw=yaw,
        low=rows(-half + 0.02, 0.4, front - 2.15),
        high=rows(half - 0.02, 1.55, front),
        colour=paint,
        detail=detail,
    )
    builder.add(
        Material.CABIN,
        origin=origin,
        yaw=yaw,
        low=rows(-half + 0.02, 1.55, front - 2.15),
        high=rows(half - 0.02, cab, front),
        inset=(0.05, 0.05, 0.0, 0.25),
        colour=paint,
        detail=rows(np.full(count, 1.62), cab - 0.35, front - 1.4, front),
    )
    for place in (-0.30, -0.18, 0.38):
        for side in (-1, 1):
            z = place * length
            add_wheel(builder, origin, yaw, side * (half - 0.15), z, np.full(count, 0.5), 0.13)


def add_buses(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    length: FloatingArray | None = None,
) -> None:
    """Add buses, see `add_cars`."""
    count = len(origin)
    if length is None:
        length = rng.uniform(9.5, 12.2, count)
    height = rng.uniform(2.9, 3.2, count)
    colour = LACQUER[rng.choice((0, 6, 8, 10, 12), count)]
    detail = np.stack((length, np.full(count, 0.48), 0.3 * length, np.full(count, 1.0)), axis=1)
    common: PaintedPlacement = {"origin": origin, "yaw": yaw, "colour": colour}
    builder.add(
        Material.BODYWORK,
        low=rows(-1.27, 0.28, -length / 2),
        high=rows(1.27, np.full(count, 1.15), length / 2),
        detail=detail,
        **common,
    )
    builder.add(
        Material.CABIN,
        low=rows(-1.27, 1.15, -length / 2),
        high=rows(1.27, height, length / 2),
        inset=(0.05, 0.05, 0.05, 0.08),
        detail=rows(np.full(count, 1.2), height - 0.4, -length / 2, length / 2),
        **common,
    )
    _wheels(builder, origin, yaw, np.full(count, 1.13), 0.3 * length, np.full(count, 0.48), 0.15)


def add_cyclists(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, yaw: FloatingArray
) -> None:
    """Add people on bicycles, see `add_cars`."""
    count = len(origin)
    tall = rng.uniform(1.62, 1.86, count)
    common: Placement = {"origin": origin, "yaw": yaw}
    for z in (-0.52, 0.52):
        add_wheel(
            builder, origin, yaw, np.zeros(count), np.full(count, z), np.full(count, 0.34), 0.03
        )
    frame = LACQUER[rng.integers(len(LACQUER), size=count)]
    shirt = _CLOTHES[rng.integers(len(_CLOTHES), size=count)]
    trousers = _CLOTHES[rng.integers(len(_CLOTHES), size=count)] * 0.8
    parts = (
        ((-0.03, 0.42, -0.50), (0.03, 0.50, 0.45), frame),
        ((-0.03, 0.45, 0.30), (0.03, 1.02, 0.40), frame),
        ((-0.26, 0.98, 0.30), (0.26, 1.03, 0.36), frame),
        ((-0.03, 0.45, -0.28), (0.03, 0.92, -0.20), frame),
        ((-0.17, 0.30, -0.14), (-0.05, 0.98, 0.10), trousers),
        ((0.05, 0.42, -0.14), (0.17, 0.98, 0.16), trousers),
    )
    for low, high, colour in parts:
        builder.add(Material.PLAIN, low=low, high=high, colour=colour, **common)
    builder.add(
        Material.PLAIN,
        low=rows(-0.22, 0.90, -0.30),
        high=rows(0.22, tall - 0.26, 0.14),
        inset=(0.03, 0.03, 0.14, 0.02),
        colour=shirt,
        **common,
    )
    _head(builder, rng, origin, yaw, tall, 0.02)


def add_pedestrians(
    builder: Builder, rng: np.random.Generator, origin: FloatingArray, yaw: FloatingArray
) -> None:
    """Add people on foot, see `add_cars`."""
    count = len(origin)
    tall = rng.uniform(1.45, 1.90, count)
    shirt = _CLOTHES[rng.integers(len(_CLOTHES), size=count)]
    trousers = _CLOTHES[rng.integers(len(_CLOTHES), size=count)] * 0.75
    common: Placement = {"origin": origin, "yaw": yaw}
    pace = rng.uniform(0.0, 0.22, count)
    hip, shoulder = 0.49 * tall, 0.83 * tall
    for side in (-1, 1):
        middle = side * 0.09
        builder.add(
            Material.PLAIN,
            low=rows(middle - 0.085, 0.0, side * pace - 0.09),
            high=rows(middle + 0.085, hip + 0.05, side * pace + 0.11),
            inset=rows(0.0, 0.0, np.maximum(-side * pace, 0), np.maximum(side * pace, 0)),
            colour=trousers,
            **common,
        )
        arm = side * 0.20
        builder.add(
            Material.PLAIN,
            low=rows(arm - 0.055, 0.45 * tall, -side * pace * 0.6 - 0.07),
            high=rows(arm + 0.055, shoulder, -side * pace * 0.6 + 0.08),
            colour=shirt * 0.9,
            round_body=True,
            **common,
        )
    builder.add(
        Material.PLAIN,
        low=rows(-0.20, hip - 0.10, -0.13),
        high=rows(0.20, shoulder + 0.08, 0.14),
        colour=shirt,
        round_body=True,
        **common,
    )
    _head(builder, rng, origin, yaw, tall, 0.0)


def _head(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    tall: FloatingArray,
    z: float,
) -> None:
    skin = np.array((0.78, 0.60, 0.50)) * rng.uniform(0.45, 1.1, (len(origin), 1))
    builder.add(
        Material.PLAIN,
        origin=origin,
        yaw=yaw,
        low=rows(-0.085, tall - 0.25, z - 0.10),
        high=rows(0.085, tall, z + 0.11),
        colour=skin,
        round_body=True,
    )


def _wheels(
    builder: Builder,
    origin: FloatingArray,
    yaw: FloatingArray,
    half: FloatingArray,
    axle: FloatingArray,
    radius: FloatingArray,
    thick: float,
) -> None:
    for side in (-1, 1):
        for end in (-1, 1):
            add_wheel(builder, origin, yaw, side * half, end * axle, radius, thick)


def add_wheel(
    builder: Builder,
    origin: FloatingArray,
    yaw: FloatingArray,
    x: FloatingArray | float,
    z: FloatingArray,
    radius: FloatingArray,
    thick: float,
) -> None:
    """Add a wheel at x (N,), z (N,) of each frame; `thick` is half of its width, metres."""
    builder.add(
        Material.WHEEL,
        origin=origin,
        yaw=yaw,
        low=rows(x - thick, 0.0, z - radius),
        high=rows(x + thick, 2 * radius, z + radius),
        colour=_TYRE,
        accent=(0.52, 0.53, 0.54),
        detail=rows(radius, radius, z, 0.0),
        round_body=True,
    )
