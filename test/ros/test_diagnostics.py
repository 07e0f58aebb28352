import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from depthformer_ros.node.diagnostics import (
    bottleneck_message,
    described_node,
    diagnostic_array,
    diagnostic_status,
    status_name,
)
from depthformer_ros.node.frame_statistics import InputState, Report, StageTime


@pytest.mark.parametrize(
    ("report", "options", "level", "text"),
    [
        pytest.param(Report(state=InputState.RUNNING), {}, "OK", "input running", id="running"),
        pytest.param(Report(state=InputState.WAITING), {}, "WARN", "waiting", id="waiting"),
        pytest.param(Report(state=InputState.STALE), {}, "ERROR", "stale", id="stale"),
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
            Report(state=InputState.RUNNING, nonfinite_count=12),
            {},
            "ERROR",
            "12 values that are not finite",
            id="not finite",
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
            "ERROR",
            "input stale; no camera_info",
            id="worst counts",
        ),
        pytest.param(
            Report(state=InputState.STALE), {"mode": "inactive"}, "OK", "inactive", id="inactive"
        ),
        pytest.param(
            Report(state=InputState.STALE),
            {"mode": "finalized"},
            "OK",
            "finalized",
            id="finalized",
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


def test_values_are_texts() -> None:
    report = Report(
        state=InputState.RUNNING,
        received=9,
        rejected={"step": 2, "data": 1},
        dropped={"newer image": 4},
        stages={"infer": StageTime(p50=0.0125, p95=0.02, p99=0.03)},
    )
    status = diagnostic_status(
        report,
        name=status_name("/depthformer"),
        hardware_id="cpu",
        mode="active",
        values={"device": "cpu", "trained": False},
    )
    values = {item.key: item.value for item in status.values}
    expected = {
        **{"infer p50 (ms)": "12.50", "infer p95 (ms)": "20.00", "infer p99 (ms)": "30.00"},
        **{"received": "9", "rejected": "3", "rejected: step": "2", "rejected: data": "1"},
        **{"dropped": "4", "dropped: newer image": "4", "failed": "0", "trained": "False"},
    }
    assert values.items() >= expected.items()
    array = diagnostic_array(status, stamp=Time(sec=3))
    assert array.header.stamp.sec == 3
    assert array.status == [status]


def test_statuses_are_named_as_aggregators_group_them() -> None:
    """As diagnostic_updater does with use_fqn: `<full name of the node>: <task>`."""
    assert status_name("/left/depthformer") == "/left/depthformer: depth"
    assert described_node("/left/depthformer: depth") == "/left/depthformer"
    assert described_node("/left/driver: rate") == ""


@pytest.mark.parametrize(("device", "hardware_id"), [("cuda:0", "cuda:0"), ("", "none")])
def test_hardware_without_a_name_is_none(device: str, hardware_id: str) -> None:
    report = Report(state=InputState.WAITING)
    status = diagnostic_status(report, name="n", hardware_id=device, mode="inactive")
    assert status.hardware_id == hardware_id


@pytest.mark.parametrize("state", InputState)
def test_stale_is_left_to_aggregators(state: InputState) -> None:
    status = diagnostic_status(Report(state=state), name="n", hardware_id="cpu", mode="active")
    assert status.level != DiagnosticStatus.STALE


@pytest.mark.parametrize(
    ("slowest", "text"),
    [
        ("infer", "infer takes 240 ms; a GPU"),
        ("publish", "publish takes 240 ms; a larger points.stride"),
        ("convert", "convert takes 240 ms; smaller images help"),
    ],
)
def test_the_bottleneck_is_named(slowest: str, text: str) -> None:
    quick, slow = StageTime(0.01, 0.01, 0.01), StageTime(0.24, 0.3, 0.4)
    stages = {"infer": quick, "publish": quick, "total": StageTime(1, 1, 1), slowest: slow}
    report = Report(
        state=InputState.RUNNING,
        input_rate=30.0,
        output_rate=4.0,
        superseded_rate=6.0,
        stages=stages,
    )
    assert bottleneck_message(report).startswith("predicting 4.0 of 10.0 images a second")
    assert text in bottleneck_message(report)


def test_no_bottleneck_while_it_keeps_up() -> None:
    stages = {"infer": StageTime(0.1, 0.1, 0.1)}
    # The last one predicts a few images only because of a rate limit.
    for predicted, superseded in ((9.5, 0.5), (0.0, 10.0), (0.0, 0.0), (0.3, 0.1), (2.0, 0.0)):
        report = Report(
            state=InputState.RUNNING,
            input_rate=10.0,
            output_rate=predicted,
            superseded_rate=superseded,
            stages=stages,
        )
        assert bottleneck_message(report) == ""
