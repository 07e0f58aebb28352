"""Layout of patterns on the ground of a scene.

What would stand on a track beside the lanes goes away.
"""

from dataclasses import fields

import numpy as np

from depthformer_core.synthetic.scene.layout import Layout
from depthformer_core.synthetic.scene.patterns import TRACKS, Kind, Pattern
from depthformer_core.synthetic.scene.road import Road
from depthformer_core.synthetic.scene.solids import Solids


def draw_patterns(rng: np.random.Generator, layout: Layout) -> list[Pattern]:
    """Draw the patterns of a scene; half of the scenes have a railway track.

    Args:
        rng: Source of randomness.
        layout: The road.
    """
    patterns = []
    tracked = rng.random() < 0.5
    others = int(rng.choice((0, 1), p=(0.6, 0.4))) if tracked else int(rng.integers(1, 4))
    kinds = rng.choice(np.arange(Kind.PAVERS, Kind.BARS + 1), others, replace=False)
    # What covers the ground comes before what lies on it.
    for kind in sorted(kinds.tolist()):
        patterns += _draw_other(rng, layout, Kind(kind))
    if tracked:
        tracks = _draw_track(rng, layout)
        patterns = tracks + [p for p in patterns if p.kind > Kind.FURROWS]
    return patterns


def clear_tracks(solids: Solids, road: Road, patterns: list[Pattern]) -> Solids:
    """Drop the bodies that stand on tracks beside the lanes.

    Args:
        solids: Bodies of a scene.
        road: Its road.
        patterns: Patterns on its ground.
    """
    for pattern in patterns:
        if pattern.clear:
            solids = _without(solids, road, pattern)
    return solids


def _without(solids: Solids, road: Road, pattern: Pattern) -> Solids:
    middle = road.place(road.s, 0.0)
    away = ((solids.origin[:, None, ::2] - middle[:, ::2]) ** 2).sum(axis=-1)
    nearest = away.argmin(axis=1)
    turn = road.heading(road.s[nearest])
    foot = middle[nearest]
    offset = solids.corners - foot[:, None]
    t = np.cos(turn)[:, None] * offset[..., 0] - np.sin(turn)[:, None] * offset[..., 2]
    low = solids.low[:, 1] < 1.5
    on = low & (t.max(axis=1) > pattern.left) & (t.min(axis=1) < pattern.right)
    # Bodies of one thing stand in one place.
    _, thing = np.unique(solids.origin[:, ::2].round(6), axis=0, return_inverse=True)
    thing = thing.reshape(-1)
    gone = np.zeros(len(solids), np.bool_)
    gone[thing[on]] = True
    keep = ~gone[thing]
    return Solids(*(getattr(solids, field.name)[keep] for field in fields(Solids)))


def _draw_track(rng: np.random.Generator, layout: Layout) -> list[Pattern]:
    place = rng.choice(("beside", "middle", "lanes"), p=(0.7, 0.15, 0.15))
    code = int(rng.integers(1 << 30))
    pitch = float(rng.uniform(2.9, 3.7))  # between the middles of two tracks
    count = int(rng.choice((1, 2), p=(0.4, 0.6)))
    if place == "lanes":
        kind = Kind(rng.choice((Kind.FLUSH_TRACK, Kind.PAVED_TRACK), p=(0.7, 0.3)))
        lane = layout.lane_width * (np.floor(abs(layout.lane) / layout.lane_width) + 0.5)
        both = (-lane, lane) if layout.oncoming and count == 2 else (layout.ours * lane,)
        middles = [float(middle) for middle in both]
        margin = float(rng.uniform(1.0, 1.5))
    elif place == "middle":
        kind = Kind(rng.choice(TRACKS[2:] if count == 2 else TRACKS[1:]))
        middles = [pitch * (k - (count - 1) / 2) for k in range(count)]
        margin = float(rng.uniform(1.0, 1.6))
    else:
        kind = Kind(rng.choice(TRACKS, p=(0.6, 0.2, 0.15, 0.05)))
        side = layout.ours if rng.random() < 0.65 else -layout.ours
        border = layout.sides[side]
        margin = float(rng.uniform(1.5, 2.4))
        lanes = border.edge if layout.theme == "highway" else border.edge - border.parking
        first = lanes + margin + rng.uniform(0, 1) * rng.choice((0.3, 1.0, 3.0))
        middles = sorted(float(side * (first + k * pitch)) for k in range(count))
    return [
        Pattern(
            kind,
            layout.start,
            layout.end,
            middles[0] - margin,
            middles[-1] + margin,
            code,
            tuple(middles),
            clear=place == "beside",
        )
    ]


def _draw_other(rng: np.random.Generator, layout: Layout, kind: Kind) -> list[Pattern]:
    code = int(rng.integers(1 << 30))
    left, right = layout.sides[-1], layout.sides[1]
    own = layout.lane_width / 2
    begin, end = layout.start, layout.end
    road = (-left.edge, right.edge)
    lane = (layout.lane - own, layout.lane + own)
    side = layout.ours if rng.random() < 0.6 else -layout.ours
    border = layout.sides[side]

    def beside(inner: float, outer: float) -> tuple[float, float]:
        low, high = sorted((side * (border.edge + inner), side * (border.edge + outer)))
        return low, high

    verge = beside(-border.parking * rng.choice((0, 1)), border.pavement + rng.uniform(0, 6))
    wide = (road[0] - left.pavement, road[1] + right.pavement)
    match kind:
        case Kind.FURROWS:
            patches = [beside(0.3 * border.pavement, 50.0)]
            if rng.random() < 0.5:
                other = layout.sides[-side]
                edge = -side * (other.edge + 0.5 * other.pavement)
                low, high = sorted((edge, -side * 50.0))
                patches.append((low, high))
        case Kind.HATCHING:
            middle = float(rng.choice((0.0, lane[0], lane[1], layout.lane, side * border.edge)))
            half = float(rng.uniform(0.4, 1.6))
            patches = [(middle - half, middle + half) if rng.random() < 0.7 else road]
            begin = float(rng.uniform(2, 14))
            end = begin + rng.choice((rng.uniform(3, 8), rng.uniform(15, 60)))
        case Kind.LETTERS:
            patches = [lane if rng.random() < 0.7 else (-lane[1], -lane[0])]
        case Kind.REPAIRS:
            patches = [road]
        case Kind.PUDDLES | Kind.LEAVES:
            patches = [wide]
        case Kind.BARS:
            patches = [[wide, road, lane, verge][rng.integers(4)]]
        case _:
            patches = [[wide, road, lane, verge, verge][rng.integers(5)]]
            if rng.random() < 0.25:
                begin = float(rng.uniform(2, 16))
                end = begin + float(rng.uniform(3, 40))
    return [Pattern(kind, begin, end, low, high, code) for low, high in patches]
