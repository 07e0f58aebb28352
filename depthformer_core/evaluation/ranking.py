"""Several sources of depth, ranked by their errors on the same pixels of the same images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from depthformer_core.evaluation.bootstrap import Interval
from depthformer_core.evaluation.compare import MetricChange, metric_change
from depthformer_core.evaluation.frame import Row
from depthformer_core.evaluation.metrics import METRICS, better_direction

RANKED_BY = "abs_rel"
"""The metric that sources are ranked by."""


@dataclass(frozen=True)
class Rank:
    """Place of one source.

    Attributes:
        name: The source.
        place: 1 plus the number of sources that are better beyond chance; sources that chance may
            part share a place.
        mean: Mean of the metric over the images that all sources have; NaN without any.
        interval: Its 95 % confidence interval.
        difference: Mean difference to the source of the best mean; 0 for that one.
        difference_interval: Its 95 % confidence interval, narrower than the means suggest, as both
            are of the same pixels.
        worse_than: Names of the sources that are better beyond chance.
    """

    name: str
    place: int
    mean: float
    interval: Interval
    difference: float
    difference_interval: Interval
    worse_than: list[str]


@dataclass(frozen=True)
class PairDifference:
    """Two sources side by side.

    Attributes:
        first: Name of the first.
        second: Name of the second.
        metrics: All `METRICS`, with the differences second minus first.
    """

    first: str
    second: str
    metrics: list[MetricChange]


def pair_differences(rows: Mapping[str, Sequence[Row]]) -> list[PairDifference]:
    """Compare each two sources.

    Args:
        rows: `METRICS` of each image by the source's name, over the pixels that all sources have;
            NaN where there are none. All lists are of the same images, in order.
    """
    return [
        PairDifference(
            first,
            second,
            [
                metric_change(
                    metric,
                    [
                        (one[metric], other[metric])
                        for one, other in zip(rows[first], rows[second], strict=True)
                    ],
                )
                for metric in METRICS
            ],
        )
        for first, second in combinations(rows, 2)
    ]


def rank_sources(pairs: Sequence[PairDifference], *, metric: str = RANKED_BY) -> list[Rank]:
    """Rank sources by a metric.

    A difference is beyond chance where its 95 % bootstrap interval over the images does not hold
    0. Of many sources some pairs differ so by chance: one in twenty.

    Args:
        pairs: Differences of all pairs of at least two sources, see `pair_differences`.
        metric: One of `METRICS`.

    Returns:
        The best mean first; sources without any value last.
    """
    changes: dict[tuple[str, str], MetricChange] = {}
    means: dict[str, tuple[float, Interval]] = {}
    better: dict[str, list[str]] = {}
    for pair in pairs:
        change = next(item for item in pair.metrics if item.metric == metric)
        changes[pair.first, pair.second] = change
        means.setdefault(pair.first, (change.first, change.first_interval))
        means.setdefault(pair.second, (change.second, change.second_interval))
        for name in (pair.first, pair.second):
            better.setdefault(name, [])
        if change.better is not None:
            winner, loser = pair.first, pair.second
            if change.better == "second":
                winner, loser = loser, winner
            better[loser].append(winner)
    sign = -1 if better_direction(metric) == "higher" else 1

    def key(name: str) -> tuple[bool, float]:
        mean = means[name][0]
        return math.isnan(mean), sign * mean

    order = sorted(means, key=key)
    best = order[0]
    ranks = []
    for name in order:
        difference, interval = _difference(changes, best, name)
        ranks.append(
            Rank(
                name=name,
                place=1 + len(better[name]),
                mean=means[name][0],
                interval=means[name][1],
                difference=difference,
                difference_interval=interval,
                worse_than=[other for other in order if other in better[name]],
            )
        )
    return ranks


def _difference(
    changes: Mapping[tuple[str, str], MetricChange], best: str, name: str
) -> tuple[float, Interval]:
    """Return how much a source's mean is above that of the best one."""
    if name == best:
        known = not any(math.isnan(change.difference) for change in changes.values())
        return (0.0, (0.0, 0.0)) if known else (math.nan, (math.nan, math.nan))
    if (best, name) in changes:
        change = changes[best, name]
        return change.difference, change.difference_interval
    change = changes[name, best]
    low, high = change.difference_interval
    return -change.difference, (-high, -low)
