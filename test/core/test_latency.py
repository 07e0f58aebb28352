"""Times of predictions."""

import math

import pytest

from depthformer_core.evaluation.latency import Latency


def test_summary() -> None:
    latency = Latency([0.0, 0.1, 0.2, 0.3], [0.3, None, 0.1, 0.2], late=1)
    assert latency.summary() == {
        "sent": 4,
        "answered": 3,
        "dropped": 1,
        "late": 1,
        "p50": pytest.approx(0.2),
        "p95": pytest.approx(0.29),
        "p99": pytest.approx(0.298),
        "max": pytest.approx(0.3),
    }


@pytest.mark.parametrize("sent", [[], [0.0, 1.0]], ids=["nothing sent", "nothing predicted"])
def test_no_prediction_has_no_time(sent: list[float]) -> None:
    latency = Latency(sent, [None] * len(sent), late=0)
    assert latency.dropped == len(sent)
    assert math.isnan(latency.summary()["p99"])


@pytest.mark.parametrize(
    ("sent", "seconds", "late", "message"),
    [
        ([0.0], [], 0, "one value for each image, got 1 and 0"),
        ([math.nan], [None], 0, "finite and not negative, got nan"),
        ([0.0], [-0.1], 0, "finite and not negative, got -0.1"),
        ([0.0, 1.0], [0.1, None], 2, "late must be 0 to the 1 images with a prediction, got 2"),
        ([0.0], [0.1], -1, "got -1"),
    ],
    ids=["lengths", "nan", "negative", "too many late", "negative late"],
)
def test_what_is_no_stream_is_named(
    sent: list[float], seconds: list[float | None], late: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Latency(sent, seconds, late)
