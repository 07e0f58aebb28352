"""Lorries of many bodies: boxes, curtains, containers, tippers and tanks, with trailers or not."""

from itertools import pairwise

import numpy as np

from depthformer_core.synthetic.scene.paint import BOX, TANK, TIPPER
from depthformer_core.synthetic.scene.solids import (
    Builder,
    Material,
    PaintedPlacement,
    Placement,
    rows,
)
from depthformer_core.synthetic.scene.vehicles import LACQUER, add_wheel
from depthformer_core.types import BoolArray, FloatingArray

ARTICULATED = 13.0
"""Lorries longer than this have a trailer, metres."""

_DARK = (0.10, 0.10, 0.105)
_CAB = 2.2  # length, metres
_LOADS = np.array([(0.48, 0.42, 0.32), (0.34, 0.28, 0.22), (0.55, 0.54, 0.52), (0.25, 0.25, 0.26)])
_RINGS = np.radians((-72, -42, -14, 14, 42, 72))  # edges of a tank's bands


def add_lorries(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    length: FloatingArray,
) -> None:
    """Add lorries.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        origin: (N, 3), their middles on the ground.
        yaw: (N,), directions that they face.
        length: (N,), metres; the short ones are narrower, the long ones have a trailer.
    """
    count = len(origin)
    if not count:
        return
    common: Placement = {"origin": origin, "yaw": yaw}
    trailer, small = length > ARTICULATED, length < 7.5
    half = np.where(small, rng.uniform(1.05, 1.15, count), 1.26)
    front = length / 2
    cab = front - _CAB
    bed = cab - np.where(trailer, rng.uniform(0.5, 1.0, count), 0.15)
    floor = np.where(small, rng.uniform(0.8, 1.0, count), rng.uniform(1.0, 1.3, count))
    kind = rng.choice(5, count, p=(0.40, 0.22, 0.14, 0.12, 0.12))
    kind = np.where(small & (kind == TANK), BOX, kind)
    top = np.where(small, rng.uniform(2.6, 3.3, count), rng.uniform(3.3, 4.0, count))
    top = np.where(kind == TIPPER, floor + rng.uniform(0.6, 1.7, count), top)
    paint = LACQUER[rng.integers(len(LACQUER), size=count)] * rng.uniform(0.9, 1.1, (count, 1))
    _add_cabs(builder, rng, common, half, cab, front, paint, small)
    _add_chassis(builder, rng, common, half, floor, front, trailer, small)
    colour, accent = _draw_livery(rng, count, paint, kind == TANK)
    code = (kind + 8 * rng.integers(4096, size=count)).astype(np.float64)
    detail = rows(code, floor, top, half)
    body = np.flatnonzero(kind != TANK)
    builder.add(
        Material.TRAILER,
        origin=origin[body],
        yaw=yaw[body],
        low=rows(-half, floor, -front + 0.05)[body],
        high=rows(half, top, bed)[body],
        inset=(0.01, 0.01, 0.0, 0.02),
        colour=colour[body],
        accent=accent[body],
        detail=detail[body],
    )
    tipper = np.flatnonzero((kind == TIPPER) & (rng.random(count) < 0.7))
    heap = rng.uniform(0.15, 0.7, count)
    builder.add(
        Material.PLAIN,
        origin=origin[tipper],
        yaw=yaw[tipper],
        low=rows(-half + 0.08, top - 0.05, -front + 0.2)[tipper],
        high=rows(half - 0.08, top + heap, bed - 0.15)[tipper],
        inset=(0.8, 0.8, 1.2, 1.4),
        colour=_LOADS[rng.integers(len(_LOADS), size=len(tipper))],
    )
    tank = np.flatnonzero(kind == TANK)
    _add_tanks(
        builder, rng, origin[tank], yaw[tank],
        floor=floor[tank], back=-front[tank] + 0.1, ahead=bed[tank],
        colour=colour[tank], accent=accent[tank], code=code[tank],
    )  # fmt: skip


def _draw_livery(
    rng: np.random.Generator, count: int, cab: FloatingArray, tank: BoolArray
) -> tuple[FloatingArray, FloatingArray]:
    """Draw two colours (N, 3) for each cargo body."""
    white = np.array((0.84, 0.84, 0.82)) * rng.uniform(0.8, 1.05, (count, 1))
    grey = np.array((0.60, 0.61, 0.62)) * rng.uniform(0.3, 1.2, (count, 1))
    bright = 0.08 + 0.75 * rng.random((count, 3)) ** 1.3
    which = rng.choice(4, count, p=(0.34, 0.18, 0.36, 0.12))
    which = np.where(tank & (rng.random(count) < 0.6), which % 2, which)  # mostly bare metal
    colour = np.select([which[:, None] == k for k in range(3)], [white, grey, bright], cab)
    other = 0.06 + 0.8 * rng.random((count, 3))
    accent = np.where(rng.random((count, 1)) < 0.35, cab, other)
    return colour, accent


def _add_cabs(
    builder: Builder,
    rng: np.random.Generator,
    common: Placement,
    half: FloatingArray,
    back: FloatingArray,
    front: FloatingArray,
    paint: FloatingArray,
    small: BoolArray,
) -> None:
    count = len(half)
    height = np.where(small, rng.uniform(2.2, 2.6, count), rng.uniform(2.8, 3.8, count))
    belt = np.where(small, 1.25, 1.6)
    radius = np.where(small, 0.4, 0.5)
    builder.add(
        Material.BODYWORK,
        low=rows(-half + 0.03, 0.4, back),
        high=rows(half - 0.03, belt, front),
        inset=(0.0, 0.0, 0.0, 0.05),
        colour=paint,
        detail=rows(2 * front, radius, front - 1.35, 1.0),
        **common,
    )
    builder.add(
        Material.CABIN,
        low=rows(-half + 0.03, belt, back),
        high=rows(half - 0.03, height, front - 0.05),
        inset=(0.06, 0.06, 0.02, 0.3),
        colour=paint,
        detail=rows(belt + 0.05, np.minimum(height - 0.2, belt + 1.05), front - 1.3, front),
        **common,
    )
    for side in (-1, 1):
        x = side * (half + 0.12)
        builder.add(
            Material.PLAIN,
            low=rows(x - 0.1, belt + 0.2, front - 0.25),
            high=rows(x + 0.1, belt + 0.85, front - 0.13),
            colour=_DARK,
            **common,
        )


def _add_chassis(
    builder: Builder,
    rng: np.random.Generator,
    common: Placement,
    half: FloatingArray,
    floor: FloatingArray,
    front: FloatingArray,
    trailer: BoolArray,
    small: BoolArray,
) -> None:
    """Add what is below the cargo: beams, tanks or side guards, wheels, bumper and lamps."""
    count = len(half)
    origin, yaw = common["origin"], common["yaw"]
    builder.add(
        Material.PLAIN,
        low=rows(-0.5 * half, floor - 0.42, -front + 0.3),
        high=rows(0.5 * half, floor, front - 0.6),
        colour=_DARK,
        **common,
    )
    radius = np.where(small, 0.40, 0.50)
    rear = -front + np.where(trailer, rng.uniform(1.7, 2.6, count), rng.uniform(1.5, 2.2, count))
    drive = front - 4.7
    guard = np.array((0.62, 0.63, 0.64)) * rng.uniform(0.15, 1.1, (count, 1))
    low = rng.uniform(0.35, 0.5, count)
    ahead = np.where(trailer, drive - 0.7, front - 2.3)
    behind = rear + np.where(trailer, 3.3, 0.7)
    everyone = np.ones_like(trailer)
    for side in (-1, 1):
        x = side * (half - 0.06)
        builder.add(
            Material.PLAIN,
            low=rows(x - 0.04, low, behind),
            high=rows(x + 0.04, floor - rng.uniform(0.08, 0.35, count), ahead),
            colour=guard,
            **common,
        )
        wheel = side * (half - 0.17)
        for z, pick in (
            (rear, everyone), (front - 1.35, everyone),
            (rear + 1.3, trailer), (rear + 2.6, trailer), (drive, trailer),
        ):  # fmt: skip
            add_wheel(builder, origin[pick], yaw[pick], wheel[pick], z[pick], radius[pick], 0.15)
        flap = side * (half - 0.2)
        builder.add(
            Material.PLAIN,
            low=rows(flap - 0.17, 0.22, rear - radius - 0.12),
            high=rows(flap + 0.17, 0.8, rear - radius - 0.09),
            colour=_DARK,
            **common,
        )
        lamp = side * (half - 0.3)
        lit = np.where(rng.random((count, 1)) < 0.5, (0.85, 0.10, 0.06), (0.45, 0.05, 0.05))
        builder.add(
            Material.PLAIN,
            low=rows(lamp - 0.2, floor - 0.34, -front),
            high=rows(lamp + 0.2, floor - 0.2, -front + 0.1),
            colour=lit,
            **common,
        )
    bar = np.where(rng.random((count, 1)) < 0.6, _DARK, (0.60, 0.60, 0.58))
    builder.add(
        Material.PLAIN,
        low=rows(-half + 0.06, 0.42, -front + 0.02),
        high=rows(half - 0.06, 0.56, -front + 0.12),
        colour=bar,
        **common,
    )
    builder.add(
        Material.PLAIN,
        low=rows(-half + 0.02, floor - 0.18, -front + 0.03),
        high=rows(half - 0.02, floor, -front + 0.2),
        colour=_DARK,
        **common,
    )
    builder.add(
        Material.PLAIN,
        low=rows(-0.26, 0.6, -front + 0.01),
        high=rows(0.26, 0.71, -front + 0.06),
        colour=(0.84, 0.83, 0.78),
        **common,
    )


def _add_tanks(
    builder: Builder,
    rng: np.random.Generator,
    origin: FloatingArray,
    yaw: FloatingArray,
    *,
    floor: FloatingArray,
    back: FloatingArray,
    ahead: FloatingArray,
    colour: FloatingArray,
    accent: FloatingArray,
    code: FloatingArray,
) -> None:
    count = len(origin)
    common: PaintedPlacement = {"origin": origin, "yaw": yaw, "colour": colour}
    silo = rng.random(count) < 0.5  # funnels below, for powder
    radius = np.where(silo, 1.25, rng.uniform(1.0, 1.22, count))
    tall = np.where(silo, rng.uniform(0.95, 1.15, count), rng.uniform(0.85, 1.1, count))
    middle = np.maximum(floor, 1.1) + tall + np.where(silo, 0.45, 0.0)
    detail = rows(code, middle - tall, middle + tall, radius)
    back, ahead = back + 0.3, ahead - 0.3
    for lower, upper in pairwise(_RINGS):
        wide, narrow = radius * np.cos(lower), radius * np.cos(upper)
        builder.add(
            Material.TRAILER,
            low=rows(-wide, middle + tall * np.sin(lower), back),
            high=rows(wide, middle + tall * np.sin(upper), ahead),
            inset=rows(wide - narrow, wide - narrow, 0.0, 0.0),
            accent=accent,
            detail=detail,
            **common,
        )
    for end in (back, ahead):
        builder.add(
            Material.TRAILER,
            low=rows(-radius * 0.97, middle - tall * 0.97, end - 0.3),
            high=rows(radius * 0.97, middle + tall * 0.97, end + 0.3),
            accent=accent,
            detail=detail,
            round_body=True,
            **common,
        )
    for share in (0.2, 0.5, 0.8):
        z = back + share * (ahead - back)
        spread = 0.14 * (ahead - back)
        builder.add(
            Material.TRAILER,
            origin=origin[silo],
            yaw=yaw[silo],
            colour=colour[silo],
            accent=accent[silo],
            low=rows(-0.25, floor - 0.35, z - 0.25)[silo],
            high=rows(0.25, middle - 0.55 * tall, z + 0.25)[silo],
            inset=rows(0.35 - radius, 0.35 - radius, 0.25 - spread, 0.25 - spread)[silo],
            detail=detail[silo],
        )
