"""The measurement of reading runs on every kind of images."""

import dataclasses
import re

import pytest

from depthformer_core.benchmark.reading import (
    KINDS,
    ReadingOptions,
    format_reading_table,
    measure,
)
from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic import street_camera
from depthformer_core.training import cache

TINY = tuple(
    dataclasses.replace(kind, camera=street_camera(64, 48, focal=40.0), presets=("debug",))
    for kind in KINDS
)


def test_each_kind_is_read_without_and_with_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_LEFT_FREE", 0)
    results = measure(ReadingOptions(images=1, passes=2), kinds=TINY, size=(32, 48))
    assert [result.kind for result in results] == [kind.name for kind in KINDS]
    for result in results:
        assert len(result.without) == len(result.cached) == 2
        assert min(result.without + result.cached) > 0
        assert 3 * 48 * 64 < result.kept < 8 * 48 * 64
        assert (result.stored == 0) == (result.kind == "generated")
    _, _, *rows = format_reading_table(results).splitlines()
    for row in rows:
        number = r"\d+(\.\d+)?"
        assert re.fullmatch(
            rf"\| [^|]+ \| 48x64 \| debug (\| {number} ){{3}}\| ({number}|-) \| {number} \|", row
        )


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(DepthFormerError, match="images must be positive, got 0"):
        ReadingOptions(images=0)
