"""`depthformer calibrate`, and the commands that apply its result."""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import fail

from depthformer_core import DepthPredictor, Prediction
from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.calibration.calibration_file import (
    DepthCalibration,
    read_calibration,
    same_camera,
    write_calibration,
)
from depthformer_core.cli import main
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay import network
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.synthetic import Drive, street_camera, write_bag
from depthformer_core.types import Rgb

CAMERA = street_camera(208, 64, focal=120.8)
CPU = ("--device", "cpu")
INTRINSICS = ("--intrinsics", CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
# Rows and columns of the first image with flat surroundings.
PLACES = ((62, 100), (50, 100), (44, 100), (40, 100), (37, 100))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of a generated drive with depth and a LiDAR."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(13, frames=8, camera=CAMERA, rate=0.5), path)
    return path


def know(bag: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any]) -> None:
    """Let the network know the exact depth of the drive, made wrong by a function."""
    exact = {item.frame.rgb.tobytes(): item.frame.depth for item in BagFrames(bag)}

    def predict(_: DepthPredictor, rgb: Rgb, _camera: Camera | None = None) -> Prediction:
        depth = exact[rgb.tobytes()]
        assert depth is not None
        known = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
        return Prediction(wrong(known).astype(np.float32), None)

    monkeypatch.setattr(DepthPredictor, "predict", predict)


@pytest.fixture
def bent(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bend the network's depth by 1.3 x + 0.5 m."""
    know(bag, monkeypatch, lambda depth: 1.3 * depth + 0.5)


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def calibration(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of the drive's camera by its height, which is said to be half of what it is."""
    file = tmp_path_factory.mktemp("calibrations") / "front.yaml"
    run("calibrate", bag, "--camera-height", 0.8, *CPU, "--output", file)
    return file


@pytest.mark.parametrize("truth", ["lidar", "depth"])
@pytest.mark.usefixtures("bent")
def test_bent_depth_by_measured_depth(
    bag: Path, tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    run("calibrate", bag, "--truth", truth, *CPU, "--output", file)
    found = read_calibration(file)
    assert found.correction.kind == "factor and offset"
    depth = np.linspace(7, 60, 50, dtype=np.float32)
    assert found.correction.apply(1.3 * depth + np.float32(0.5)) == pytest.approx(depth, rel=0.02)
    assert same_camera(found.camera, CAMERA)
    assert (found.checkpoint, found.figures.images) == ("small", 8)
    assert found.figures.abs_rel_after is not None
    assert found.figures.abs_rel_after < 0.1 * found.figures.abs_rel_before
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "factor and offset" in shown
    assert f"{found.figures.abs_rel_before:.4f}" in shown


@pytest.mark.usefixtures("bent")
def test_bent_depth_by_five_distances(bag: Path, tmp_path: Path) -> None:
    exact = next(iter(BagFrames(bag))).frame.depth
    assert exact is not None
    distances = [
        item
        for row, column in PLACES
        for item in ("--distance", row, column, round(float(exact[row, column]), 2))
    ]
    file = tmp_path / "c.yaml"
    # The first image alone: the camera stands still.
    run("calibrate", bag, *distances, "--images", 1, *CPU, "--output", file)
    found = read_calibration(file)
    assert found.correction.kind == "factor and offset"
    depth = np.linspace(exact[62, 100], exact[37, 100], 50, dtype=np.float32)
    assert found.correction.apply(1.3 * depth + np.float32(0.5)) == pytest.approx(depth, rel=0.05)
    assert found.figures.pairs == 5


def test_nothing_to_correct_writes_nothing(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    know(bag, monkeypatch, lambda depth: depth * np.exp(0.1 * rng.normal(size=depth.shape)))
    file = tmp_path / "c.yaml"
    line = fail("calibrate", bag, *CPU, "--output", file)
    assert "no correction helps beyond chance" in line
    assert "nothing was written" in line
    assert not list(tmp_path.iterdir())


def test_by_the_height_of_the_camera(calibration: Path) -> None:
    found = read_calibration(calibration)
    assert found.correction.corrected == pytest.approx((0.8 / 1.65,), rel=0.2)
    assert found.figures.abs_rel_after is None


def test_images_instead_of_a_bag(bag: Path, tmp_path: Path) -> None:
    rgb = next(iter(BagFrames(bag))).frame.rgb
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), rgb[..., ::-1])
    predicted = DepthPredictor.from_checkpoint(device="cpu").predict(rgb, CAMERA).depth[50, 100]
    file = tmp_path / "c.yaml"
    distance = ("--distance", 50, 100, round(2 * float(predicted), 2))
    run("calibrate", image, *distance, *INTRINSICS, *CPU, "--output", file)
    assert read_calibration(file).correction.corrected == pytest.approx((2.0,), rel=0.05)
    assert "images have no truth" in fail("calibrate", image, *INTRINSICS, *CPU)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(("--images", 0), "--images must be positive, got 0", id="images"),
        pytest.param(("--max-depth", 0), "--max-depth must be positive", id="depth"),
        pytest.param(
            ("--distance", 3, 3, 5, "--camera-height", 1), "two ways: take one", id="both ways"
        ),
        pytest.param(("--calibration", "a.yaml"), "--calibration is applied elsewhere", id="own"),
        pytest.param(("--distance", 3, 3, -5), "positive metres, got 3 3 -5", id="distance"),
        pytest.param(("--distance", 64, 3, 5), "row 64, column 3 is outside", id="outside"),
        pytest.param(("--camera-height", 0), "must be positive, got 0 m", id="height"),
        pytest.param(("--checkpoint", "debug"), "debug has random weights", id="random"),
        pytest.param(("--truth", "none"), "--distance or --camera-height", id="no truth"),
        pytest.param(("--images", 4), "4 images have .* needs 5 or more", id="few"),
        pytest.param(("--output", "."), "--output must be a file", id="folder"),
    ],
)
def test_options_that_make_no_sense(
    bag: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    line = fail("calibrate", bag, *CPU, "--output", tmp_path / "c.yaml", *options)
    assert re.search(message, line), line
    assert not list(tmp_path.iterdir())


def test_a_bag_without_camera_info(bag: Path, tmp_path: Path) -> None:
    with BagReader(bag) as reader, BagWriter(tmp_path / "bag") as writer:
        for item in reader.messages(
            [topic for topic in reader.topics if topic != CAMERA_INFO_TOPIC]
        ):
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
    line = fail("calibrate", tmp_path / "bag", "--truth", "depth", *CPU)
    assert "camera of image" in line
    assert "needs camera_info" in line


# What applies a calibration.


def other_camera(file: Path, target: Path) -> DepthCalibration:
    """A calibration of a camera with another lens."""

    found = read_calibration(file)
    other = dataclasses.replace(found, camera=dataclasses.replace(found.camera, fx=150.0, fy=150.0))
    write_calibration(target, other)
    return other


@pytest.mark.slow
def test_replay_applies_it(bag: Path, calibration: Path, tmp_path: Path) -> None:
    options = ("--truth", "depth", *CPU, "--output")
    run("replay", bag, *options, tmp_path / "before")
    run("replay", bag, "--calibration", calibration, *options, tmp_path / "after")
    before, after = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("before", "after")
    )
    factor = read_calibration(calibration).correction.corrected[0]
    assert after["figures"]["scale"] == pytest.approx(factor * before["figures"]["scale"], rel=0.01)
    assert after["about"]["Calibration"] == str(calibration)
    assert "Calibration" not in before["about"]


def test_predict_applies_it(bag: Path, calibration: Path, tmp_path: Path) -> None:
    rgb = next(iter(BagFrames(bag))).frame.rgb
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1])
    run("predict", tmp_path / "a.png", *CPU, *INTRINSICS, "--output", tmp_path / "before")
    options = ("--calibration", calibration, *CPU, *INTRINSICS)
    run("predict", tmp_path / "a.png", *options, "--output", tmp_path / "after")
    before, after = (np.load(tmp_path / name / "a_depth.npy") for name in ("before", "after"))
    factor = read_calibration(calibration).correction.corrected[0]
    assert after == pytest.approx(factor * before, nan_ok=True, rel=1e-5)


def test_every_command_refuses_another_camera(bag: Path, calibration: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    other_camera(calibration, file)
    apply = ("--calibration", file, *CPU, "--output", tmp_path / "out")
    wrong = "calibration is for a camera of 208x64 pixels with fx 150.0"
    line = fail("replay", bag, "--truth", "depth", *apply)
    assert wrong in line
    assert "the image is of a camera of 208x64 pixels with fx 120.8" in line
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 208, 3), 90, np.uint8))
    assert wrong in fail("predict", tmp_path / "a.png", *INTRINSICS, *apply)
    assert "give its --intrinsics" in fail("predict", tmp_path / "a.png", *apply)
    evaluated = fail("evaluate", "small", "--data.name", "synthetic", *apply)
    assert wrong in evaluated
    if importlib.util.find_spec("rclpy"):
        assert wrong in fail("replay", bag, "--node", "--truth", "depth", *apply)


def test_every_command_refuses_another_checkpoint(
    bag: Path, calibration: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 208, 3), 90, np.uint8))
    apply = ("--calibration", calibration, *CPU, "--output", tmp_path / "out")
    other = ("--checkpoint", "small_kitti")
    wrong = "calibration is for the checkpoint small, the network is small_kitti"
    assert wrong in fail("replay", bag, *other, *apply)
    assert wrong in fail("predict", tmp_path / "a.png", *INTRINSICS, *other, *apply)
    assert wrong in fail("evaluate", "small_kitti", "--data.name", "synthetic", *apply)


def test_another_way_to_read_the_images_is_refused(bag: Path, calibration: Path) -> None:
    apply = ("--calibration", calibration, *CPU)
    line = fail("replay", bag, "--truth", "depth", "--flip", *apply)
    assert "for flip False, the network has flip True" in line


def test_a_missing_file(bag: Path, tmp_path: Path) -> None:
    network.load_network.cache_clear()
    line = fail("replay", bag, "--calibration", tmp_path / "none.yaml", *CPU)
    assert "cannot read calibration" in line


def test_recorded_depth_alone_and_running_nodes_take_none(bag: Path, calibration: Path) -> None:
    apply = ("--calibration", calibration)
    line = fail("replay", bag, "--prediction-topic", "/a", *apply)
    assert "calibration are the network's" in line
    assert "has depth.calibration" in fail("replay", bag, "--node", "--attach", *apply)


@pytest.mark.slow
def test_several_drives(bag: Path, calibration: Path, tmp_path: Path) -> None:
    """With --resume, another calibration is another job."""
    options = ("--truth", "depth", *CPU, "--jobs", 1, "--output", tmp_path, "--resume")
    with BagReader(bag) as reader, BagWriter(tmp_path / "b") as writer:
        for item in reader.messages():
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
    run("replay", bag, tmp_path / "b", *options)
    scales = [_scale(tmp_path / name) for name in ("drive", "b")]
    run("replay", bag, tmp_path / "b", "--calibration", calibration, *options)
    factor = read_calibration(calibration).correction.corrected[0]
    for name, scale in zip(("drive", "b"), scales, strict=True):
        assert _scale(tmp_path / name) == pytest.approx(factor * scale, rel=0.01)


def _scale(folder: Path) -> float:
    value = json.loads((folder / "results.json").read_text())["figures"]["scale"]
    return float(value)
