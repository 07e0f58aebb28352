"""Quality of predicted uncertainty."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from depthformer_core import PRESETS, create_model
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.data.dataset import Frame
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.evaluation import Protocol, evaluate, evaluate_frame
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.page import png_uri
from depthformer_core.evaluation.plots import plot_calibration, plot_sparsification
from depthformer_core.evaluation.report import render_report
from depthformer_core.evaluation.results import format_table, to_json
from depthformer_core.evaluation.uncertainty import (
    Uncertainty,
    UncertaintyAccumulator,
    laplace_within,
)

Array = npt.NDArray[np.floating[Any]]
PROTOCOL = Protocol(max_depth=80)
SHAPE = (200, 300)


def laplace(seed: int) -> tuple[Array, Array, Array]:
    """Depth, its scale, and truth from that distribution; all far from the ends of the range."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(20, 40, SHAPE)
    scale = depth * np.exp(rng.uniform(np.log(0.001), np.log(0.03), SHAPE))
    return depth, scale, depth + rng.laplace(0, scale)


def measure(*images: tuple[Array, Array | None, Array]) -> Uncertainty | None:
    accumulator = UncertaintyAccumulator()
    for depth, scale, truth in images:
        rgb = np.zeros((*truth.shape, 3), np.uint8)
        accumulator.add(Comparison("x.png", rgb, truth, depth, PROTOCOL.valid_truth(truth), scale))
    return accumulator.result()


def found(*images: tuple[Array, Array | None, Array]) -> Uncertainty:
    result = measure(*images)
    assert result is not None
    return result


def test_a_laplace_distribution_is_calibrated() -> None:
    result = found(laplace(0), laplace(1))
    assert result.pixels == 2 * SHAPE[0] * SHAPE[1]
    assert result.within_one == pytest.approx(0.632, abs=0.01)
    assert result.within_two == pytest.approx(0.865, abs=0.01)
    assert result.scales[0] == 0
    assert result.scales[-1] == 4
    np.testing.assert_allclose(result.within, laplace_within(result.scales), atol=0.01)


@pytest.mark.parametrize(("factor", "within"), [(0.5, 0.393), (2.0, 0.865)])
def test_a_wrong_scale_shows(factor: float, within: float) -> None:
    depth, scale, truth = laplace(0)
    wrong, right = found((depth, factor * scale, truth)), found((depth, scale, truth))
    assert wrong.within_one == pytest.approx(within, abs=0.01)
    # The order is the same.
    assert wrong.ause == pytest.approx(right.ause)


def test_truth_on_the_edge_is_within() -> None:
    depth, scale = np.full((1, 4), 10.0), np.array([[1.0, 1.0, 0.0, 0.0]])
    truth = np.array([[11.0, 8.0, 10.0, 10.5]])
    result = found((depth, scale, truth))
    assert result.within[0] == 0.25
    assert result.within_one == 0.5
    assert result.within_two == 0.75
    assert result.within[-1] == 0.75


def test_informative_uncertainty_sorts_by_error() -> None:
    depth, scale, truth = laplace(0)
    result = found((depth, scale, truth))
    relative = abs(depth - truth) / truth
    assert result.abs_rel[0] == pytest.approx(relative.mean())
    assert result.oracle[0] == pytest.approx(relative.mean())
    assert (np.diff(result.abs_rel) < 0).all()
    assert (np.diff(result.oracle) < 0).all()
    assert (np.array(result.oracle[1:]) < result.abs_rel[1:]).all()
    assert result.removed[0] == 0
    assert result.removed[-1] == 0.9
    rank = (scale / depth).ravel()
    kept = np.argsort(rank)[: round(0.9 * rank.size)]
    assert result.abs_rel_without_tenth == pytest.approx(relative.ravel()[kept].mean())
    best = np.sort(relative.ravel())[: round(0.9 * rank.size)]
    assert result.oracle_without_tenth == pytest.approx(best.mean())
    gap = np.subtract(result.abs_rel, result.oracle)
    area = result.removed[1] * (gap.sum() - (gap[0] + gap[-1]) / 2)
    assert result.ause == pytest.approx(area / relative.mean())
    assert 0 < result.ause < 0.6 * result.random_ause


def test_constant_uncertainty_is_flat() -> None:
    """Whatever the order of the pixels: here the error grows from row to row."""
    depth = np.full(SHAPE, 30.0)
    truth = depth + np.linspace(0.1, 5, SHAPE[0])[:, None]
    result = found((depth, np.ones(SHAPE), truth))
    assert result.abs_rel == pytest.approx([result.abs_rel[0]] * len(result.removed))
    assert result.ause == pytest.approx(result.random_ause)
    assert result.ause > 0.2


def test_relative_uncertainty_decides() -> None:
    """The far half has the larger scale and error in metres, the near half in proportion."""
    depth, scale = np.array([[10.0, 50.0]]), np.array([[2.0, 3.0]])
    result = found((depth, scale, depth + scale))
    assert result.abs_rel[-1] == result.oracle[-1] == pytest.approx(3 / 53)
    assert result.ause == 0


def test_true_error_as_uncertainty_is_the_oracle() -> None:
    depth, _, truth = laplace(0)
    result = found((depth, depth * abs(depth - truth) / truth, truth))
    assert result.abs_rel == pytest.approx(result.oracle)
    assert result.ause == pytest.approx(0, abs=1e-9)


def test_curves_are_means_over_images() -> None:
    first, second = laplace(0), tuple(array[:20] for array in laplace(1))
    one, other = found(first), found((second[0], second[1], second[2]))
    both = found(first, (second[0], second[1], second[2]))
    assert both.abs_rel == pytest.approx(np.add(one.abs_rel, other.abs_rel) / 2)
    assert both.oracle == pytest.approx(np.add(one.oracle, other.oracle) / 2)
    pixels = one.pixels + other.pixels
    within = (one.pixels * one.within_one + other.pixels * other.within_one) / pixels
    assert both.within_one == pytest.approx(within)


def test_only_pixels_with_everything_count() -> None:
    depth, scale, truth = laplace(0)
    part = found((depth[2:, 3:], scale[2:, 3:], truth[2:, 3:]))
    truth[0] = 0
    depth[1] = np.nan
    scale[:, :2] = np.nan
    scale[:, 2] = np.inf
    assert found((depth, scale, truth)) == part


def test_without_uncertainty_there_is_nothing() -> None:
    depth, scale, truth = laplace(0)
    assert measure() is None
    assert measure((depth, None, truth)) is None
    assert measure((depth, scale, np.zeros(SHAPE))) is None
    assert found((depth, None, truth), (depth, scale, truth)) == found((depth, scale, truth))


def test_perfect_depth_has_no_area() -> None:
    depth, scale, _ = laplace(0)
    assert math.isnan(found((depth, scale, depth)).ause)


def frames() -> list[Frame]:
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    return [Frame(f"{seed}.png", rgb + np.uint8(seed), laplace(seed)[2], None) for seed in range(2)]


def predict(rgb: npt.NDArray[np.uint8], _: Any) -> tuple[Array, Array | None]:
    depth, scale, _ = laplace(int(rgb[0, 0, 0]))
    return depth, scale


@pytest.mark.slow
def test_evaluation_shows_it_and_changes_nothing_else() -> None:
    result = evaluate(predict, frames(), protocol=PROTOCOL)
    assert result.uncertainty == found(laplace(0), laplace(1))
    values = json.loads(to_json(result, about={}, warnings=[]))
    shown = values.pop("uncertainty")
    assert shown["within_one"] == result.uncertainty.within_one
    assert shown["ause"] == result.uncertainty.ause
    assert len(shown["calibration"]["scales"]) == len(shown["calibration"]["laplace"])
    assert shown["sparsification"]["abs_rel"][0] == pytest.approx(result.mean["abs_rel"])
    page = render_report(result, about={"Checkpoint": "x"}, warnings=[])
    assert "Quality of the uncertainty" in page
    assert png_uri(plot_calibration(result.uncertainty)) in page
    assert png_uri(plot_sparsification(result.uncertainty)) in page
    table = format_table(result)

    plain = evaluate(lambda rgb, _: predict(rgb, _)[0], frames(), protocol=PROTOCOL)
    assert plain.uncertainty is None
    without = json.loads(to_json(plain, about={}, warnings=[]))
    values["seconds_per_image"] = without["seconds_per_image"]
    assert values == without
    assert "ncertain" not in render_report(plain, about={"Checkpoint": "x"}, warnings=[])
    assert table.startswith(format_table(plain) + "\n\n")
    lines = [line.split() for line in table.splitlines()[-3:]]
    assert [line[0] for line in lines] == ["predicted", "ideal", "random"]
    assert lines[0][-1] == f"{result.uncertainty.ause:.4f}"
    assert lines[1][1:3] == ["0.6321", "0.8647"]


def test_the_crop_holds_for_it_too() -> None:
    truth = np.full((400, 1300), 20.0)
    scale = np.arange(truth.size, dtype=np.float64).reshape(truth.shape)
    frame = Frame("x.png", np.zeros((*truth.shape, 3), np.uint8), truth, None)
    protocol = Protocol(crop="kitti", max_depth=80)
    result = evaluate_frame(lambda *_: (truth, scale), frame, protocol=protocol)
    window = protocol.window(height=400, width=1300).slices
    np.testing.assert_array_equal(result.comparison.uncertainty, scale[window])


@pytest.mark.parametrize(
    ("uncertainty", "message"),
    [
        ((np.ones((3, 3)),), r"uncertainty of 0\.png must have shape \(200, 300\), got \(3, 3\)"),
        ((np.ones(SHAPE, int),), "uncertainty of 0.png must be a floating-point array"),
        ((np.full(SHAPE, -1.0),), r"uncertainty of 0\.png must not be negative, got -1\.0"),
        ((np.ones(SHAPE), None), r"prediction for 0\.png must be depth, or .* got 3 values"),
    ],
    ids=["size", "integers", "negative", "three"],
)
def test_wrong_predictions_are_named(uncertainty: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(lambda *_: (np.ones(SHAPE), *uncertainty), frames(), protocol=PROTOCOL)


@pytest.mark.slow
@pytest.mark.parametrize("uncertainty", [True, False], ids=["with", "without"])
def test_the_command_writes_it(uncertainty: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root, output = tmp_path / "pairs", tmp_path / "out"
    write_png(root / "rgb" / "0.png", rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    truth = rng.uniform(1, 7, (64, 96)).astype(np.float32)
    write_depth_png(root / "depth" / "0.png", truth, scale=1000)
    checkpoint = tmp_path / "network.safetensors"
    config = dataclasses.replace(PRESETS["debug"], uncertainty=uncertainty)
    save_checkpoint(checkpoint, create_model(config))
    arguments = ["--data.root", root, "--data.name", "folder", "--data.depth-scale", "1000"]
    arguments = ["evaluate", checkpoint, *arguments, "--device", "cpu", "--output", output]
    command = [sys.executable, "-m", "depthformer_core.cli", *map(str, arguments)]
    table = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    results = json.loads((output / "results.json").read_text())
    page = (output / "report.html").read_text()
    assert ("uncertainty" in results) == uncertainty
    assert ("AUSE" in table) == ("Sparsification" in page) == uncertainty
    # Six plots of errors, two of the uncertainty.
    assert page.count('src="data:image/png') == (8 if uncertainty else 6)
    if uncertainty:
        shown = results["uncertainty"]
        assert 0 <= shown["within_one"] <= shown["within_two"] <= 1
        assert shown["pixels"] == 64 * 96
