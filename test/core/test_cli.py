"""The command `depthformer`."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tyro
from commands import fail
from PIL import Image

from depthformer_core import PRESETS, DepthPredictor
from depthformer_core.bags import BagReader
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.cli import _COMMANDS, main
from depthformer_core.cli.benchmark import BenchmarkOptions
from depthformer_core.cli.benchmark_training import BenchmarkTrainingOptions
from depthformer_core.cli.predict import find_images
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, CLOUD_TOPIC, IMAGE_TOPIC
from depthformer_core.errors import DepthFormerError
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
) -> None:
    places = {"tmp": str(tmp_path), "images": str(images)}
    given = [word.format(**places) for word in arguments]
    if "--checkpoint" not in given:
        given += ["--checkpoint", "debug"]
    text = fail("predict", *given, "--output", tmp_path / "out")
    assert any(part in text for part in message.format(**places).split("|")), text


def test_two_images_of_one_name_are_refused(images: Path) -> None:
    (images / "a.png").write_bytes((images / "b.png").read_bytes())
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would be written"):
        find_images((str(images),))


def test_links_are_named_and_placed_as_links(images: Path, tmp_path: Path) -> None:
    """As git-annex, DVC and caches make them: targets elsewhere, with names that say nothing."""
    store = tmp_path / "store"
    images.rename(store)
    (store / "b.png").rename(store / "SHA256E-s1--b")
    for folder, name, target in (
        ("in/left", "frame_1.png", "SHA256E-s1--b"),
        ("in/left", "frame_2.png", "SHA256E-s1--b"),
        ("in/right", "frame_1.jpg", "a.jpg"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).symlink_to(store / target)
    (tmp_path / "linked").symlink_to(tmp_path / "in" / "left")
    found = find_images((str(tmp_path / "linked"), str(tmp_path / "in" / "right" / "*")))
    assert [path.relative_to(tmp_path.resolve()).as_posix() for path in found] == [
        *("linked/frame_1.png", "linked/frame_2.png", "in/right/frame_1.jpg"),
    ]
    output = tmp_path / "out"
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", output)
    run("predict", tmp_path / "in" / "left", tmp_path / "in" / "right", *options)
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*.npy")) == [
        *("left/frame_1_depth.npy", "left/frame_2_depth.npy", "right/frame_1_depth.npy"),
    ]


def test_names_of_one_link_and_its_folder_are_one_image(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (images / "link.png").symlink_to("b.png")
    monkeypatch.chdir(images)
    names = ("link.png", "./link.png", str(images / "link.png"), "../images/link.png")
    assert len(find_images(names)) == 1
    assert [path.name for path in find_images(("b.png", "link.png"))] == ["b.png", "link.png"]


@pytest.mark.parametrize("target", ["gone", "c.png", "deep/gone.png"])
@pytest.mark.parametrize("source", ["folder", "glob", "file"])
def test_links_that_lead_nowhere_are_named(images: Path, target: str, source: str) -> None:
    (images / "c.png").symlink_to(target)
    pattern = {"folder": images, "glob": images / "*.png", "file": images / "c.png"}[source]
    with pytest.raises(ValueError, match=rf"c\.png is a link that leads nowhere: to {target}$"):
        find_images((str(pattern),))


def test_hidden_files_are_passed_over(images: Path) -> None:
    for name in ("._b.png", ".DS_Store", "Thumbs.db", ".hidden.jpg"):
        (images / name).write_bytes(b"\0\5\x16\7")
    (images / ".#c.png").symlink_to("somebody@somewhere")
    (images / "C.PNG").write_bytes((images / "b.png").read_bytes())
    for pattern in (images, images / "*"):
        assert [path.name for path in find_images((str(pattern),))] == ["C.PNG", "a.jpg", "b.png"]


@pytest.mark.parametrize(
    "name",
    ["a#b?c%20 d.png", "Straße 🚗.png", "two\nlines.png", "bild\udce9.png", "<b>&amp;.png",
     "x" * 241 + ".png", "🚗" * 60 + ".png"],
    ids=["signs", "emoji", "line feed", "Latin-1", "markup", "long", "long emoji"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["folder", "file"])
def test_names_that_people_have(images: Path, tmp_path: Path, name: str, way: str) -> None:
    try:
        (images / "b.png").rename(images / name)
    except OSError as error:
        pytest.skip(f"no such name here: {error}")
    (images / "a.jpg").unlink()
    output = tmp_path / "out"
    given = [str(images if way == "folder" else images / name), "--output", str(output)]
    main(["predict", *given, "--checkpoint", "debug", "--device", "cpu"])
    stem = name.removesuffix(".png")
    assert sorted(path.name for path in output.iterdir()) == sorted(
        stem + end for end in ("_depth.png", "_depth.npy", "_color.png")
    )


def no_network(*_: object, **__: object) -> None:
    raise AssertionError("the network is built")


def test_names_too_long_for_the_file_system_show_first(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DepthPredictor, "from_checkpoint", no_network)
    name = "x" * 250 + ".png"
    (images / "b.png").rename(images / name)
    text = fail("predict", images, "--output", tmp_path / "out")
    assert text.startswith(f"depthformer: cannot write {tmp_path}/out/xxx")
    assert text.endswith("x_depth.png: File name too long")
    assert not list((tmp_path / "out").iterdir())


def test_outputs_that_cannot_be_written_show_first(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DepthPredictor, "from_checkpoint", no_network)
    output = tmp_path / "out"
    output.write_text("a file")
    assert str(output) in fail("predict", images, "--output", output)
    assert output.read_text() == "a file"
    folder = tmp_path / "other" / "b_depth.npy"
    folder.mkdir(parents=True)
    text = fail("predict", images, "--output", tmp_path / "other")
    assert f"cannot write {folder}: it is a folder" in text


@pytest.mark.parametrize("known", [False, True], ids=["unknown camera", "intrinsics"])
def test_photos_are_turned_upright_unless_their_camera_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: bool
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    stored = np.kron(rng.integers(0, 256, (4, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    turn = Image.Exif()
    turn[0x0112] = 6  # a quarter turn to the right
    for name, exif in (("a.png", None), ("b.png", turn), ("c.png", turn)):
        Image.fromarray(stored).save(photos / name, **({"exif": exif} if exif else {}))
    output = tmp_path / "out"
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", output)
    run("predict", photos, *options, *(("--intrinsics", 50, 50, 32, 16) if known else ()))
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu")
    upright = stored if known else np.ascontiguousarray(np.rot90(stored, -1))
    for name, rgb in (("a", stored), ("b", upright), ("c", upright)):
        depth = np.load(output / f"{name}_depth.npy")
        assert depth.shape == rgb.shape[:2]
        np.testing.assert_array_equal(depth, predictor.predict(rgb).depth)
    said = capsys.readouterr().err
    given = "b.png is to be turned" if known else "b.png is turned upright"
    assert said.count("EXIF") == said.count(given) == 1


def test_upright_photos_are_not_mentioned(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--checkpoint", "debug", "--device", "cpu", "--output", tmp_path / "out")
    run("predict", images, *options)
    assert "EXIF" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminal_of_plain_letters_is_no_reason_to_fail(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "Tiefe für 🚗"
    command = [sys.executable, "-m", "depthformer_core.cli", "predict", images, "--output", output]
    done = subprocess.run(
        [*command, "--checkpoint", "debug", "--device", "cpu"],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        check=True,
    )
    assert rb"Wrote the depth of 2 images to" in done.stdout
    assert rb"Tiefe f\xfcr \U0001f697" in done.stdout
    assert len(list(output.iterdir())) == 6


def test_kitti_bag_says_what_the_drive_lacks(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = tmp_path / "2011_09_26"
    shutil.copytree(samples / "kitti_raw" / "2011_09_26", day)
    drive = day / "2011_09_26_drive_0052_sync"
    (drive / "velodyne_points" / "data" / "0000000003.bin").unlink()
    run("kitti-bag", drive, tmp_path / "bag")
    said = capsys.readouterr().err
    assert f"1 of 12 frames of {drive} have no scan: the first is 0000000003.\n" in said
    with BagReader(tmp_path / "bag") as bag:
        assert bag.topics[CLOUD_TOPIC].count == 11


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


def test_kitti_bag_names_a_missing_drive(tmp_path: Path) -> None:
    drive = tmp_path / "2011_09_26_drive_0001_sync"
    assert f"{drive} does not exist" in fail("kitti-bag", drive, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


@pytest.mark.slow
def test_benchmark_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    arguments = ("--size", 32, 64, "--runs", 1, "--device", "cpu", "--precision", "float32")
    run("benchmark", "debug", *arguments, "--output", output)
    printed = capsys.readouterr().out
    assert "| debug | float32 | grid_sample |" in printed
    figures = json.loads(output.read_text())
    assert figures["machine"]["cpu"] in printed
    assert figures["results"][0]["preset"] == "debug"


def test_benchmark_names_an_unknown_preset() -> None:
    assert "no preset 'huge'" in fail("benchmark", "huge")


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
        "for given in [[], *([name] for name in _COMMANDS), ['train', 'small']]:\n"
        "    try:\n        main([*given, '--help'])\n    except SystemExit:\n"
        "        assert 'torch' not in sys.modules, given"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ((), ("paint",), ("--paint",)):
        with pytest.raises(SystemExit) as caught:
            run(*given)
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
    assert [given[0] for given in asked] == ["benchmark", "benchmark-training"]
    for given in asked:
        kinds = {"benchmark": BenchmarkOptions, "benchmark-training": BenchmarkTrainingOptions}
        options = tyro.cli(kinds[given[0]], args=given[1:])
        assert options.device == "cuda"
        assert set(options.presets) <= set(PRESETS)


def test_a_fault_of_the_program_is_no_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_options: object) -> None:
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr("depthformer_core.cli.doctor.doctor", fail)
    with pytest.raises(ValueError, match="broadcast"):
        main(["doctor"])


def test_traceback_shows_where_an_error_is(tmp_path: Path) -> None:
    given = ["convert", str(tmp_path / "none.pth"), str(tmp_path / "new.safetensors")]
    with pytest.raises(SystemExit, match=r"depthformer: no checkpoint at .*none\.pth"):
        main(given)
    with pytest.raises(DepthFormerError, match="no checkpoint at"):
        main([*given, "--traceback"])
