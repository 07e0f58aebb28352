"""Curves of a training run, and their place in its report."""

import html
import json
import math
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation import Evaluation, Protocol, evaluate
from depthformer_core.evaluation.curves import TrainingCurves, loss_curve
from depthformer_core.evaluation.output import write_evaluation
from depthformer_core.evaluation.report import render_report
from depthformer_core.evaluation.training_plots import plot_evaluations, plot_loss
from depthformer_core.training.log import RunLog, read_curves
from depthformer_core.training.trainer import Step

PICTURES = 160_000  # bytes that the pictures of a report may have, each


def write_log(folder: Path, *, iterations: int, skipped: int | None = None) -> None:
    with RunLog(folder, done=0, iterations=iterations, batch_size=2) as log:
        for iteration in range(1, iterations + 1):
            if iteration == skipped:
                log.skipped(iteration, "the loss is not finite")
            else:
                step = Step(iteration, loss=1 / iteration, gradient_norm=2.0, lr=iteration / 1e5)
                log.step(step, seconds=0.5, waited=0.1, memory=1.0)
            if iteration % 4 == 0:
                known = iteration > 4
                values = {"abs_rel": 1 / iteration, "rmse": 4.0, "a1": 0.9 if known else math.nan}
                log.evaluation(iteration, values, {})


def make_curves(
    loss: list[float], *, abs_rel: list[float] | None = None, a1: list[float] | None = None
) -> TrainingCurves:
    metrics = {"abs_rel": abs_rel, "a1": a1}
    return TrainingCurves(
        iterations=np.arange(1, len(loss) + 1),
        loss=np.array(loss),
        learning_rate=np.linspace(1e-4, 0, len(loss)),
        evaluated=1 + np.arange(len(abs_rel or [])),
        metrics={name: np.array(values) for name, values in metrics.items() if values},
    )


def make_long_curves(count: int) -> TrainingCurves:
    rng = np.random.default_rng(0)
    fall = 0.1 + 2 * np.exp(-np.arange(count) / (0.05 * count))
    loss = fall * rng.lognormal(0, 0.3, count)
    errors = (0.1 + 0.3 / np.arange(1, 41)).tolist()
    return make_curves(loss.tolist(), abs_rel=errors, a1=[1 - error for error in errors])


@pytest.fixture
def evaluation() -> Evaluation:
    """An evaluation without truth, whose report has no plots."""
    frame = Frame("empty.png", np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9)), None)
    return evaluate(
        lambda rgb, _: np.ones(rgb.shape[:2]), [frame], protocol=Protocol(max_depth=80), keep=0
    )


def render(evaluation: Evaluation, curves: TrainingCurves | None) -> str:
    return render_report(evaluation, about={"Checkpoint": "x"}, warnings=[], curves=curves)


def captions(page: str) -> list[str]:
    """Captions of the plots, which are their alternative texts too."""
    figures = re.findall(r'alt="([^"]*)"><figcaption>([^<]*)</figcaption>', page)
    assert all(alternative == caption for alternative, caption in figures)
    return [html.unescape(caption) for _, caption in figures]


def test_curves_are_those_of_the_log(tmp_path: Path) -> None:
    write_log(tmp_path, iterations=8, skipped=3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 9, "lo')
    curves = read_curves(tmp_path)
    assert curves.iterations.tolist() == [1, 2, 4, 5, 6, 7, 8]
    assert curves.loss.tolist() == [1 / iteration for iteration in curves.iterations.tolist()]
    assert curves.learning_rate.tolist() == (curves.iterations / 1e5).tolist()
    assert curves.skipped.tolist() == [3]
    assert curves.evaluated.tolist() == [4, 8]
    assert {name: values.tolist() for name, values in curves.metrics.items()} == {
        "abs_rel": [0.25, 0.125],
        "rmse": [4.0, 4.0],
        "a1": [pytest.approx(math.nan, nan_ok=True), 0.9],
    }
    assert curves.best() == 1


def test_an_empty_log_has_no_curves(tmp_path: Path, evaluation: Evaluation) -> None:
    (tmp_path / "metrics.jsonl").touch()
    curves = read_curves(tmp_path)
    assert curves.iterations.shape == curves.loss.shape == curves.evaluated.shape == (0,)
    assert curves.best() is None
    assert loss_curve(curves) is None
    assert render(evaluation, curves) == render(evaluation, None)


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DepthFormerError, match=r"no log of a run in .*metrics\.jsonl is missing"):
        read_curves(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        [1, 2],
        {"loss": 0.1, "lr": 1e-4},
        {"iteration": 2},
        {"iteration": 2, "loss": 0.1},
        {"iteration": 2, "loss": "0.1", "lr": 1e-4},
        {"iteration": True, "loss": 0.1, "lr": 1e-4},
        {"iteration": 10**40, "loss": 0.1, "lr": 1e-4},
        {"iteration": 2, "evaluation": [0.1]},
        {"iteration": 2, "evaluation": {"abs_rel": "0.1"}},
    ],
    ids=lambda line: str(line)[:40],
)
def test_other_lines_are_named(tmp_path: Path, line: object) -> None:
    lines = ({"iteration": 1, "loss": 0.1, "lr": 1e-4}, line)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    with pytest.raises(DepthFormerError, match=r"metrics\.jsonl: line 2 is no iteration") as error:
        read_curves(tmp_path)
    assert json.dumps(line)[:80] in str(error.value)


def test_short_runs_have_each_iteration() -> None:
    curve = loss_curve(make_curves([3.0, math.nan, 1.0, 2.0]))
    assert curve is not None
    assert (curve.size, curve.window) == (1, 1)
    assert curve.iterations.tolist() == [1, 3, 4]
    assert curve.low.tolist() == curve.high.tolist() == curve.mean.tolist() == [3.0, 1.0, 2.0]


def test_the_mean_is_over_the_neighbours() -> None:
    loss = np.random.default_rng(0).uniform(size=200)
    curve = loss_curve(make_curves(loss.tolist()))
    assert curve is not None
    assert (curve.size, curve.window) == (1, 11)
    expected = [loss[max(0, place - 5) : place + 6].mean() for place in range(200)]
    np.testing.assert_allclose(curve.mean, expected)


@pytest.mark.parametrize("count", [1000, 1001, 40_000, 100_000])
def test_long_runs_have_few_points(count: int) -> None:
    curves = make_long_curves(count)
    curve = loss_curve(curves)
    assert curve is not None
    assert 500 <= len(curve.iterations) <= 1000
    parts = np.split(curves.loss, range(curve.size, count, curve.size))
    assert curve.low.tolist() == [part.min() for part in parts]
    assert curve.high.tolist() == [part.max() for part in parts]
    assert (np.diff(curve.iterations) > 0).all()
    reach = curve.window // 2
    middle = curve.iterations[300] - 1
    expected = curves.loss[middle - reach : middle + reach + 1].mean()
    np.testing.assert_allclose(curve.mean[300], expected)
    assert curve.learning_rate[300] == curves.learning_rate[middle]


@pytest.mark.parametrize(
    "curves",
    [
        make_curves([0.3], abs_rel=[0.2], a1=[0.7]),
        make_curves([0.0, 0.0]),
        make_curves([2000.0, 1e-3, 0.1], abs_rel=[3.0, math.nan, 0.1], a1=[math.nan] * 3),
        make_curves([0.3, 0.2], abs_rel=[0.1, 0.2]),
        make_curves([-1.0, -2.0] * 40, abs_rel=[0.0, 0.0], a1=[1.0, 1.0]),
    ],
    ids=["one iteration", "zeros", "decades", "without a1", "negative"],
)
def test_every_run_can_be_plotted(curves: TrainingCurves) -> None:
    curve = loss_curve(curves)
    assert curve is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots = [plot_loss(curve)]
        if curves.best() is not None:
            plots.append(plot_evaluations(curves))
    for plot in plots:
        picture = cv2.imdecode(np.frombuffer(plot, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1] == 1216


def test_the_report_shows_a_long_run(evaluation: Evaluation) -> None:
    without = render(evaluation, None)
    assert "<h2>Training</h2>" not in without
    page = render(evaluation, make_long_curves(100_000))
    assert "<h2>Training</h2>" in page
    assert captions(page) == [
        "Loss: the lowest to the highest of each 100 iterations, and the mean over the 5,001 "
        "iterations around each point. Below: the learning rate.",
        "Evaluations during the training: abs_rel (lower is better) and a1 (higher is better). "
        "Marked: the evaluation with the lowest abs_rel, 0.1075, after iteration 40.",
    ]
    assert len(page) - len(without) < 2 * PICTURES * 4 / 3


def test_the_report_of_a_short_run(tmp_path: Path, evaluation: Evaluation) -> None:
    write_log(tmp_path, iterations=3, skipped=2)
    assert captions(render(evaluation, read_curves(tmp_path))) == [
        "Loss of each iteration. Below: the learning rate. Iterations skipped, because loss or "
        "gradient was not finite: 1."
    ]


def test_evaluations_without_truth_are_not_plotted(evaluation: Evaluation) -> None:
    curves = make_curves([0.2, 0.1], abs_rel=[math.nan] * 2, a1=[math.nan] * 2)
    assert curves.best() is None
    assert len(captions(render(evaluation, curves))) == 1


def test_only_the_report_has_the_curves(tmp_path: Path, evaluation: Evaluation) -> None:
    for name, curves in (("with", make_curves([0.2, 0.1])), ("without", None)):
        about = {"Checkpoint": "x"}
        write_evaluation(tmp_path / name, evaluation, about=about, warnings=[], curves=curves)
    for file in ("results.json", "per_image.csv"):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()
    assert "<h2>Training</h2>" in (tmp_path / "with" / "report.html").read_text()
    assert "<h2>Training</h2>" not in (tmp_path / "without" / "report.html").read_text()
