import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.node.frame_statistics import FrameStatistics, InputState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> FrameStatistics:
    return FrameStatistics(clock=clock)


def test_input_state_follows_the_camera(statistics: FrameStatistics, clock: Clock) -> None:
    def state() -> InputState:
        return statistics.report(timeout=2.0).state

    assert state() is InputState.WAITING
    statistics.receive()
    assert state() is InputState.RUNNING
    statistics.reject("step", "step 1")
    assert state() is InputState.REJECTED
    assert statistics.report(timeout=2.0).rejection == "step 1"
    clock.now += 2.5
    assert state() is InputState.STALE
    statistics.receive()
    statistics.accept()
    assert state() is InputState.RUNNING
    assert statistics.report(timeout=2.0).rejection == ""
    statistics.restart()
    assert state() is InputState.WAITING


def test_counts_by_reason(statistics: FrameStatistics) -> None:
    for _ in range(10):
        statistics.receive()
    for field in ("step", "data", "data"):
        statistics.reject(field, f"{field} is bad")
    for reason in ("rate limit", "paused", "rate limit"):
        statistics.drop(reason)
    statistics.supersede()
    statistics.fail("out of memory", "no room")
    report = statistics.report(timeout=2.0)
    assert report.received == 10
    assert report.rejected == {"step": 1, "data": 2}
    assert report.dropped == {"newer image": 1, "paused": 1, "rate limit": 2}
    assert report.failed == {"out of memory": 1}
    assert report.failure == "no room"
    statistics.complete()
    assert statistics.report(timeout=2.0).failure == ""
    assert statistics.report(timeout=2.0).predicted == 1


def test_nonfinite_values_are_those_of_the_newest_frame(statistics: FrameStatistics) -> None:
    for nonfinite_count in (0, 5, 3):
        statistics.complete(nonfinite_count=nonfinite_count)
    report = statistics.report(timeout=2.0)
    assert (report.nonfinite_count, report.nonfinite_frames) == (3, 2)
    statistics.complete()
    report = statistics.report(timeout=2.0)
    assert (report.nonfinite_count, report.nonfinite_frames, report.predicted) == (0, 2, 4)


def test_rates_are_those_of_the_last_seconds(statistics: FrameStatistics, clock: Clock) -> None:
    for _ in range(20):
        statistics.receive()
        clock.now += 1.0
    for _ in range(51):
        clock.now += 0.1
        statistics.receive()
    assert statistics.report(timeout=2.0).input_rate == pytest.approx(10.0)
    assert statistics.report(timeout=2.0).output_rate == 0.0
    clock.now += 60.0
    assert statistics.report(timeout=2.0).input_rate == 0.0


def test_superseded_images_are_a_share_of_those_that_come(
    statistics: FrameStatistics, clock: Clock
) -> None:
    for number in range(100):
        clock.now += 0.1
        statistics.receive()
        if number % 4 == 0:
            statistics.supersede()
        elif number % 4 == 1:
            statistics.drop("rate limit")
    assert statistics.report(timeout=2.0).superseded_rate == pytest.approx(2.5, abs=0.2)
    statistics.restart()
    assert statistics.report(timeout=2.0).superseded_rate == 0.0


def test_stage_times_are_percentiles_of_a_window(statistics: FrameStatistics, clock: Clock) -> None:
    for _ in range(500):
        statistics.record("infer", 100.0)
    for milliseconds in range(1, 201):
        with statistics.stage("infer"):
            clock.now += milliseconds / 1000
    spent = statistics.report(timeout=2.0).stages["infer"]
    assert spent.p50 == pytest.approx(0.1005)
    assert spent.p95 == pytest.approx(0.190, abs=1e-3)
    assert spent.p99 == pytest.approx(0.198, abs=1e-3)


def test_a_stage_that_fails_is_not_timed(statistics: FrameStatistics) -> None:
    def fail() -> None:
        with statistics.stage("infer"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert statistics.report(timeout=2.0).stages == {}
