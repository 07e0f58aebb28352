"""The command `depthformer evaluate`."""

import csv
import dataclasses
import html
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import fail

from depthformer_core import PRESETS, create_model
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.cli import main
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.evaluation import METRICS
from depthformer_core.paths import printable


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def write_pair(image: Path, depth: Path, *, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    write_png(image, rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    truth = rng.uniform(1, 7, (64, 96)).astype(np.float32)
    truth[::2] = 0
    write_depth_png(depth, truth, scale=scale)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with depth in millimetres."""
    root = tmp_path / "pairs"
    for seed in (0, 1):
        write_pair(
            root / "rgb" / f"{seed}.png", root / "depth" / f"{seed}.png", seed=seed, scale=1000
        )
    return root


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """The files of KITTI's server: validation frames with truth, test images without."""
    root = tmp_path / "depth_selection"
    val = root / "val_selection_cropped"
    name = "2011_09_26_drive_0002_sync_{}_0000000005_image_02.png"
    write_pair(
        val / "image" / name.format("image"),
        val / "groundtruth_depth" / name.format("groundtruth_depth"),
        seed=0,
        scale=256,
    )
    test = root / "test_depth_prediction_anonymous"
    for seed in (0, 1):
        picture = np.random.default_rng(seed).integers(0, 256, (352, 1216, 3), dtype=np.uint8)
        write_png(test / "image" / f"{seed:010d}.png", picture)
    intrinsics = "721.5 0 600.0 0 721.5 150.0 0 0 1\n"
    for image in root.glob("*/image/*.png"):
        path = image.parent.parent / "intrinsics" / f"{image.stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(intrinsics)
    return root


def test_evaluate_prints_and_writes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    data = ("--data.root", folder, "--data.name", "folder", "--data.depth-scale", 1000)
    run("evaluate", "debug", *data, "--device", "cpu", "--output", output)
    assert sorted(path.name for path in output.iterdir()) == [
        "per_image.csv",
        "report.html",
        "results.json",
    ]
    results = json.loads((output / "results.json").read_text())
    assert set(results["mean"]) == set(METRICS)
    assert [row["file"] for row in results["per_image"]] == ["0.png", "1.png"]
    assert results["per_image"][0]["pixels"] == 32 * 96
    assert results["protocol"]["mask"] == "none"
    assert results["about"]["Checkpoint"] == "debug"
    assert len(list(csv.DictReader((output / "per_image.csv").open()))) == 2
    assert "random weights" in (output / "report.html").read_text()
    captured = capsys.readouterr()
    assert "random weights: its depth means nothing" in captured.err
    assert f"{results['mean']['abs_rel']:.4f}" in captured.out
    assert "20-40" in captured.out
    assert str(output) in captured.out


NAMES = ("bild\udce9", "two\nlines", "<script>alert(1)", '🚗, "ü"', "x" * 200)


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """Images whose names are no UTF-8, of several lines, markup, or very long."""
    root = tmp_path / "daten_\udcff_<b>"
    try:
        for seed, name in enumerate(NAMES):
            image, depth = (root / folder / f"{name}.png" for folder in ("rgb", "depth"))
            write_pair(image, depth, seed=seed, scale=1000)
    except OSError as error:
        pytest.skip(f"no such name here: {error}")
    return root


def check_odd_names(output: Path) -> None:
    wanted = sorted(printable(f"{name}.png") for name in NAMES)
    assert r"bild\udce9.png" in wanted
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert sorted(row["file"] for row in results["per_image"]) == wanted
    assert r"daten_\udcff_<b>" in results["about"]["Data"]
    with (output / "per_image.csv").open(newline="", encoding="utf-8") as file:
        assert sorted(row["file"] for row in csv.DictReader(file)) == wanted
    page = (output / "report.html").read_text(encoding="utf-8")
    assert all(html.escape(name, quote=False).replace('"', "&#34;") in page for name in wanted)
    assert "<script>alert" not in page
    assert r"daten_\udcff_&lt;b&gt;" in page


def test_no_result_is_lost_for_the_name_of_a_file(
    odd_names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out_\udcff"
    given = ["--data.name", "folder", "--data.depth-scale", "1000", "--device", "cpu"]
    main(["evaluate", "debug", "--data.root", str(odd_names), *given, "--output", str(output)])
    check_odd_names(output)
    assert rf"to {tmp_path}/out_\udcff" in capsys.readouterr().out


@pytest.mark.slow
def test_results_are_written_whatever_the_terminal_takes(odd_names: Path, tmp_path: Path) -> None:
    """Plain letters alone, and then nothing at all: a pipe whose other end is gone."""
    output = tmp_path / "Auswertung für 🚗"
    given = ["--data.name", "folder", "--data.depth-scale", "1000", "--device", "cpu"]
    given = ["evaluate", "debug", "--data.root", odd_names, *given, "--output", output]
    command = [sys.executable, "-m", "depthformer_core.cli", *given]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    check_odd_names(output)
    assert rb"to " + str(tmp_path).encode() + rb"/Auswertung f\xfcr \U0001f697" in done.stdout
    shutil.rmtree(output)
    reader, writer = os.pipe()
    os.close(reader)
    subprocess.run(command, stdout=writer, stderr=subprocess.DEVNULL, check=False)
    os.close(writer)
    check_odd_names(output)


def test_what_a_dataset_left_out_is_said_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = tmp_path / "2011_09_26"
    drive = day / "2011_09_26_drive_0009_sync"
    for folder in ("image_02", "velodyne_points"):
        (drive / folder / "data").mkdir(parents=True)
    for frame in range(3):
        picture = np.random.default_rng(frame).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        write_png(drive / "image_02" / "data" / f"{frame:010d}.png", picture)
        if frame != 1:
            scan = np.array([[10, 0, 0, 0.5]], "<f4")
            scan.tofile(drive / "velodyne_points" / "data" / f"{frame:010d}.bin")
    times = [f"2011-09-26 13:02:25.{frame}" for frame in range(3)]
    (drive / "image_02" / "timestamps.txt").write_text("\n".join(times))
    times[1] = ""
    (drive / "velodyne_points" / "timestamps.txt").write_text("\n".join(times))
    (day / "calib_cam_to_cam.txt").write_text(
        "R_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: 80 0 48 0 0 80 32 0 0 0 1 0\n"
    )
    (day / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")
    given = (
        "--data.root",
        tmp_path,
        "--data.name",
        "kitti_raw",
        "--device",
        "cpu",
        "--mask",
        "none",
    )
    run("evaluate", "debug", *given, "--crop", "none", "--output", tmp_path / "out")
    note = (
        "1 frames lack their image, scan or time and are skipped: the first is "
        "2011_09_26_drive_0009_sync, frame 0000000001."
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert note in results["warnings"]
    assert results["images"] == 2
    assert capsys.readouterr().err.count(note) == 1


@pytest.mark.slow
def test_mask_range_and_flip_are_options(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "trained.safetensors"
    save_checkpoint(checkpoint, create_model("debug"))
    data = ("--data.root", folder, "--data.name", "folder", "--data.depth-scale", 1000)
    means = {}
    for name, options in {
        "plain": (),
        "flip": ("--flip",),
        "near": ("--max-depth", 3),
        "garg": ("--mask", "garg"),
    }.items():
        output = tmp_path / name
        run("evaluate", checkpoint, *data, "--device", "cpu", "--output", output, *options)
        results = json.loads((output / "results.json").read_text())
        means[name] = results["mean"]["abs_rel"]
        assert results["warnings"] == []
    assert results["protocol"]["mask"] == "garg"
    assert len(set(means.values())) == 4


@pytest.mark.slow
def test_numbers_are_computed_in_float32_unless_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("depthformer_core.device.computes_in_bfloat16", lambda _: True)
    data = ("--data.root", folder, "--data.name", "folder", "--data.depth-scale", 1000)
    for options, precision in (((), "float32"), (("--precision", "auto"), "bfloat16")):
        output = tmp_path / precision
        run("evaluate", "debug", *data, "--device", "cpu", "--output", output, *options)
        about = json.loads((output / "results.json").read_text())["about"]
        assert about["Device"] == f"cpu, {precision}"


@pytest.mark.slow
def test_images_of_sun_rgbd_are_not_resized(tmp_path: Path) -> None:
    """As in the release, though their focal lengths are known and differ from NYU's."""
    root = tmp_path / "sun"
    write_pair(root / "scene/image/a.png", root / "scene/depth/a.png", seed=0, scale=1000)
    (root / "scene/intrinsics.txt").write_text("80 0 48 0 80 32 0 0 1\n")
    checkpoint = tmp_path / "knowing.safetensors"
    known = {"focal_length": 160.0, "image_width": 96, "max_depth": 10.0, "crop": "none"}
    save_checkpoint(checkpoint, create_model(dataclasses.replace(PRESETS["debug"], **known)))
    given = (
        "evaluate",
        checkpoint,
        "--data.root",
        root,
        "--data.name",
        "sunrgbd",
        "--mask",
        "none",
    )
    means = {}
    for name, options in {
        "usual": (),
        "none": ("--focal", "none"),
        "resize": ("--focal", "resize"),
    }.items():
        output = tmp_path / name
        run(*given, "--device", "cpu", "--output", output, *options)
        results = json.loads((output / "results.json").read_text())
        means[name] = results["mean"]["abs_rel"]
        assert results["about"]["Focal length"] == ("resize" if name == "resize" else "none")
    assert means["usual"] == means["none"] != means["resize"]


def test_images_without_truth_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = tmp_path / "list.txt"
    split.write_text("rgb/0.png depth/0.png\nrgb/1.png None\n\n")
    data = ("--data.root", folder, "--data.name", "folder", "--data.depth-scale", 1000)
    output = tmp_path / "out"
    run("evaluate", "debug", *data, "--data.split", split, "--device", "cpu", "--output", output)
    assert "2 images listed, 1 with truth, " in capsys.readouterr().out
    about = json.loads((output / "results.json").read_text())["about"]
    assert about["Images"] == f"{split}: 2 images listed, 1 with truth"


@pytest.mark.slow
def test_the_crop_is_an_option(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large = tmp_path / "large"
    write_png(large / "rgb/a.png", rng.integers(0, 256, (360, 1220, 3), dtype=np.uint8))
    write_depth_png(large / "depth/a.png", np.full((360, 1220), 5, np.float32), scale=1000)
    data = ("--data.root", large, "--data.name", "folder", "--data.depth-scale", 1000)
    for crop in ("kitti", "none", "auto"):
        output = tmp_path / crop
        run("evaluate", "debug", *data, "--device", "cpu", "--output", output, "--crop", crop)
        results = json.loads((output / "results.json").read_text())
        assert results["protocol"]["crop"] == ("kitti" if crop == "kitti" else "none")
        # What the network leaves out is seen unless it is cropped first.
        row = results["per_image"][0]
        assert row["pixels"] == 352 * 1216
        assert (row["coverage"] == 1) == (crop == "kitti")


def test_the_servers_own_errors_are_printed(
    benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data.root", benchmark, "--data.name", "kitti_benchmark", "--data.part", "val")
    run("evaluate", "debug", *data, "--device", "cpu", "--output", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["kitti_benchmark"]) == {"silog", "sq_error_rel", "abs_error_rel", "irmse"}
    assert "KITTI benchmark" in capsys.readouterr().out


def test_submission(benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data.root", benchmark, "--data.name", "kitti_benchmark")
    output = tmp_path / "submission"
    run("evaluate", "debug", *data, "--device", "cpu", "--submission", output)
    names = ["0000000000.png", "0000000001.png"]
    with zipfile.ZipFile(output / "submission.zip") as files:
        assert files.namelist() == names
    steps = cv2.imread(str(output / names[0]), cv2.IMREAD_UNCHANGED)
    assert steps is not None
    assert steps.shape == (352, 1216)
    assert steps.min() > 0
    assert "submission.zip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("debug", "--data.root", "{tmp}/nowhere"), "{tmp}/nowhere"),
        (("{tmp}/none.safetensors", "--data.root", "{tmp}"), "no checkpoint at {tmp}/none"),
        (("debug", "--data.root", "{tmp}", "--max-depth", "-1"), "got 0.001 and -1"),
        (("debug", "--data.root", "{tmp}", "--submission", "{tmp}/s"), "got kitti_eigen test"),
        (
            ("swin_tiny_nyu", "--data.root", "{tmp}", "--data.depth-scale", "5"),
            "depth_scale is for",
        ),
    ],
    ids=["root", "checkpoint", "max depth", "submission", "depth scale"],
)
def test_evaluate_fails_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    given = [word.format(tmp=tmp_path) for word in arguments]
    text = fail("evaluate", *given, "--device", "cpu", "--output", tmp_path / "out")
    assert message.format(tmp=tmp_path) in text
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_shows_first(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("a file")
    data = ("--data.root", folder, "--data.name", "folder", "--data.depth-scale", 1000)
    assert str(output) in fail("evaluate", "debug", *data, "--device", "cpu", "--output", output)
    assert output.read_text() == "a file"


def test_the_test_set_has_no_truth(benchmark: Path, tmp_path: Path) -> None:
    data = ("--data.root", benchmark, "--data.name", "kitti_benchmark")
    text = fail("evaluate", "debug", *data, "--device", "cpu", "--output", tmp_path / "out")
    assert "take --data.part val, or --submission DIR" in text


def test_help_explains(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("evaluate", "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--data.root", "--data.split", "--mask", "--max-depth", "--flip"):
        assert option in text
