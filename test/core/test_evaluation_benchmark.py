"""The measurement of evaluations runs in both ways."""

import dataclasses
import re

import pytest

from depthformer_core.benchmark.evaluation import (
    EvaluationOptions,
    format_evaluation_table,
    measure,
)
from depthformer_core.benchmark.reading import KINDS
from depthformer_core.errors import DepthFormerError
from depthformer_core.synthetic import street_camera


@pytest.mark.slow
def test_both_ways_have_the_same_means() -> None:
    # Of KITTI's height, since its crop is evaluated.
    kind = dataclasses.replace(KINDS[0], camera=street_camera(1216, 352, focal=721.5))
    options = EvaluationOptions(network="debug", images=2, turns=1, device="cpu")
    results = measure(options, kind=kind)
    for result in results:
        assert len(result.alone) == len(result.together) == 1
        assert min(result.alone + result.together) > 0
        assert result.difference < 1e-4
    _, _, *rows = format_evaluation_table(results).splitlines()
    assert len(rows) == 2
    number = r"\d+\.\d+(e[-+]\d+)?"
    for row in rows:
        assert re.fullmatch(rf"\| [^|]+ (\| {number} ){{4}}\|", row), row


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(DepthFormerError, match="turns must be positive, got 0"):
        EvaluationOptions(turns=0)
