import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.node.outputs import RateLimit


def taken(times: np.ndarray, rate: float) -> list[float]:
    """Those of some moments that take a turn."""
    limit = RateLimit()
    turns = []
    for now in times.tolist():
        if limit.due(now, rate=rate):
            limit.take(now, rate=rate)
            turns.append(now)
    return turns


def stream(rate: float, *, seconds: float = 60.0, jitter: float = 0.0) -> np.ndarray:
    times = np.arange(0, seconds, 1 / rate)
    return times + np.random.default_rng(0).uniform(-jitter, jitter, len(times)) / rate


@pytest.mark.parametrize(
    ("camera", "rate", "expected"),
    [
        pytest.param(30, 10, 10, id="one of three"),
        pytest.param(30, 20, 20, id="two of three"),
        pytest.param(30, 7, 7, id="no divisor"),
        pytest.param(10, 10, 10, id="the camera's own"),
        pytest.param(10, 50, 10, id="more than there are"),
        pytest.param(10, 0, 10, id="no limit"),
        pytest.param(10, 0.1, 0.1, id="one in ten seconds"),
    ],
)
@pytest.mark.parametrize("jitter", [0.0, 0.1], ids=["even", "uneven"])
def test_average(camera: float, rate: float, expected: float, jitter: float) -> None:
    turns = taken(stream(camera, jitter=jitter), rate)
    # The first one goes at once.
    assert len(turns) == pytest.approx(60 * expected, abs=1 + 0.01 * 60 * expected)


@pytest.mark.parametrize("rate", [3.0, 7.0, 20.0, 29.0])
def test_no_burst_in_any_second(rate: float) -> None:
    turns = np.array(taken(stream(30, jitter=0.3), rate))
    for start in turns:
        # One that was late, and one that is early.
        assert ((turns >= start) & (turns < start + 1)).sum() <= rate + 2


def test_nothing_is_made_up_for_after_a_pause() -> None:
    before, after = np.arange(0, 5, 0.01), np.arange(100, 105, 0.01)
    turns = np.array(taken(np.concatenate((before, after)), 10.0))
    assert ((turns >= 100) & (turns < 101)).sum() <= 11


def test_another_rate_counts_at_once() -> None:
    limit = RateLimit()
    limit.take(100.0, rate=0.001)
    assert not limit.due(101.0, rate=0.001)
    assert limit.due(101.0, rate=2.0)
    assert limit.due(100.0, rate=0.0)


def test_a_turn_nobody_takes_waits() -> None:
    limit = RateLimit()
    assert limit.due(5.0, rate=1.0)
    assert limit.due(5.1, rate=1.0)
    limit.take(5.1, rate=1.0)
    assert not limit.due(5.2, rate=1.0)
