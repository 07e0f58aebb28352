"""Log of a run."""

import json
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from depthformer_core.training.log import RunLog
from depthformer_core.training.trainer import Step


def write(folder: Path, *, done: int, last: int) -> None:
    with RunLog(folder, done=done, iterations=30, batch_size=2) as log:
        for iteration in range(done + 1, last + 1):
            step = Step(iteration=iteration, loss=1 / iteration, gradient_norm=2.0, lr=1e-3)
            log.step(step, seconds=0.5, waited=0.1, memory=1.0)
        picture = np.full((8, 9, 3), 100, np.uint8)
        mean = {"abs_rel": 0.1, "rmse": 4.0, "a1": 0.9, "silog": float("nan")}
        log.evaluation(last, mean, {"a.png": picture})
        assert round(log.data_wait, 6) == 0.2


def test_a_resumed_log_has_each_iteration_once(tmp_path: Path) -> None:
    write(tmp_path, done=0, last=25)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 26, "lo')
    write(tmp_path, done=20, last=30)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["iteration"] for line in steps] == list(range(1, 31))
    assert steps[4] == {
        "iteration": 5,
        "loss": 0.2,
        "lr": 1e-3,
        "gradient_norm": 2.0,
        "images_per_second": 4.0,
        "data_wait": 0.2,
        "memory_gb": 1.0,
    }
    (evaluation,) = (line for line in lines if "evaluation" in line)
    assert evaluation["iteration"] == 30
    assert evaluation["evaluation"]["silog"] is None

    board = EventAccumulator(str(tmp_path)).Reload()
    curve = {event.step: event.value for event in board.Scalars("train/loss")}
    assert sorted(curve) == [10, 20, 30]
    np.testing.assert_allclose(curve[20], 0.05, rtol=1e-6)
    assert [event.step for event in board.Images("val/a.png")] == [30]
