"""Runs that are repeated, lengthened, and keep several networks."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import fail
from training_runs import ITERATIONS, lines, options, run, write_pairs

from depthformer_core.checkpoint import load_checkpoint
from depthformer_core.cli import main
from depthformer_core.errors import DepthFormerError
from depthformer_core.training import read_config, train, training_preset
from depthformer_core.training.losses import log_l1_loss
from depthformer_core.training.optimizer import learning_rate
from depthformer_core.training.presets import RECIPES


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with pairs to train and to evaluate on."""
    root = tmp_path_factory.mktemp("pairs")
    write_pairs(root)
    return root


@pytest.fixture(scope="module")
def first(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    output = tmp_path_factory.mktemp("first") / "run"
    main(options(pairs, output, "--seed", 3, "--keep", 2, "--save-every", 2))
    return output


def command(*arguments: object) -> None:
    main(["train", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("named", ["run.json", ""], ids=["file", "folder"])
def test_a_run_is_repeated_from_its_description(
    named: str, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--config", first / named, "--output", tmp_path / "again")
    for kind in ("loss", "gradient_norm", "lr", "evaluation"):
        assert lines(tmp_path / "again", kind) == lines(first, kind)
    mine, theirs = (
        json.loads((folder / "run.json").read_text()) for folder in (tmp_path / "again", first)
    )
    assert mine["config"].pop("output") == str(tmp_path / "again")
    theirs["config"].pop("output")
    assert mine["config"] == theirs["config"]
    assert f"repeats {first / 'run.json'}\n" in capsys.readouterr().out


def test_options_replace_those_of_the_description(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "other"
    changed = ("--optim.lr", 1e-3, "--optim.iterations", 1, "--val.every", 0)
    command(f"--config={first / 'run.json'}", "--output", output, *changed)
    values = json.loads((output / "run.json").read_text())["config"]
    assert values["optim"]["lr"] == 1e-3
    assert values["seed"] == 3
    text = capsys.readouterr().out
    assert "what differs: --optim.iterations 6, now 1; --optim.lr 0.0005, now 0.001" in text


def test_a_repetition_says_what_else_is_not_as_it_was(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = json.loads((first / "run.json").read_text())
    description["versions"]["torch"] = "1.9"
    description["data"]["files_sha256"] = "0"
    description["processes"] = 8
    description["lengthened"] = [{"after": 4, "from": 4, "to": 6}]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(description))
    command("--config", path, "--output", tmp_path / "again", "--optim.iterations", 1)
    text = capsys.readouterr().out
    for part in (
        "training data: images of other names",
        "processes 8, now 1",
        "torch 1.9",
        "lengthened from 4 iterations after 4",
    ):
        assert part in text


@pytest.mark.parametrize("preset", RECIPES)
def test_every_recipe_comes_back_from_its_description(preset: str, tmp_path: Path) -> None:
    config = training_preset(preset, root=Path("/data"))
    config = dataclasses.replace(
        config, imagenet=Path("weights.bin"), optim=dataclasses.replace(config.optim, lr=1)
    )
    values = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"config": values}))
    assert read_config(path) == config


def test_a_description_of_an_older_version_is_read(first: Path, tmp_path: Path) -> None:
    values = json.loads((first / "run.json").read_text())
    for added in ("keep", "compile"):
        del values["config"][added]
    del values["config"]["data"]["cache"]
    del values["own"]
    values["config"]["optim"]["average"] = values["config"]["optim"].pop("ema_decay")
    path = tmp_path / "run.json"
    path.write_text(json.dumps(values))
    assert read_config(path).optim.ema_decay == 0.9
    command("--config", path, "--output", tmp_path / "again")
    assert lines(tmp_path / "again", "loss") == lines(first, "loss")


def change(path: Path, place: str, value: Any) -> None:
    description = json.loads(path.read_text())
    *parents, last = place.split(".")
    target = description
    for name in parents:
        target = target[name]
    target[last] = value
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("config.optim.lr", "fast", "option optim.lr has a wrong value: 'fast'"),
        ("config.optim.lr", True, "option optim.lr has a wrong value: True"),
        ("config.optim.lr", -1.0, "optim.lr must be positive, got -1.0"),
        ("config.optim.rate", 1.0, "unknown option optim.rate"),
        ("config.optim.iterations", 1.5, "option optim.iterations has a wrong value: 1.5"),
        ("config.augment.size", [32], "option augment.size has a wrong value: [32]"),
        ("config.augment.border", "wide", "option augment.border has a wrong value: 'wide'"),
        ("config.val", None, "val must be an object, got None"),
        ("config.model", {}, "missing configuration fields"),
        ("config.model.depths", "2", "configuration field depths has a wrong value"),
        ("config.data.workers", None, "option data.workers has a wrong value: None"),
        ("config", [], "describes no run: it has no config"),
        ("config.optim", 3, "describes no run: its config.optim is not as a run writes it"),
        ("own", ["loss"], "describes no run: its own is not as a run writes it"),
        ("data", {"name": "folder"}, "describes no run: its data is not as a run writes it"),
        ("lengthened", [{"after": 3}], "describes no run: its lengthened is not as a run writes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_description_is_named(
    place: str, value: Any, message: str, first: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    shutil.copy(first / "run.json", path)
    change(path, place, value)
    text = fail("train", "--config", str(path), "--output", str(tmp_path / "again"))
    assert str(path) in text
    assert message in text
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config",), "--config needs the description of a run"),
        (("debug", "--config", "{run}"), "leave the preset debug out"),
        (("--config", "/nowhere/run.json"), "/nowhere/run.json"),
        (("--config", "{run}"), "holds a run already: go on with it by --resume"),
    ],
    ids=["no file", "preset", "missing", "same folder"],
)
def test_a_wrong_command_is_named(arguments: tuple[str, ...], message: str, first: Path) -> None:
    given = [argument.format(run=first / "run.json") for argument in arguments]
    assert message in fail("train", *given)


@pytest.mark.slow
def test_a_run_with_a_loss_of_its_own_is_repeated_in_python_alone(
    first: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    shutil.copy(first / "run.json", path)
    change(path, "own", {"loss": "depthformer_core.training.losses.log_l1_loss"})
    output = tmp_path / "again"
    text = fail("train", "--config", str(path), "--output", str(output))
    assert "loss=depthformer_core.training.losses.log_l1_loss in Python: repeat it there" in text
    config = dataclasses.replace(read_config(path), output=output)
    train(config, loss=log_l1_loss, repeats=path)
    assert lines(output, "loss") == lines(first, "loss")


@pytest.mark.slow
def test_a_finished_run_is_lengthened(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    shutil.copytree(first, output)
    longer = 2 * ITERATIONS
    command("--config", output, "--output", output, "--resume", "--optim.iterations", longer)
    rates = lines(output, "lr")
    assert len(rates) == longer
    assert lines(output, "loss")[:ITERATIONS] == lines(first, "loss")
    optim = read_config(output / "run.json").optim
    for done in range(ITERATIONS, longer):
        expected = learning_rate(done, peak=optim.lr, warm_up=optim.warm_up, iterations=longer)
        assert rates[done] == pytest.approx(expected)
    assert f"lengthened from {ITERATIONS} to {longer} iterations" in capsys.readouterr().out
    history = [{"after": ITERATIONS, "from": ITERATIONS, "to": longer}]
    assert json.loads((output / "run.json").read_text())["lengthened"] == history
    # Its history stays, and it can be lengthened again.
    command("--config", output, "--output", output, "--resume")
    assert json.loads((output / "run.json").read_text())["lengthened"] == history
    more = ("--resume", "--optim.iterations", longer + 1)
    command("--config", output, "--output", output, *more)
    assert len(json.loads((output / "run.json").read_text())["lengthened"]) == 2


@pytest.mark.slow
def test_a_lengthened_run_that_stops_goes_on_as_if_it_had_not(first: Path, tmp_path: Path) -> None:
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    for output in (through, stopped):
        shutil.copytree(first, output)
    longer = ("--resume", "--optim.iterations", 2 * ITERATIONS)
    command("--config", through, "--output", through, *longer)

    def stop(line: dict[str, Any]) -> None:
        if line["iteration"] == ITERATIONS + 3:
            raise RuntimeError("stopped")

    config = dataclasses.replace(read_config(stopped / "run.json"), output=stopped, resume=True)
    optim = dataclasses.replace(config.optim, iterations=2 * ITERATIONS)
    with pytest.raises(RuntimeError, match="stopped"):
        train(dataclasses.replace(config, optim=optim), log=stop)
    command("--config", stopped, "--output", stopped, "--resume")
    assert lines(stopped, "loss") == lines(through, "loss")


def test_a_run_is_not_shortened(first: Path) -> None:
    before = (first / "run.json").read_bytes()
    shorter = ("--resume", "--optim.iterations", "4")
    text = fail("train", "--config", str(first), *shorter)
    assert "--optim.iterations 6, now 4" in text
    assert (first / "run.json").read_bytes() == before


@pytest.mark.slow
def test_the_networks_of_the_last_saves_stay(first: Path, tmp_path: Path) -> None:
    kept = sorted(path.name for path in (first / "checkpoints").iterdir())
    assert kept == ["iteration_000004.safetensors", "iteration_000006.safetensors"]
    last, final = (
        load_checkpoint(first / name).state_dict()
        for name in ("checkpoints/iteration_000006.safetensors", "model.safetensors")
    )
    assert all(torch.equal(last[name], value) for name, value in final.items())
    # A file of someone else's stays, and so does the number of networks on resume.
    output = tmp_path / "run"
    shutil.copytree(first, output)
    (output / "checkpoints" / "notes.txt").write_text("mine")
    more = ("--resume", "--optim.iterations", 8, "--keep", 1)
    command("--config", output, "--output", output, *more)
    kept = sorted(path.name for path in (output / "checkpoints").iterdir())
    assert kept == ["iteration_000008.safetensors", "notes.txt"]
    with pytest.raises(DepthFormerError, match="keep must not be negative"):
        dataclasses.replace(read_config(first / "run.json"), keep=-1)


def test_a_run_ends_with_a_report(first: Path, pairs: Path, tmp_path: Path) -> None:
    report = (first / "report.html").read_text()
    assert "Training" in report
    assert "6 iterations of 4 images" in report
    results = json.loads((first / "results.json").read_text())
    assert results["mean"] == pytest.approx(lines(first, "evaluation")[-1])
    data = ("--data.root", pairs / "val", "--data.name", "folder", "--data.depth-scale", 1000)
    model, output = first / "model.safetensors", tmp_path / "evaluated"
    given = ("evaluate", model, *data, "--flip", "--device", "cpu", "--output", output)
    main([str(argument) for argument in given])
    evaluated = json.loads((output / "results.json").read_text())
    assert evaluated["mean"] == pytest.approx(results["mean"], rel=1e-4)
    assert evaluated["per_image"][0]["file"] == results["per_image"][0]["file"]


def test_a_run_without_an_evaluation_has_no_report(pairs: Path, tmp_path: Path) -> None:
    few = ("--optim.iterations", 1, "--val.every", 0)
    main(options(pairs, tmp_path / "run", *few))
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_processes_write_one_report(first: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    text = run(["train", "--config", str(first), "--output", str(output)], processes=2)
    assert "processes 1, now 2" in text
    results = json.loads((output / "results.json").read_text())
    assert len(results["per_image"]) == 3
    assert results["mean"] == pytest.approx(lines(output, "evaluation")[-1])


def test_read_config_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(DepthFormerError, match="cannot read description"):
        read_config(tmp_path / "run.json")
