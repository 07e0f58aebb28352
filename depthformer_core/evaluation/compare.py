"""Two evaluations of the same images, set side by side."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.evaluation.bootstrap import Interval, mean_interval
from depthformer_core.evaluation.metrics import METRICS, better_direction

_T = TypeVar("_T")
_LONGEST = 40  # characters of a wrong value that are quoted


@dataclass(frozen=True)
class Results:
    """Results of an evaluation as `to_json` wrote them.

    Attributes:
        path: The file.
        about: Names of model, data and settings of the evaluation.
        protocol: Settings of the protocol by name; empty where the file has none.
        warnings: Sentences on why the numbers may mislead.
        per_image: `METRICS` of each image by its name, NaN where it has none.
        speed: Seconds an image, and counts and times of predictions where there were any, by name.
    """

    path: str
    about: dict[str, str]
    protocol: dict[str, object]
    warnings: list[str]
    per_image: dict[str, dict[str, float]]
    speed: dict[str, float]


@dataclass(frozen=True)
class MetricChange:
    """One metric of two evaluations, over the images that have a value in both.

    Attributes:
        metric: One of `METRICS`.
        first: Mean of the first evaluation; NaN without images, as the other numbers.
        first_interval: Its 95 % confidence interval.
        second: Mean of the second.
        second_interval: Its 95 % confidence interval.
        difference: Mean over the images of second minus first.
        difference_interval: Its 95 % confidence interval.
        better: The better one, or None if the interval of the difference holds 0.
    """

    metric: str
    first: float
    first_interval: Interval
    second: float
    second_interval: Interval
    difference: float
    difference_interval: Interval
    better: Literal["first", "second"] | None


@dataclass(frozen=True)
class ImageChange:
    """`abs_rel` of one image in two evaluations; NaN where it has none."""

    file: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class RunComparison:
    """Two evaluations side by side.

    Attributes:
        first: The first.
        second: The second.
        metrics: Changes of all `METRICS`.
        images: Changes of the images that both have, in the order of the first.
        only_first: Number of images of the first alone.
        only_second: Number of images of the second alone.
    """

    first: Results
    second: Results
    metrics: list[MetricChange]
    images: list[ImageChange]
    only_first: int
    only_second: int

    @property
    def largest(self) -> list[ImageChange]:
        """Images with a value in both, the largest change of `abs_rel` first."""
        known = [image for image in self.images if not math.isnan(image.difference)]
        return sorted(known, key=lambda image: -abs(image.difference))

    def warnings(self) -> list[str]:
        """Return sentences on why the numbers may mislead."""
        sentences = []
        if self.only_first or self.only_second:
            sentences.append(
                f"{self.only_first} images are only in A and {self.only_second} only in B; "
                f"the {len(self.images)} that both have are compared."
            )
        if missing := len(self.images) - len(self.largest):
            sentences.append(
                f"{missing} of {len(self.images)} images have nothing to compare in A or B and are "
                "left out of the means."
            )
        protocols = (self.first.protocol, self.second.protocol)
        for name in sorted({*protocols[0], *protocols[1]}):
            first, second = (protocol.get(name) for protocol in protocols)
            if first != second:
                sentences.append(
                    f"A and B do not count the same pixels: {name} is {first} in A, {second} in B."
                )
        for letter, results in (("A", self.first), ("B", self.second)):
            sentences += [f"{letter}: {warning}" for warning in results.warnings]
        return sentences


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read the results of an evaluation.

    Args:
        path: A JSON file as `depthformer evaluate` and `depthformer replay` write it.

    Raises:
        DepthFormerError: The file holds something else, or two images have one name.
        OSError: The file cannot be read.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        return _results(values, path=str(path))
    # JSON may nest deeper than Python can follow.
    except (ValueError, RecursionError) as error:
        raise DepthFormerError(
            f"{path} holds no results of an evaluation: {one_line(error)}"
        ) from error


def compare(first: Results, second: Results) -> RunComparison:
    """Set two evaluations of the same images side by side.

    Args:
        first: The one that is compared with.
        second: The other.

    Raises:
        DepthFormerError: They have no image in common.
    """
    common = [file for file in first.per_image if file in second.per_image]
    if not common:
        raise DepthFormerError(
            f"{first.path} and {second.path} have no image in common; the first images are "
            f"{next(iter(first.per_image))} and {next(iter(second.per_image))}"
        )
    pairs = [(first.per_image[file], second.per_image[file]) for file in common]
    return RunComparison(
        first=first,
        second=second,
        metrics=[
            metric_change(name, [(one[name], other[name]) for one, other in pairs])
            for name in METRICS
        ],
        images=[
            ImageChange(file, one["abs_rel"], other["abs_rel"])
            for file, (one, other) in zip(common, pairs, strict=True)
        ],
        only_first=len(first.per_image) - len(common),
        only_second=len(second.per_image) - len(common),
    )


def metric_change(metric: str, pairs: Sequence[tuple[float, float]]) -> MetricChange:
    """Compare one metric of two evaluations.

    Args:
        metric: One of `METRICS`.
        pairs: Its values in the first and the second, for each image in order; NaN where there is
            none.
    """
    known = [pair for pair in pairs if not any(map(math.isnan, pair))]
    ones, others = [one for one, _ in known], [other for _, other in known]
    differences = [other - one for one, other in known]
    low, high = interval = mean_interval(differences)
    winner: Literal["first", "second"] | None = None
    if low > 0 or high < 0:
        winner = "second" if (low > 0) == (better_direction(metric) == "higher") else "first"
    return MetricChange(
        metric=metric,
        first=_mean(ones),
        first_interval=mean_interval(ones),
        second=_mean(others),
        second_interval=mean_interval(others),
        difference=_mean(differences),
        difference_interval=interval,
        better=winner,
    )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _results(values: object, *, path: str) -> Results:
    if isinstance(values, Mapping) and "mean" not in values and "sources" in values:
        raise DepthFormerError("it compares several sources already")
    _member(values, "mean", dict)
    assert isinstance(values, Mapping), "_member has checked it"
    rows = _member(values, "per_image", list)
    if not rows:
        raise DepthFormerError("per_image is empty")
    per_image: dict[str, dict[str, float]] = {}
    for row in rows:
        file = _member(row, "file", str)
        if file in per_image:
            raise DepthFormerError(f"two images are named {file}")
        per_image[file] = {name: _number(row, name) for name in METRICS}
    about = _member(values, "about", dict, default={})
    speed = {}
    if "seconds_per_image" in values:
        speed["seconds_per_image"] = _number(values, "seconds_per_image")
    if values.get("latency") is not None:
        latency = _member(values, "latency", dict)
        speed |= {name: _number(latency, name) for name in latency}
    return Results(
        path=path,
        about={name: str(value) for name, value in about.items()},
        protocol=_member(values, "protocol", dict, default={}),
        warnings=[str(warning) for warning in _member(values, "warnings", list, default=[])],
        per_image=per_image,
        speed=speed,
    )


def _member(values: object, name: str, kind: type[_T], *, default: _T | None = None) -> _T:
    if not isinstance(values, Mapping):
        raise DepthFormerError(
            f"there is a {type(values).__name__} where {name} should be in an object"
        )
    if name not in values and default is not None:
        return default
    found = values.get(name)
    if not isinstance(found, kind):
        raise DepthFormerError(
            f"{name} is {_brief(found)}" if name in values else f"{name} is missing"
        )
    return found


def _number(values: Mapping[str, object], name: str) -> float:
    """Read a number of an object; NaN for null."""
    if name not in values:
        raise DepthFormerError(f"{name} is missing")
    found = values[name]
    if found is None:
        return math.nan
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise DepthFormerError(f"{name} is {_brief(found)}")
    return found


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
