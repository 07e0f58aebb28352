"""Queues of standing vehicles."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.scene import vehicles
from depthformer_core.synthetic.scene.layout import Layout
from depthformer_core.synthetic.scene.lorries import add_lorries
from depthformer_core.synthetic.scene.solids import Builder
from depthformer_core.synthetic.scene.traffic import Lane
from depthformer_core.types import FloatingArray

# Shortest and longest: cars, vans, light, rigid and articulated lorries, buses.
_LENGTHS = np.array([(3.7, 4.8), (4.5, 5.9), (5.8, 7.2), (8.0, 12.0), (15.0, 16.8), (10.0, 12.0)]).T
_LIGHT = np.array((0.80, 0.12, 0.04, 0.02, 0.0, 0.02))
_HEAVY = np.array((0.12, 0.13, 0.12, 0.20, 0.38, 0.05))
_CAR, _VAN, _LORRIES, _BUS = 0, 1, (2, 3, 4), 5


@dataclass(frozen=True)
class Queue:
    """Vehicles that stand one behind the other.

    Attributes:
        place: (N,), their middles along the road, metres.
        length: (N,), metres.
        kind: (N,), cars, vans, three kinds of lorries, buses.
    """

    place: FloatingArray
    length: FloatingArray
    kind: npt.NDArray[np.intp]


def draw_queue(rng: np.random.Generator, *, first: float, end: float, heavy: float) -> Queue:
    """Draw vehicles with gaps of 1 to 6 m between them.

    Args:
        rng: Source of randomness.
        first: Place of the first one's rear, metres.
        end: Largest place of the last one's rear, metres.
        heavy: Share of lorries and buses, from 0 for few to 1.
    """
    count = max(int((end - first) / 4.7) + 1, 1)
    kind = rng.choice(6, count, p=(1 - heavy) * _LIGHT + heavy * _HEAVY)
    length = rng.uniform(*_LENGTHS[:, kind])
    gap = 1.0 + 5.0 * rng.random(count) ** 1.6
    rear = first + np.concatenate(((0.0,), np.cumsum(length + gap)[:-1]))
    keep = rear <= end
    return Queue((rear + length / 2)[keep], length[keep], kind[keep])


def add_queues(
    builder: Builder, rng: np.random.Generator, layout: Layout, lanes: list[Lane], *, length: float
) -> None:
    """Add queues on lanes.

    The first vehicle in the camera's lane is 3 to 15 m ahead of where the camera stops; in the
    other lanes they stand beside it too.

    Args:
        builder: Builder of the scene's bodies.
        rng: Source of randomness.
        layout: The road.
        lanes: Lanes that are full.
        length: Length of the camera's drive, metres.
    """
    heavy = rng.choice((0.15, 0.5, 0.9))
    reach = length + rng.uniform(40.0, 130.0)
    for lane in lanes:
        own = abs(lane.t - layout.lane) < 2
        # Lorries keep to the outer lane.
        share = heavy * rng.choice((0.5, 1.0)) if own else min(heavy * rng.uniform(0.5, 1.8), 1.0)
        first = length + rng.uniform(3.0, 15.0) if own else layout.start + rng.uniform(0.0, 6.0)
        end = min(reach * rng.uniform(0.7, 1.3), layout.end - 20.0)
        queue = draw_queue(rng, first=first, end=end, heavy=share)
        if own and queue.kind[0] not in (_CAR, _VAN) and first < length + 5:
            # The view over higher vehicles stays open.
            queue = Queue(queue.place + 2.5, queue.length, queue.kind)
        count = len(queue.place)
        t = lane.t + np.clip(rng.normal(0, 0.12, count), -0.25, 0.25)
        origin, yaw = layout.stand(queue.place, t, 0.0 if lane.direction > 0 else np.pi)
        yaw = yaw + rng.normal(0, 0.012, count)
        for kinds, add in (
            ((_CAR,), vehicles.add_cars),
            ((_VAN,), partial(vehicles.add_vans, doors=True)),
            (_LORRIES, add_lorries),
            ((_BUS,), vehicles.add_buses),
        ):
            pick = np.isin(queue.kind, kinds)
            add(builder, rng, origin[pick], yaw[pick], length=queue.length[pick])
