import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.load.probe import ProbeError, Sample
from depthformer_ros.load.soak_report import judge, plot


def run(
    *,
    memory_growth: float = 0.0,
    latency_growth: float = 0.0,
    machine_growth: float = 0.0,
    missed: int = 0,
    seconds: int = 3600,
) -> tuple[list[Sample], list[tuple[float, float]]]:
    """An hour whose memory jumps while it starts, and grows evenly afterwards."""
    samples = [
        Sample(
            seconds=float(second),
            memory=int((0.5 if second < 200 else 1 + memory_growth * second / seconds) * 10**9),
            processor=0.5 * second,
            sent=10 * second,
            predicted=10 * second,
            missed=missed,
            p50=0.1,
            p95=0.1,
            p99=0.1,
            machine=0.001 * (1 + machine_growth * second / seconds),
        )
        for second in range(10, seconds + 1, 10)
    ]
    latencies = [(t, 0.1 * (1 + latency_growth * t / seconds)) for t in map(float, range(seconds))]
    return samples, latencies


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        pytest.param(run(), "", id="flat"),
        pytest.param(run(memory_growth=0.015, latency_growth=0.05), "", id="within the limits"),
        pytest.param(run(memory_growth=-0.5, latency_growth=-0.5), "", id="better and better"),
        pytest.param(run(memory_growth=0.05), "memory grew by", id="memory"),
        pytest.param(run(latency_growth=0.3), "latency grew by", id="latency"),
        pytest.param(run(missed=2), "2 messages on /diagnostics", id="silence"),
    ],
)
def test_verdict(made: tuple[list[Sample], list[tuple[float, float]]], problem: str) -> None:
    samples, latencies = made
    problems = judge(samples, latencies).problems
    assert len(problems) == bool(problem)
    assert all(problem in text for text in problems)


def test_a_machine_that_slowed_down_is_reported() -> None:
    verdict = judge(*run(latency_growth=0.3, machine_growth=0.24))
    assert verdict.machine_drift == pytest.approx(0.2, rel=0.1)
    (problem,) = verdict.problems
    assert "of a fixed computation beside the node by 19" in problem


def test_nothing_to_judge() -> None:
    samples, latencies = run()
    with pytest.raises(ProbeError, match="no sample or no prediction"):
        judge([], latencies)
    with pytest.raises(ProbeError, match="last sixth"):
        judge(samples, latencies[:1000])


def test_plot_is_a_picture(tmp_path: Path) -> None:
    samples, _ = run()
    silent = dataclasses.replace(samples[-1], seconds=4000.0, p50=None, p95=None, p99=None)
    plot([*samples, silent], tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
