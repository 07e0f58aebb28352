"""Data, loss, augmentation and logger of a user's own, from Python."""

import dataclasses
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from training_runs import lines

from depthformer_core.data.dataset import DatasetError, Frame
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.errors import DepthFormerError
from depthformer_core.training import (
    Optimization,
    TrainingConfig,
    ValidationData,
    train,
    training_preset,
)
from depthformer_core.training.losses import silog_loss

Array = npt.NDArray[Any]


class Slopes:
    """Depth that grows towards the top, brighter where it is near."""

    def __init__(self, count: int = 12, *, width: int = 96) -> None:
        self.count = count
        self.width = width

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Frame:
        depth = np.geomspace(20, 1 + index % 3, 48, dtype=np.float32)
        depth = depth[:, None].repeat(self.width, axis=1)
        rgb = np.stack([255 / depth, 10 * depth, 0 * depth + index], axis=-1).astype(np.uint8)
        return Frame(f"{index}.png", rgb, depth)


class Pairs(Slopes):
    def __getitem__(self, index: int) -> Any:
        frame = super().__getitem__(index)
        return frame.rgb, frame.depth


def crop(rgb: Array, depth: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    left = int(rng.integers(0, depth.shape[1] - 64 + 1))
    return rgb[:32, left : left + 64], depth[:32, left : left + 64]


def absolute(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    assert depth.shape == truth.shape
    assert depth.dtype == truth.dtype == torch.float32
    return (depth - truth).abs()[truth > 0].mean()


def config(output: Path, **changes: Any) -> TrainingConfig:
    preset = training_preset("debug")
    settings: dict[str, Any] = {
        "optim": Optimization(iterations=4, batch_size=2, warm_up=0),
        "augment": dataclasses.replace(preset.augment, border="none", size=(32, 48)),
        "val": ValidationData(every=0),
        "data": dataclasses.replace(preset.data, workers=0),
        "device": "cpu",
        "precision": "float32",
        "output": output,
    }
    return dataclasses.replace(preset, **(settings | changes))


@pytest.mark.slow
def test_the_documented_examples_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "docs" / "training.md").read_text()
    dataset, functions = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    code = [line for line in dataset.splitlines() if line]
    assert len(code) <= 10, "docs/training.md promises ten lines"
    calls: list[dict[str, Any]] = []
    trained: list[TrainingConfig] = []

    def short(preset: TrainingConfig, **given: Any) -> None:
        calls.append(given)
        trained.append(preset)
        # Full-size images of the recipe, and few of them.
        again = dataclasses.replace(
            preset,
            optim=dataclasses.replace(preset.optim, iterations=2, batch_size=2, warm_up=0),
            data=dataclasses.replace(preset.data, workers=1),
            device="cpu",
            output=tmp_path / f"run{len(calls)}",
        )
        train(again, **given)

    def read(name: str) -> tuple[Array, Array]:
        depth = np.geomspace(60, 4, 375, dtype=np.float32)[:, None].repeat(1242, axis=1)
        return np.zeros((375, 1242, 3), np.uint8) + np.uint8(len(name)), depth

    logged: list[dict[str, Any]] = []

    class Wandb:
        log = staticmethod(logged.append)

    names = ["a.png", "bc.png", "def.png"]
    scope: dict[str, Any] = {"names": names, "read": read, "wandb": Wandb}
    monkeypatch.setattr("depthformer_core.training.train", short, raising=False)
    (tmp_path / "dataset.py").write_text(dataset)
    scope |= runpy.run_path(str(tmp_path / "dataset.py"), scope)
    (tmp_path / "functions.py").write_text(functions)
    runpy.run_path(str(tmp_path / "functions.py"), scope | {"config": trained[0]})
    assert set(calls[1]) == {"dataset", "validation", "loss", "augment", "log"}
    assert [line.get("iteration") for line in logged] == [1, 2, 2]
    for number in (1, 2):
        assert (tmp_path / f"run{number}" / "report.html").exists()
    own = json.loads((tmp_path / "run2" / "run.json").read_text())["own"]
    assert own["loss"].endswith(".loss")
    assert own["augment"].endswith(".augment")


def doubled(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return 2 * silog_loss(depth, truth)


def test_a_loss_of_ones_own_is_trained_with(tmp_path: Path) -> None:
    given: dict[str, dict[str, Any]] = {
        "named": {},
        "same": {"loss": silog_loss},
        "doubled": {"loss": doubled},
        "other": {"loss": absolute},
    }
    for name, loss in given.items():
        train(config(tmp_path / name), dataset=Slopes(), **loss)
    for kind in ("loss", "gradient_norm"):
        named, same, twice, other = (lines(tmp_path / name, kind) for name in given)
        assert same == named
        assert twice[0] == pytest.approx(2 * named[0], rel=1e-5)
        assert other[0] != pytest.approx(named[0], rel=0.1)


def test_an_augmentation_of_ones_own_is_drawn_from_the_seed(tmp_path: Path) -> None:
    shapes = []

    def noted(rgb: Array, depth: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        result = crop(rgb, depth, rng)
        shapes.append(result[0].shape)
        return result

    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        train(config(tmp_path / name, seed=seed), dataset=Slopes(), augment=noted)
    assert set(shapes) == {(32, 64, 3)}
    one, same, other = (lines(tmp_path / name, "loss") for name in ("one", "same", "other"))
    assert one == same != other


def test_a_data_set_of_ones_own_is_evaluated_and_mixed(tmp_path: Path) -> None:
    mix = MixedDataset([Slopes(6), [Slopes(6)[0]] * 6], weights=[2, 1])
    settings = config(tmp_path / "run", val=ValidationData(every=2))
    train(settings, dataset=mix, validation=Slopes(3))
    assert len(lines(tmp_path / "run", "evaluation")) == 2
    described = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert [part["name"] for part in described["parts"]] == ["Slopes", "list"]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["mean"] == pytest.approx(lines(tmp_path / "run", "evaluation")[-1])
    assert results["about"]["Data"] == "Slopes"


class Described(Slopes):
    """Says what decides a frame, and counts how often one is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __getitem__(self, index: int) -> Frame:
        self.reads += 1
        return super().__getitem__(index)

    def fingerprint(self, index: int) -> str:
        return f"slope {index}"


def test_frames_that_are_described_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthformer_core.training.cache._LEFT_FREE", 0)
    data = dataclasses.replace(config(tmp_path).data, cache=tmp_path / "cache")
    reads = []
    for name in ("first", "second"):
        dataset = Described()
        train(config(tmp_path / name, data=data), dataset=dataset)
        reads.append(dataset.reads)
    assert reads[1] < reads[0]
    assert lines(tmp_path / "first", "loss") == lines(tmp_path / "second", "loss")
    train(config(tmp_path / "third", data=data), dataset=Slopes())
    assert len(list((tmp_path / "cache").rglob("*"))) <= len(Described()) + 5


def test_the_logger_gets_what_the_log_has(tmp_path: Path) -> None:
    logged: list[dict[str, Any]] = []
    settings = config(tmp_path / "run", val=ValidationData(every=2))
    train(settings, dataset=Slopes(), validation=Slopes(2), log=logged.append)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert logged == [json.loads(line) for line in text.splitlines()]


def test_an_error_of_the_users_code_keeps_the_state(tmp_path: Path) -> None:
    calls = []

    def breaks(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("a mistake of mine")
        return absolute(depth, truth)

    with pytest.raises(RuntimeError, match="a mistake of mine"):
        train(config(tmp_path / "run"), dataset=Slopes(), loss=breaks)
    train(config(tmp_path / "run", resume=True), dataset=Slopes(), loss=breaks)
    assert [line["iteration"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_is_not_resumed_with_another_loss(tmp_path: Path) -> None:
    train(config(tmp_path / "run"), dataset=Slopes(), loss=absolute)
    resumed = config(tmp_path / "run", resume=True)
    with pytest.raises(DepthFormerError, match=r"loss .*absolute, now of the options"):
        train(resumed, dataset=Slopes())
    with pytest.raises(DepthFormerError, match=r"augment of the options, now .*crop"):
        train(resumed, dataset=Slopes(), loss=absolute, augment=crop)


def narrow(rgb: Array, depth: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    width = int(rng.integers(32, 65))
    return rgb[:32, :width], depth[:32, :width]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"dataset": Pairs()}, DatasetError, r"Pairs\[0\] must be a Frame, got tuple"),
        ({"dataset": []}, DepthFormerError, "dataset list is empty"),
        (
            {"augment": lambda rgb, depth, _: (rgb[:32], depth)},
            DatasetError,
            r"0.png: the augmentation must return an image \(h, w, 3\) and depth \(h, w\), got "
            r"\(32, 96, 3\) and \(48, 96\)",
        ),
        ({"augment": narrow}, DatasetError, "the augmentation must give all images one size, got"),
    ],
    ids=["no frame", "empty", "two sizes", "changing size"],
)
def test_what_does_not_fit_is_named(
    given: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train(config(tmp_path / "run"), **({"dataset": Slopes()} | given))


def test_the_start_of_another_loss_is_refused(tmp_path: Path) -> None:
    settings = config(tmp_path / "run")
    settings = dataclasses.replace(
        settings, optim=dataclasses.replace(settings.optim, loss="silog", mean_only=2)
    )
    with pytest.raises(DepthFormerError, match="mean_only 2 belongs to the loss silog"):
        train(settings, dataset=Slopes(), loss=absolute)


def test_a_validation_is_asked_for(tmp_path: Path) -> None:
    settings = config(tmp_path / "run", val=ValidationData(every=2))
    with pytest.raises(DepthFormerError, match="needs validation="):
        train(settings, dataset=Slopes())
    assert not (tmp_path / "run").exists()


def test_reading_processes_run_the_users_code(tmp_path: Path) -> None:
    alone, shared = config(tmp_path / "alone"), config(tmp_path / "shared")
    shared = dataclasses.replace(shared, data=dataclasses.replace(shared.data, workers=2))
    losses: Callable[[Path], list[Any]] = lambda folder: lines(folder, "loss")  # noqa: E731
    for settings in (alone, shared):
        train(settings, dataset=Slopes(), augment=crop)
    assert losses(tmp_path / "alone") == losses(tmp_path / "shared")
