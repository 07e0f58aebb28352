"""The command `depthformer`."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tyro

from depthformer_core import PRESETS, DepthPredictor
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.cli import _COMMANDS, main
from depthformer_core.cli.benchmark import BenchmarkOptions
from depthformer_core.cli.benchmark_training import BenchmarkTrainingOptions
from depthformer_core.cli.predict import find_images
from depthformer_core.data.bag import BagReader
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, CLOUD_TOPIC, IMAGE_TOPIC
from depthformer_core.models import DepthFormer


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two images and a stranger."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.jpg"):
        picture = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), picture)
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def fail(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert isinstance(caught.value.code, str), capsys.readouterr()
    return caught.value.code


@pytest.mark.parametrize("source", ["folder", "glob", "files"])
def test_predict_writes_every_form(
    images: Path, tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = {
        "folder": [images],
        "glob": [images / "*.??g"],
        "files": [images / "a.jpg", images / "b.png"],
    }[source]
    output = tmp_path / "out"
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", output)
    run("predict", *inputs, *options, "--ply", "--intrinsics", 50, 50, 30, 20)
    assert sorted(path.name for path in output.iterdir()) == sorted(
        name + end
        for name in ("a", "b")
        for end in ("_depth.png", "_depth.npy", "_color.png", ".ply")
    )
    depth = np.load(output / "b_depth.npy")
    image = cv2.imread(str(images / "b.png"))
    assert image is not None
    rgb = np.ascontiguousarray(image[..., ::-1])
    expected = DepthPredictor.from_checkpoint("debug", device="cpu").predict(rgb).depth
    np.testing.assert_array_equal(depth, expected)
    png = cv2.imread(str(output / "b_depth.png"), cv2.IMREAD_UNCHANGED)
    assert png is not None
    assert png.dtype == np.uint16
    np.testing.assert_allclose(png / 1000, depth, atol=5.1e-4)
    header = (output / "b.ply").read_bytes()[:200]
    assert header.startswith(b"ply\n")
    assert b"element vertex 2400\n" in header
    captured = capsys.readouterr()
    assert "random weights: its depth means nothing" in captured.err
    assert "2 images" in captured.out


def test_predict_can_write_kitti_depth(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", output, "--flip")
    run("predict", images / "b.png", *options, "--depth-png", "kitti")
    png = cv2.imread(str(output / "b_depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(png / 256, np.load(output / "b_depth.npy"), atol=2e-3)


def test_equal_names_in_two_folders_stay_apart(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.mkdir()
    (other / "b.png").write_bytes((images / "b.png").read_bytes())
    output = tmp_path / "out"
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", output)
    run("predict", images, other, *options)
    assert (output / "images" / "b_depth.npy").is_file()
    assert (output / "others" / "b_depth.npy").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name images, folders of images"),
        (("{tmp}/nothing.png",), "no image at {tmp}/nothing.png"),
        (("{tmp}/*.bmp",), "no image at"),
        (("{images}/notes.txt",), "cannot|no image|not an image"),
        (("{images}", "--ply"), "--ply needs the camera"),
        (("{images}", "--checkpoint", "none.safetensors"), "no checkpoint at none.safetensors"),
        (("{images}", "--device", "tpu"), "got 'tpu'"),
    ],
    ids=["none", "missing", "empty glob", "text", "no intrinsics", "no checkpoint", "device"],
)
def test_predict_fails_in_one_line(
    images: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"tmp": str(tmp_path), "images": str(images)}
    words = [word.format(**places) for word in arguments]
    if "--checkpoint" not in words:
        words += ["--checkpoint", "debug"]
    text = fail(capsys, "predict", *words, "--output", tmp_path / "out")
    assert "\n" not in text
    assert any(part in text for part in message.format(**places).split("|")), text


def test_two_images_of_one_name_are_refused(images: Path) -> None:
    (images / "a.png").write_bytes((images / "b.png").read_bytes())
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would be written"):
        find_images((str(images),))


def test_an_image_named_twice_is_read_once(images: Path) -> None:
    found = find_images((str(images), str(images / "a.jpg")))
    assert [path.name for path in found] == ["a.jpg", "b.png"]


def test_predict_takes_the_camera_into_account(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(PRESETS["debug"], focal_length=40.0, image_width=60, crop="none")
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_checkpoint(checkpoint, DepthFormer(config))
    depths = {}
    for name, options in {
        "assumed": (),
        "same": ("--intrinsics", 40, 40, 30, 20),
        "longer": ("--intrinsics", 80, 80, 30, 20),
        "scaled": ("--intrinsics", 80, 80, 30, 20, "--focal", "scale"),
    }.items():
        output = tmp_path / name
        common = ("--checkpoint", checkpoint, "--device", "cpu", "--output", output)
        run("predict", images / "b.png", *common, *options)
        depths[name] = np.load(output / "b_depth.npy")
        assumes = "Taking the images to be 74 degrees wide" in capsys.readouterr().err
        assert assumes == (name == "assumed")
    np.testing.assert_array_equal(depths["assumed"], depths["same"])
    np.testing.assert_allclose(depths["scaled"], 2 * depths["same"], rtol=1e-6)
    assert not np.allclose(depths["longer"], depths["same"])


def test_default_says_once_what_it_is(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("predict", images, "--device", "cpu", "--output", tmp_path / "out")
    assert capsys.readouterr().err.count("trained on generated streets alone") == 1


def test_kitti_bag_turns_a_drive_into_a_bag(samples: Path, tmp_path: Path) -> None:
    drive = samples / "kitti_raw/2011_09_26/2011_09_26_drive_0052_sync"
    run("kitti-bag", drive, tmp_path / "bag", "--storage", "sqlite3")
    with BagReader(tmp_path / "bag") as bag:
        counts = {name: topic.count for name, topic in bag.topics.items()}
    assert counts == {IMAGE_TOPIC: 12, CAMERA_INFO_TOPIC: 12, CLOUD_TOPIC: 12, "/tf_static": 1}


def test_kitti_bag_names_a_missing_drive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = tmp_path / "2011_09_26_drive_0001_sync"
    assert f"{drive} does not exist" in fail(capsys, "kitti-bag", drive, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_benchmark_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    arguments = ("--size", 32, 64, "--runs", 1, "--device", "cpu", "--precision", "float32")
    run("benchmark", "debug", *arguments, "--output", output)
    printed = capsys.readouterr().out
    assert "| debug | float32 | grid_sample |" in printed
    figures = json.loads(output.read_text())
    assert figures["machine"]["cpu"] in printed
    assert figures["results"][0]["preset"] == "debug"


def test_benchmark_names_an_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no preset 'huge'" in fail(capsys, "benchmark", "huge")


@pytest.mark.parametrize("command", _COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(command, "--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"depthformer {command}" in shown
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    assert f"    {command}" in capsys.readouterr().out


def test_help_does_not_import_pytorch() -> None:
    """It takes seconds."""
    code = (
        "import sys\nfrom depthformer_core.cli import _COMMANDS, main\n"
        "for words in [[], *([name] for name in _COMMANDS), ['train', 'small']]:\n"
        "    try:\n        main([*words, '--help'])\n    except SystemExit:\n"
        "        assert 'torch' not in sys.modules, words"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("paint",), ("--paint",)):
        with pytest.raises(SystemExit) as caught:
            run(*words)
        assert caught.value.code == 2
    assert "invalid choice: 'paint'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("depthformer_ros ")


def test_what_make_gpu_asks_for_exists(repository: Path) -> None:
    """It runs where no test does."""
    lines = (repository / "Makefile").read_text().partition("\ngpu:")[2].partition("\n\n")[0]
    asked = [line.split()[1:] for line in lines.splitlines() if "depthformer " in line]
    assert [words[0] for words in asked] == ["benchmark", "benchmark-training"]
    for words in asked:
        kinds = {"benchmark": BenchmarkOptions, "benchmark-training": BenchmarkTrainingOptions}
        options = tyro.cli(kinds[words[0]], args=words[1:])
        assert options.device == "cuda"
        assert set(options.presets) <= set(PRESETS)
