"""Whole training runs, through the command, in processes of their own."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import fail
from safetensors import safe_open
from training_runs import (
    ITERATIONS,
    TIMEOUT,
    environment,
    lines,
    options,
    run,
    start,
    write_pairs,
)

from depthformer_core.checkpoint import load_checkpoint, save_checkpoint
from depthformer_core.cli import main
from depthformer_core.data.augment import Augmentation
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.data.open import open_dataset
from depthformer_core.training import TrainingData, ValidationData, train, training_preset
from depthformer_core.training.batches import Batch
from depthformer_core.training.trainer import Step, Trainer


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with pairs to train and to evaluate on."""
    root = tmp_path_factory.mktemp("pairs")
    write_pairs(root)
    return root


@pytest.fixture(scope="module")
def alone(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    output = tmp_path_factory.mktemp("alone") / "run"
    run(options(pairs, output))
    return output


def test_writes_networks_log_and_description(alone: Path) -> None:
    losses = lines(alone, "loss")
    assert len(losses) == ITERATIONS
    evaluations = lines(alone, "evaluation")
    assert len(evaluations) == 2
    model = load_checkpoint(alone / "model.safetensors")
    assert model.config.crop == "none"
    load_checkpoint(alone / "best.safetensors")
    description = json.loads((alone / "run.json").read_text())
    assert description["config"]["optim"]["batch_size"] == 4
    assert description["versions"]["torch"]
    assert list(alone.glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_two_processes_compute_what_one_does(pairs: Path, alone: Path, tmp_path: Path) -> None:
    output_text = run(options(pairs, tmp_path / "run"), processes=2)
    assert "deprecated" not in output_text
    assert lines(tmp_path / "run", "loss") == pytest.approx(lines(alone, "loss"), abs=1e-4)
    for mine, theirs in zip(
        lines(tmp_path / "run", "evaluation"), lines(alone, "evaluation"), strict=True
    ):
        assert mine == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
def test_without_synchronisation_each_process_has_its_own_statistics(
    pairs: Path, alone: Path, tmp_path: Path
) -> None:
    output_text = run(options(pairs, tmp_path / "run", "--optim.no-sync-batch-norm"), processes=2)
    assert "deprecated" not in output_text
    assert lines(tmp_path / "run", "loss") != pytest.approx(lines(alone, "loss"), abs=1e-4)
    best = min(line["abs_rel"] for line in lines(tmp_path / "run", "evaluation"))
    # The statistics evaluated with are those written.
    assert evaluated(tmp_path / "run", pairs, tmp_path)["abs_rel"] == pytest.approx(best, rel=1e-4)


def evaluated(run_folder: Path, pairs: Path, output: Path) -> dict[str, float]:
    """Metrics of `depthformer evaluate` for a run's best network."""
    data = ("--data.root", pairs / "val", "--data.name", "folder", "--data.depth-scale", 1000)
    best = run_folder / "best.safetensors"
    arguments = (
        "evaluate",
        best,
        *data,
        "--flip",
        "--device",
        "cpu",
        "--output",
        output / "evaluated",
    )
    main([str(argument) for argument in arguments])
    results = json.loads((output / "evaluated" / "results.json").read_text())
    mean: dict[str, float] = results["mean"]
    return mean


@pytest.mark.slow
@pytest.mark.parametrize("more", [("--optim.ema-decay", 0.0), ()], ids=["weights", "EMA"])
def test_a_runs_own_evaluation_is_that_of_the_command(
    more: tuple[object, ...], pairs: Path, tmp_path: Path
) -> None:
    main(options(pairs, tmp_path / "run", "--precision", "bfloat16", *more))
    best = min(lines(tmp_path / "run", "evaluation"), key=lambda mean: mean["abs_rel"])
    assert evaluated(tmp_path / "run", pairs, tmp_path) == pytest.approx(best, rel=1e-4)


def test_evaluations_without_truth_are_no_best(pairs: Path, tmp_path: Path) -> None:
    arguments = options(pairs, tmp_path / "run", "--val.max-depth", 0.01, "--optim.iterations", 3)
    main(arguments)
    assert [line["abs_rel"] for line in lines(tmp_path / "run", "evaluation")] == [None]
    assert not (tmp_path / "run" / "best.safetensors").exists()
    with safe_open(tmp_path / "run" / "state.safetensors", framework="pt") as file:
        assert '"best": null' in str(file.metadata())


def test_images_without_truth_are_counted(
    pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for part, names in (("train", "012345"), ("val", "012")):
        listed = [f"rgb/{name}.png depth/{name}.png" for name in names]
        (tmp_path / part).write_text("\n".join([*listed[1:], "rgb/0.png None", ""]))
    splits = ("--data.split", tmp_path / "train", "--val.split", tmp_path / "val")
    main(options(pairs, tmp_path / "run", "--optim.iterations", 1, *splits))
    output_text = "".join(capfd.readouterr())
    assert "6 images listed, 5 with truth, to train on" in output_text
    assert "3 images listed, 2 with truth, to evaluate on" in output_text


def test_datasets_of_ones_own_are_mixed(pairs: Path, tmp_path: Path) -> None:
    """As docs/training.md shows it."""
    config = training_preset("debug", root=pairs)
    config = replace(
        config,
        data=TrainingData(name="folder", root=pairs, workers=0),
        augment=Augmentation(border="none", size=(32, 48)),
        val=ValidationData(every=0),
        optim=replace(config.optim, iterations=3, batch_size=4, warm_up=0),
        device="cpu",
        output=tmp_path / "run",
    )
    train_part, val_part = (
        open_dataset("folder", pairs / part, part="train", depth_scale=1000)
        for part in ("train", "val")
    )
    model = train(config, dataset=MixedDataset([train_part, val_part], weights=[0.5, 0.5]))
    assert model.is_file()
    assert len(lines(tmp_path / "run", "loss")) == 3


def wait_for_state(process: "subprocess.Popen[str]", output: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not (output / "state.safetensors").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no state was written"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_is_as_never_stopped(
    number: signal.Signals, pairs: Path, alone: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    process = start(options(pairs, output, "--save-every", 2))
    wait_for_state(process, output)
    # A terminal's Ctrl-C and a service manager's SIGTERM reach the reading processes too.
    os.killpg(process.pid, number)
    output_text, _ = process.communicate(timeout=TIMEOUT)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number, output_text
        assert f"stopped by {number.name} after iteration" in output_text
    assert len(lines(output, "loss")) < ITERATIONS, "the run ended before the signal"
    run(options(pairs, output, "--resume"))
    for kind in ("loss", "evaluation"):
        assert lines(output, kind) == lines(alone, kind)
    # The EMA of the weights.
    resumed, expected = (
        load_checkpoint(folder / "model.safetensors") for folder in (output, alone)
    )
    for name, tensor in expected.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_a_reading_process_that_ends_does_not_cut_an_iteration_off(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal to the whole group ends it in the middle of a step; its state is kept."""
    handlers = []

    def step(self: Trainer, batches: Sequence[Batch]) -> Step:
        handlers.append(signal.getsignal(signal.SIGCHLD))
        return original(self, batches)

    original = Trainer.step
    monkeypatch.setattr(Trainer, "step", step)
    before = signal.getsignal(signal.SIGCHLD)
    main(options(pairs, tmp_path / "run", "--optim.iterations", 2, "--val.every", 0))
    assert handlers == [signal.SIG_DFL] * 2
    assert signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL or before == signal.SIG_DFL


@pytest.mark.slow
def test_an_evaluation_that_is_cut_off_is_done_on_resume(pairs: Path, tmp_path: Path) -> None:
    for kind in ("rgb", "depth"):
        (tmp_path / "val" / kind).mkdir(parents=True)
        for index in range(400):
            source = pairs / "val" / kind / f"{index % 3}.png"
            shutil.copy(source, tmp_path / "val" / kind / f"{index}.png")
    output = tmp_path / "run"
    few = ("--optim.iterations", 2, "--val.every", 1, "--val.root", tmp_path / "val")
    process = start(options(pairs, output, *few))
    deadline = time.monotonic() + TIMEOUT
    while not (output / "metrics.jsonl").exists() or not lines(output, "loss"):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no iteration was done"
        time.sleep(0.01)
    process.terminate()
    output_text, _ = process.communicate(timeout=TIMEOUT)
    assert "stopped by SIGTERM after iteration 1" in output_text
    assert lines(output, "evaluation") == []
    run(options(pairs, output, *few, "--resume"))
    assert len(lines(output, "loss")) == len(lines(output, "evaluation")) == 2


@pytest.mark.slow
def test_a_full_disk_keeps_the_state_before(pairs: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    output = tmp_path / "run"
    few = ("--optim.iterations", 2, "--val.every", 0)
    run(options(pairs, output, *few))
    state = output / "state.safetensors"
    before = state.read_bytes()
    more = options(pairs, output, *few, "--resume")
    (output / "model.safetensors").unlink()
    limit = len(before) // 10

    def halve() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    # Done already, so that nothing but the network is left to write.
    process = subprocess.run(
        [sys.executable, "-m", "depthformer_core.cli", *more],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        preexec_fn=halve,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    assert "cannot write checkpoint" in process.stderr
    assert state.read_bytes() == before
    assert not (output / "model.safetensors").exists()
    assert not list(output.glob(".*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data.root", "/nowhere"), "/nowhere"),
        (("--data.split", "/nowhere/list.txt"), "/nowhere/list.txt"),
        (("--augment.size", 480, 640), "0.png: image of 64x48"),
        (("--weights", "nothing.safetensors"), "no checkpoint at nothing.safetensors"),
        (("--weights", "imagenet"), "ImageNet"),
        (("--resume",), "no run to resume"),
        (("--device", "tpu"), "device must be"),
        (("--augment.size", 32, 32, "--optim.batch-size", 1), "take a larger --augment.size"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_one_line_before_anything_is_written(
    more: tuple[object, ...],
    message: str,
    pairs: Path,
    tmp_path: Path,
) -> None:
    assert message in fail(*options(pairs, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


def test_images_trained_on_are_not_evaluated_on(pairs: Path, tmp_path: Path) -> None:
    same = ("--val.root", pairs / "train")
    assert "6 of the 6 images to evaluate on are trained on" in fail(
        *options(pairs, tmp_path / "run", *same)
    )


def test_a_run_is_neither_overwritten_nor_resumed_with_other_options(
    pairs: Path, alone: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(alone, output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    assert "holds a run already" in fail(*options(pairs, output))
    other = options(pairs, output, "--resume", "--optim.lr", 0.1)
    assert "--optim.lr 0.0005, now 0.1" in fail(*other)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b'{"config": ', b'{"Stra\xdfe": 1}'],
                         ids=["empty", "half", "Latin-1"])  # fmt: skip
def test_a_damaged_description_is_named_on_resume(
    content: bytes, pairs: Path, alone: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(alone, output)
    (output / "run.json").write_bytes(content)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    text = fail(*options(pairs, output, "--resume"))
    assert f"cannot read description {output / 'run.json'}: " in text
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_damaged_image_is_named_and_the_state_kept(pairs: Path, tmp_path: Path) -> None:
    root = tmp_path / "train"
    shutil.copytree(pairs / "train", root)
    damaged = root / "rgb" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    arguments = options(pairs, tmp_path / "run", "--data.root", root)
    assert str(damaged) in fail(*arguments)
    assert (tmp_path / "run" / "state.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("skip", [False, True])
def test_images_without_truth_stop_the_run_unless_skipped(
    skip: bool, pairs: Path, tmp_path: Path
) -> None:
    root = tmp_path / "train"
    for kind in ("rgb", "depth"):
        (root / kind).mkdir(parents=True)
        shutil.copy(pairs / "train" / kind / "0.png", root / kind)
    assert cv2.imwrite(str(root / "depth" / "0.png"), np.zeros((48, 64), np.uint16))
    arguments = options(pairs, tmp_path / "run", "--data.root", root, "--val.every", 0)
    if skip:
        main([*arguments, "--skip-nonfinite"])
        assert len(lines(tmp_path / "run", "skipped")) == ITERATIONS
        load_checkpoint(tmp_path / "run" / "model.safetensors")
    else:
        assert "iteration 1: loss nan, gradient norm" in fail(*arguments)
        assert (tmp_path / "run" / "state.safetensors").exists()


def test_goes_on_from_a_checkpoint(pairs: Path, alone: Path, tmp_path: Path) -> None:
    """A rate of almost zero keeps the initial weights."""
    start_from = ("--weights", alone / "model.safetensors")
    still = ("--optim.iterations", 1, "--optim.lr", 1e-12, "--optim.weight-decay", 0.0)
    main(options(pairs, tmp_path / "run", *start_from, *still))
    before = load_checkpoint(alone / "model.safetensors")
    after = load_checkpoint(tmp_path / "run" / "model.safetensors")
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        np.testing.assert_allclose(new.detach(), old.detach(), atol=1e-9, err_msg=name)
    another = options(pairs, tmp_path / "other", *start_from, "--model.hahi-points", 3)
    assert "another network: hahi_points is 2, wanted 3" in fail(*another)


def test_an_upsampling_can_be_learnt_later(pairs: Path, alone: Path, tmp_path: Path) -> None:
    convex = ("--model.upsampling", "convex", "--optim.iterations", 1)
    main(options(pairs, tmp_path / "run", "--weights", alone / "model.safetensors", *convex))
    learnt = tmp_path / "run" / "model.safetensors"
    assert load_checkpoint(learnt).config.upsampling == "convex"
    back = options(pairs, tmp_path / "other", "--weights", learnt)
    assert "another network: upsampling is convex, wanted bilinear" in fail(*back)


@pytest.mark.slow
def test_a_dead_network_stops_the_run_and_keeps_the_state_before(
    pairs: Path, alone: Path, tmp_path: Path
) -> None:
    model = load_checkpoint(alone / "model.safetensors")
    assert model.head.bias is not None
    model.head.bias.data.fill_(-1e4)
    save_checkpoint(tmp_path / "dead.safetensors", model)
    arguments = options(pairs, tmp_path / "run", "--weights", tmp_path / "dead.safetensors")
    arguments += ["--optim.iterations", "100", "--val.every", "0", "--save-every", "10"]
    output = run(arguments, code=1)
    assert "the network has died: no gradient since iteration 1, loss" in output
    assert "lower --optim.lr than" in output
    assert len(lines(tmp_path / "run", "loss")) == 50
    assert not (tmp_path / "run" / "state.safetensors").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_a_run_that_ends_while_dead_keeps_the_state_before(
    number: signal.Signals | None,
    pairs: Path,
    alone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A state is written, the network dies, and a signal or the last iteration comes."""
    model = load_checkpoint(alone / "model.safetensors")
    assert model.head.bias is not None
    model.head.bias.data.fill_(-1e4)
    save_checkpoint(tmp_path / "dead.safetensors", model)
    output = tmp_path / "run"
    state = output / "state.safetensors"

    def note(*_: object, **__: object) -> None:
        if not state.exists():
            state.write_bytes(b"of before")
        elif number is not None:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("depthformer_core.training.log.RunLog.step", note)
    arguments = options(
        pairs, output, "--weights", tmp_path / "dead.safetensors", "--save-every", 1
    )
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--val.every", "0"])
    output_text = f"{caught.value.code}{capsys.readouterr().err}"
    if number is None:
        assert "has died: no gradient since iteration 1" in output_text
    else:
        assert caught.value.code == 128 + number
        assert (
            f"stopped by {number.name} after iteration 2, without a gradient since" in output_text
        )
    assert state.read_bytes() == b"of before"
    assert not (output / "model.safetensors").exists()
