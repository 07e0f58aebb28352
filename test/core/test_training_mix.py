"""Runs on several datasets."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from training_runs import run

from depthformer_core.data.augment import Augmentation
from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.mixed import MixedDataset, open_mix
from depthformer_core.data.open import open_dataset
from depthformer_core.training import (
    TrainingConfig,
    TrainingData,
    ValidationData,
    train,
    training_preset,
)

FIRST = "{name: folder, root: streets, depth_scale: 1000, weight: 0.75}"
SECOND = "{name: folder, root: real, depth_scale: 500, weight: 0.25}"


def write_pairs(root: Path, name: str, images: int, *, size: tuple[int, int] = (48, 64)) -> None:
    rng = np.random.default_rng(images)
    for kind in ("rgb", "depth"):
        (root / name / kind).mkdir(parents=True)
    for index in range(images):
        picture = rng.integers(0, 255, (*size, 3), np.uint8)
        assert cv2.imwrite(str(root / name / "rgb" / f"{name}{index}.png"), picture)
        depth = rng.integers(1000, 20000, size, np.uint16)
        assert cv2.imwrite(str(root / name / "depth" / f"{name}{index}.png"), depth)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mix of six images and two, these with cameras, three other images, and a mix of them."""
    folder = tmp_path_factory.mktemp("mix")
    for name, images in (("streets", 6), ("real", 2), ("val", 3)):
        write_pairs(folder, name, images)
    rows = [f"real{index},700,700,32,24,64,48" for index in range(2)]
    header = "name,fx,fy,cx,cy,width,height"
    (folder / "real" / "frames.csv").write_text("\n".join([header, *rows, ""]))
    mix(folder, FIRST, SECOND)
    return folder


def mix(folder: Path, *entries: str, name: str = "mix.yaml") -> Path:
    path = folder / name
    path.write_text("".join(f"- {entry}\n" for entry in entries))
    return path


def config_of(path: Path, output: Path, **changes: Any) -> TrainingConfig:
    config = training_preset("debug")
    return replace(
        config,
        data=replace(config.data, mix=path, workers=0),
        augment=Augmentation(border="none", size=(32, 48)),
        val=ValidationData(every=0),
        optim=replace(config.optim, iterations=2, batch_size=4, warm_up=0),
        device="cpu",
        output=output,
        **changes,
    )


def lines(output: Path) -> list[Any]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two iterations, a pass over the mix."""
    output = tmp_path_factory.mktemp("done") / "run"
    train(config_of(root / "mix.yaml", output))
    return output


def resumed(done: Path, output: Path, change: Callable[[TrainingConfig], TrainingConfig]) -> Path:
    """Go on with a copy of the run, for one more iteration on request."""
    shutil.copytree(done, output)
    before = json.loads((output / "run.json").read_text())
    before["config"]["optim"]["iterations"] = 3
    (output / "run.json").write_text(json.dumps(before))
    config = config_of(Path(before["config"]["data"]["mix"]), output, resume=True)
    train(change(replace(config, optim=replace(config.optim, iterations=3))))
    return output


def test_a_pass_holds_each_dataset_by_its_share(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images that a run reads are counted."""
    read: list[str] = []
    of_a_mix = MixedDataset.__getitem__

    def getitem(self: MixedDataset, index: int) -> Any:
        frame = of_a_mix(self, index)
        assert (frame.camera is not None) == frame.file.startswith("real")
        read.append(frame.file)
        return frame

    monkeypatch.setattr(MixedDataset, "__getitem__", getitem)
    path = mix(root, FIRST, SECOND.replace("0.25", "0.75"), name="equal.yaml")
    config = config_of(path, tmp_path / "run")
    train(replace(config, optim=replace(config.optim, iterations=3)))  # of four images
    assert Counter(read) == {
        **{f"streets{index}.png": 1 for index in range(6)},
        **{f"real{index}.png": 3 for index in range(2)},
    }


def test_the_run_describes_what_was_mixed(root: Path, done: Path) -> None:
    run = json.loads((done / "run.json").read_text())
    assert run["config"]["data"]["mix"] == str(root / "mix.yaml")
    assert (run["data"]["name"], run["data"]["images"]) == ("mixed", 8)
    first, second = run["data"]["parts"]
    assert first.pop("files_sha256") != second.pop("files_sha256")
    assert first == {
        "name": "folder",
        "images": 6,
        "weight": 0.75,
        "root": str(root / "streets"),
        "split": None,
        "depth_scale": 1000,
    }
    assert (second["root"], second["images"], second["weight"]) == (str(root / "real"), 2, 0.25)


@pytest.mark.slow
def test_the_command_takes_a_mix(root: Path, tmp_path: Path) -> None:
    arguments: list[object] = [
        *("train", "debug", "--data.mix", root / "mix.yaml", "--data.workers", 1),
        *("--val.name", "folder", "--val.root", root / "val", "--val.depth-scale", 1000),
        *("--augment.border", "none", "--augment.size", 32, 48, "--model.crop", "none"),
        *("--optim.iterations", 1, "--optim.batch-size", 4, "--device", "cpu"),
        *("--output", tmp_path / "run"),
    ]
    output = run([str(argument) for argument in arguments])
    assert "8 images a pass (6 of folder streets, 2 of folder real), to train on" in output
    assert "3 images, to evaluate on" in output
    assert any("evaluation" in line for line in lines(tmp_path / "run"))


def test_the_same_mix_is_resumed_wherever_it_lies(root: Path, done: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)

    def elsewhere(config: TrainingConfig) -> TrainingConfig:
        return replace(config, data=replace(config.data, mix=moved / "mix.yaml"))

    for name, change in (("here", lambda config: config), ("there", elsewhere)):
        output = resumed(done, tmp_path / name, change)
        assert sum("loss" in line for line in lines(output)) == 3


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((FIRST,), "training data: mixed (folder, folder), now mixed (folder)"),
        (
            (FIRST, SECOND.replace("0.25", "0.5")),
            "options: dataset 2 of the mix: weight 0.25, now 0.5",
        ),
        (
            (FIRST.replace("1000", "256"), SECOND),
            "options: dataset 1 of the mix: depth_scale 1000.0, now 256.0",
        ),
        ((FIRST, SECOND.replace("real", "val")), "dataset 2 of the mix: images 2, now 3"),
        (
            (FIRST, SECOND.replace("root: real", "root: streets, split: two.txt")),
            "dataset 2 of the mix: images of other names",
        ),
        ((FIRST, "{name: synthetic, weight: 0.25}"), "dataset 2 of the mix: folder, now synthetic"),
        ((SECOND, FIRST), "dataset 1 of the mix: weight 0.75, now 0.25"),
    ],
    ids=["fewer", "weight", "depth_scale", "images", "names", "kind", "order"],
)
def test_another_mix_is_not_resumed(
    entries: tuple[str, ...], message: str, root: Path, done: Path, tmp_path: Path
) -> None:
    names = [f"rgb/streets{index}.png depth/streets{index}.png\n" for index in range(2)]
    (root / "two.txt").write_text("".join(names))
    other = mix(root, *entries, name="other.yaml")
    with pytest.raises(ValueError, match="was begun with other options") as caught:
        resumed(
            done,
            tmp_path / "run",
            lambda config: replace(config, data=replace(config.data, mix=other)),
        )
    assert message in str(caught.value)
    assert len(lines(tmp_path / "run")) == len(lines(done))


def test_a_mix_is_not_resumed_with_one_dataset(root: Path, done: Path, tmp_path: Path) -> None:
    data = TrainingData(name="folder", root=root / "streets", depth_scale=1000, workers=0)
    with pytest.raises(ValueError, match=r"training data: mixed \(folder, folder\), now folder"):
        resumed(done, tmp_path / "run", lambda config: replace(config, data=data))


@pytest.mark.slow
def test_datasets_from_python_are_described_and_compared(root: Path, tmp_path: Path) -> None:
    def opened(name: str) -> DepthDataset:
        return open_dataset("folder", root / name, part="train", depth_scale=1000)

    config = config_of(root / "mix.yaml", tmp_path / "run")
    config = replace(config, data=TrainingData(name="folder", root=root, workers=0))
    datasets = [opened("streets"), opened("val")]
    train(config, dataset=MixedDataset(datasets, [3, 1]))
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert [(part["name"], part["images"], part["weight"]) for part in data["parts"]] == [
        ("folder", 6, 3),
        ("folder", 3, 1),
    ]
    again = replace(config, resume=True)
    for other, message in (
        (MixedDataset(datasets, [3, 2]), r"dataset 2 of the mix: weight 1\.0, now 2\.0"),
        (opened("val"), r"training data: mixed \(folder, folder\), now folder"),
    ):
        with pytest.raises(ValueError, match=message):
            train(again, dataset=other)
    train(again, dataset=MixedDataset(datasets, [3, 1]))


def test_another_dataset_from_python_is_not_resumed(root: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path, "other", 6)
    config = config_of(root / "mix.yaml", tmp_path / "run")
    config = replace(config, data=TrainingData(name="folder", root=root, workers=0))
    of = {
        name: open_dataset("folder", folder / name, part="train", depth_scale=1000)
        for name, folder in (("streets", root), ("val", root), ("other", tmp_path))
    }
    train(config, dataset=of["streets"])
    for name, message in (("val", "images 6, now 3"), ("other", "images of other names")):
        with pytest.raises(ValueError, match=f"training data: {message}"):
            train(replace(config, resume=True), dataset=of[name])


def test_a_run_without_a_description_of_its_data_is_resumed(done: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(done, older)
    run = json.loads((older / "run.json").read_text())
    del run["data"], run["config"]["data"]["mix"]
    (older / "run.json").write_text(json.dumps(run))
    mixed = json.loads((done / "run.json").read_text())["config"]["data"]["mix"]
    train(config_of(Path(mixed), older, resume=True))


@pytest.mark.parametrize(
    ("option", "value"), [("root", Path("x")), ("split", Path("x.txt")), ("depth_scale", 256.0)]
)
def test_a_dataset_beside_a_mix_is_refused(option: str, value: object, root: Path) -> None:
    data = TrainingData(name="folder", mix=root / "mix.yaml")
    with pytest.raises(ValueError, match=f"data.{option} {value} cannot be combined with data.mix"):
        replace(data, **{option: value}).open()  # type: ignore[arg-type]


def test_what_to_evaluate_on_must_be_named(root: Path) -> None:
    data = TrainingData(name="folder", mix=root / "mix.yaml")
    assert ValidationData(every=0).open(data) is None
    for given, message in (
        ({}, r"val\.name and val\.root must name"),
        ({"name": "folder"}, r"^val\.root must name"),
        ({"root": root / "val"}, r"^val\.name must name"),
    ):
        with pytest.raises(ValueError, match=message):
            ValidationData(**given).open(data)
    generated = ValidationData(name="synthetic").open(data)
    assert generated is not None
    assert generated.name == "synthetic"


def test_images_of_a_mix_are_not_evaluated_on(root: Path, tmp_path: Path) -> None:
    val = ValidationData(name="folder", root=root / "val" / ".." / "real", depth_scale=500)
    config = replace(config_of(root / "mix.yaml", tmp_path / "run"), val=val)
    with pytest.raises(ValueError, match="2 of the 2 images to evaluate on are trained on"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_an_image_of_each_dataset_is_tried(root: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path, "small", 1, size=(20, 20))
    small = SECOND.replace("real", str(tmp_path / "small"))
    path = mix(root, FIRST, small, name="with_small.yaml")
    with pytest.raises(ValueError, match=r"small0\.png: image of 20x20"):
        train(config_of(path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_mix_of_the_documentation_is_one(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    (tmp_path / "mix.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    for name in ("streets", "real"):
        write_pairs(tmp_path, name, 2)
    assert len(open_mix(tmp_path / "mix.yaml")) == 7
