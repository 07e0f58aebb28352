"""Traffic on a generated road."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from depthformer_core.synthetic.scene import vehicles
from depthformer_core.synthetic.scene.layout import Layout
from depthformer_core.synthetic.scene.solids import Builder
from depthformer_core.types import FloatingArray


@dataclass(frozen=True)
class Lane:
    """A lane of a road.

    Attributes:
        t: Its middle, metres to the right of the road's.
        direction: 1 in the camera's direction, -1 against it.
    """

    t: float
    direction: int


def lanes_of(layout: Layout) -> list[Lane]:
    """Return the lanes of a road, those in the camera's direction first."""
    places = [layout.ours * (k + 0.5) * layout.lane_width for k in range(layout.lanes)]
    if layout.theme == "highway":
        other = layout.sides[-1].edge + layout.sides[-1].pavement + 1.7
        against = [-other - 2.4, -other - 6.1]
    else:
        against = [-place for place in places]
    return [Lane(t, 1) for t in places] + [Lane(t, -1) for t in against]


def add_traffic(
    builder: Builder,
    rng: np.random.Generator,
    layout: Layout,
    lanes: Sequence[Lane],
    *,
    speed: float,
    length: float,
    time: float | None,
) -> None:
    """Add cars, vans, lorries, buses and cyclists on a road's lanes.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness; in the same state at all times of a scene.
        layout: The road.
        lanes: Its lanes on which they drive.
        speed: Usual speed, metres a second.
        length: Length of the camera's drive, metres; standing traffic keeps clear of it.
        time: Seconds since the start, for traffic that moves; without, it stands still.
    """
    gap = {"city": 30.0, "suburb": 60.0, "rural": 70.0, "highway": 45.0}[layout.theme]
    gap *= float(rng.choice((0.6, 1.0, 2.5)))
    places, offsets, turns = [], [], []
    for lane in lanes:
        t, direction = lane.t, lane.direction
        s: FloatingArray = layout.start + np.cumsum(rng.uniform(0.35, 1.8, 200) * gap + 7)
        pace = speed * (1.0 if abs(t - layout.lane) < 2 else rng.uniform(0.85, 1.15))
        if abs(t - layout.lane) < 2:
            # The camera's path is free.
            clear = 9.0 + rng.exponential(15.0) + (0.0 if time is not None else length)
            s = s[s > 0] + clear
        else:
            t += rng.normal(0, 0.2)
        if time is not None:
            s = s + direction * pace * time
            span = layout.end - layout.start
            if abs(t - layout.lane) >= 2:  # at one end they reappear at the other
                laps = np.ceil(np.ptp(s) / span) * span
                s = layout.start + (s - layout.start) % laps
        places.append(s)
        offsets.append(np.full(len(s), t))
        turns.append(np.full(len(s), 0.0 if direction > 0 else np.pi))
    place, offset, turn = (np.concatenate(part) for part in (places, offsets, turns))
    hidden = (place < layout.start + 8) | (place > layout.end - 8)
    origin, yaw = layout.stand(np.clip(place, layout.start, layout.end), offset)
    # Underground they are invisible, and all draws stay the same at all times.
    origin[hidden, 1] += 1000.0
    yaw = yaw + turn
    kind = rng.choice(5, len(place), p=(0.76, 0.10, 0.07, 0.03, 0.04))
    if layout.theme == "highway":
        kind = rng.choice(5, len(place), p=(0.70, 0.10, 0.20, 0.0, 0.0))
    adders: list[Callable[..., None]] = [
        vehicles.add_cars, vehicles.add_vans, vehicles.add_trucks, vehicles.add_buses,
        vehicles.add_cyclists,
    ]  # fmt: skip
    for number, add in enumerate(adders):
        pick = kind == number
        add(builder, rng, origin[pick], yaw[pick])
