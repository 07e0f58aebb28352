import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from depthformer_ros.diagnostics import (
    InputState,
    Report,
    Statistics,
    diagnostic_array,
    diagnostic_status,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> Statistics:
    return Statistics(clock=clock)


def test_input_state_follows_the_camera(statistics: Statistics, clock: Clock) -> None:
    def state() -> InputState:
        return statistics.report(timeout=2.0).state

    assert state() is InputState.WAITING
    statistics.receive()
    assert state() is InputState.RUNNING
    statistics.receive(rejection="step 1")
    assert state() is InputState.REJECTED
    assert statistics.report(timeout=2.0).rejection == "step 1"
    clock.now += 2.5
    assert state() is InputState.STALE
    statistics.receive()
    assert state() is InputState.RUNNING
    assert statistics.report(timeout=2.0).rejection == ""
    statistics.restart()
    assert state() is InputState.WAITING


def test_counts(statistics: Statistics) -> None:
    for rejection in ("", "", "bad"):
        statistics.receive(rejection=rejection)
    statistics.drop()
    statistics.fail("out of memory")
    report = statistics.report(timeout=2.0)
    assert (report.received, report.rejected, report.dropped, report.failed) == (3, 1, 1, 1)
    assert report.failure == "out of memory"
    statistics.answer()
    assert statistics.report(timeout=2.0).failure == ""
    assert statistics.report(timeout=2.0).answered == 1


def test_rates_are_those_of_the_last_seconds(statistics: Statistics, clock: Clock) -> None:
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


def test_stage_times_are_percentiles_of_a_window(statistics: Statistics, clock: Clock) -> None:
    for _ in range(500):
        statistics.record("predict", 100.0)
    for milliseconds in range(1, 201):
        with statistics.stage("predict"):
            clock.now += milliseconds / 1000
    spent = statistics.report(timeout=2.0).stages["predict"]
    assert spent.p50 == pytest.approx(0.1005)
    assert spent.p99 == pytest.approx(0.198, abs=1e-3)


def test_a_stage_that_fails_is_not_timed(statistics: Statistics) -> None:
    def fail() -> None:
        with statistics.stage("predict"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert statistics.report(timeout=2.0).stages == {}


@pytest.mark.parametrize(
    ("report", "options", "level", "text"),
    [
        pytest.param(Report(state=InputState.RUNNING), {}, "OK", "input running", id="running"),
        pytest.param(Report(state=InputState.WAITING), {}, "WARN", "waiting", id="waiting"),
        pytest.param(Report(state=InputState.STALE), {}, "STALE", "stale", id="stale"),
        pytest.param(
            Report(state=InputState.REJECTED, rejection="step 1"),
            {},
            "ERROR",
            "rejected: step 1",
            id="rejected",
        ),
        pytest.param(
            Report(state=InputState.RUNNING, failure="out of memory"),
            {},
            "ERROR",
            "out of memory",
            id="failing",
        ),
        pytest.param(
            Report(state=InputState.RUNNING),
            {"warnings": ["untrained weights"]},
            "WARN",
            "untrained weights",
            id="untrained",
        ),
        pytest.param(
            Report(state=InputState.STALE),
            {"warnings": ["no camera_info"]},
            "STALE",
            "input stale; no camera_info",
            id="worst counts",
        ),
        pytest.param(
            Report(state=InputState.STALE), {"mode": "inactive"}, "OK", "inactive", id="inactive"
        ),
        pytest.param(
            Report(state=InputState.WAITING),
            {"mode": "unconfigured", "errors": ["configure failed: no file"]},
            "ERROR",
            "configure failed: no file; unconfigured",
            id="configure failed",
        ),
    ],
)
def test_level_and_message(
    report: Report, options: dict[str, object], level: str, text: str
) -> None:
    chosen = {"name": "n", "hardware_id": "cpu", "mode": "active", **options}
    status = diagnostic_status(report, **chosen)  # type: ignore[arg-type]
    assert status.level == getattr(DiagnosticStatus, level)
    assert text in status.message


def test_values_are_texts(statistics: Statistics) -> None:
    statistics.record("predict", 0.0125)
    status = diagnostic_status(
        statistics.report(timeout=1.0),
        name="depthformer: depth",
        hardware_id="cpu",
        mode="active",
        values={"device": "cpu", "trained": False},
    )
    values = {item.key: item.value for item in status.values}
    assert values["predict p50 (ms)"] == "12.50"
    assert values["trained"] == "False"
    assert values["received"] == "0"
    array = diagnostic_array(status, stamp=Time(sec=3))
    assert array.header.stamp.sec == 3
    assert array.status == [status]
