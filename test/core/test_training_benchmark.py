"""The training benchmark measures both loops on generated files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthformer_core.benchmark import machine
from depthformer_core.benchmark.training import (
    LoopTiming,
    Run,
    TrainingResult,
    _prepare_grid_sample,
    _prepare_ours,
    _recipe,
    _Setup,
    format_training_table,
    run_training_benchmark,
    training_to_json,
    write_drive,
)
from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.open import open_dataset
from depthformer_core.training.config import TrainingData
from depthformer_core.training.presets import training_preset


@pytest.mark.slow
def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = run_training_benchmark(
        ["debug"],
        size=(32, 64),
        batch_size=9,  # more than the images written otherwise
        runs=2,
        workers=1,
        device="cpu",
        precision="float32",
    )
    assert result.preset == "debug"
    assert result.precision == "float32"
    assert (result.height, result.width) == (32, 64)
    for timing in (result.ours, result.plain):
        assert len(timing.runs) == 2
        assert 0 <= timing.data_wait < 1
        # PyTorch alone takes more than this.
        assert timing.peak_memory > 50e6
    written = json.loads(training_to_json([result]))
    assert written["results"][0]["ours_images_per_second"] == 9 / result.ours.median
    assert (written["results"][0]["height"], written["results"][0]["width"]) == (32, 64)
    assert written["machine"] == machine()
    assert "debug" in capsys.readouterr().err


def test_the_usual_attention_trains_the_same_network(tmp_path: Path) -> None:
    """The loop that a GPU is compared with."""
    write_drive(tmp_path, images=2)
    recipe = _recipe("debug", size=(32, 64), batch_size=2)
    data = TrainingData(root=tmp_path, name="kitti_eigen", workers=1)
    setup = _Setup("debug", replace(recipe, data=data, device="cpu", precision="float32"), 1)
    for prepare in (_prepare_ours, _prepare_grid_sample):
        assert prepare(setup)().seconds > 0
    ours, rival = LoopTiming([Run(1.0, 0.0, 1)]), LoopTiming([Run(3.0, 0.0, 1)])
    result = TrainingResult("debug", "float32", 2, 32, 64, ours, ours, rival)
    assert "| grid_sample | 0.667 | 3.000 | 0.0% | 0.00 | 3.00 |" in format_training_table([result])
    assert json.loads(training_to_json([result]))["results"][0]["grid_sample"]


@pytest.mark.slow
def test_without_a_size_the_recipe_has_it() -> None:
    (result,) = run_training_benchmark(["small"], runs=1, workers=1, device="cpu")
    assert (result.height, result.width) == training_preset("small").augment.size


def test_table_and_ratio() -> None:
    ours = LoopTiming([Run(2.0, 0.0, 10**9), Run(1.0, 0.0, 10**9), Run(4.0, 0.35, 10**9)])
    plain = LoopTiming([Run(4.0, 1.0, 10**9), Run(3.0, 1.0, 10**9), Run(4.0, 1.3, 2 * 10**9)])
    result = TrainingResult("small", "float32", 4, 176, 608, ours, plain)
    # The median of the ratios of the pairs, not the ratio of the medians.
    assert result.speedup == 2.0
    rows = format_training_table([result]).splitlines()
    assert rows[2:] == [
        "| small | float32 | 4 | 176x608 | ours | 2.000 | 2.000 | 5.0% | 1.00 | 1.00 |",
        "| small | float32 | 4 | 176x608 | plain | 1.000 | 4.000 | 30.0% | 2.00 | 2.00 |",
    ]


def test_the_drive_is_a_kitti_dataset(tmp_path: Path) -> None:
    write_drive(tmp_path, images=2)
    dataset = open_dataset("kitti_eigen", tmp_path, part="train")
    dataset.check()
    assert len(dataset) == 2
    first, second = (dataset[index] for index in range(2))
    assert first.rgb.shape == (375, 1242, 3)
    assert not np.array_equal(first.rgb, second.rgb)
    assert first.depth is not None
    assert 0.05 < (first.depth > 0).mean() < 0.16
    assert not first.depth[:172].any()
    write_drive(tmp_path / "again", images=2)
    again = open_dataset("kitti_eigen", tmp_path / "again", part="train")[0]
    np.testing.assert_array_equal(again.depth, first.depth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "got 0 and 4"),
        ({"workers": 0}, "got 5 and 0"),
        ({"batch_size": 0}, "got 0"),
        ({"device": "tpu"}, "got 'tpu'"),
        ({"precision": "int8"}, "got 'int8'"),
        ({"size": (0, 704)}, r"got \(0, 704\)"),
    ],
    ids=["runs", "workers", "batch size", "device", "precision", "empty crop"],
)
def test_bad_argument_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_training_benchmark(["debug"], **options)  # type: ignore[arg-type]


def test_an_image_too_small_at_the_networks_focal_length_is_named() -> None:
    """352 rows would do for `debug`, but `small` sees half of them."""
    with pytest.raises(DatasetError, match=r"\.png: .*621x188 .*704x352") as error:
        run_training_benchmark(["debug", "small"], size=(352, 704), runs=1, device="cpu")
    assert len(str(error.value).splitlines()) == 1


def test_unknown_preset_is_named() -> None:
    with pytest.raises(ValueError, match="no preset 'huge'"):
        run_training_benchmark(["huge"])
