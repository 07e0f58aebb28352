"""`depthformer replay`: offline, through the node, compared, gated."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import fail

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.messages import camera_info_message, depth_message, header, image_message
from depthformer_core.cli import main
from depthformer_core.data.kitti import CAMERA_INFO_TOPIC, CLOUD_TOPIC, IMAGE_TOPIC, drive_to_bag
from depthformer_core.device import resolve_precision
from depthformer_core.evaluation import METRICS
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import DEPTH_TRUTH_TOPIC, Drive, write_bag

DEBUG = ("--checkpoint", "debug", "--device", "cpu")
CAMERA = Camera(208, 64, 120.0, 120.0, 102.0, 29.0)

needs_ros = pytest.mark.skipif(
    importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed: no rclpy"
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine frames of a generated drive with depth, a LiDAR and transforms."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(13, frames=9, camera=CAMERA), path)
    return path


def run(bag: Path, output: Path, *options: object) -> dict[str, Any]:
    arguments = ["replay", str(bag), "--checkpoint", "debug", "--device", "cpu"]
    main([*arguments, "--output", str(output), *map(str, options)])
    results: dict[str, Any] = json.loads((output / "results.json").read_text())
    return results


def copy(bag: Path, target: Path, topics: set[str]) -> Path:
    """A bag with some topics of another."""
    with BagReader(bag) as reader, BagWriter(target) as writer:
        for item in reader.messages(sorted(topics)):
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
    return target


@pytest.mark.parametrize("truth", ["depth", pytest.param("lidar", marks=pytest.mark.slow)])
def test_offline(bag: Path, tmp_path: Path, truth: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = run(bag, tmp_path / "out", "--truth", truth)
    assert set(results["mean"]) == set(METRICS)
    assert all(low <= results["mean"][name] <= high for name, (low, high) in
               results["interval"].items())  # fmt: skip
    assert [row["file"] for row in results["per_image"]] == [
        f"1700000000.{k}00000000" for k in range(9)
    ]
    # A scan holds far fewer pixels than an exact depth image.
    share = results["per_image"][0]["pixels"] / (CAMERA.width * CAMERA.height)
    assert (share > 0.3) if truth == "depth" else (0.01 < share < 0.3)
    assert results["latency"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "random weights" in page
    assert IMAGE_TOPIC in page
    assert f"{results['mean']['abs_rel']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_scans_added_up(bag: Path, tmp_path: Path) -> None:
    one = run(bag, tmp_path / "one", "--truth", "lidar")
    five = run(bag, tmp_path / "five", "--truth", "lidar", "--accumulate", 2)
    pixels = [sum(row["pixels"] for row in results["per_image"]) for results in (one, five)]
    assert pixels[1] > 1.2 * pixels[0]
    assert five["about"]["Scans"] == "up to 5 together, by the motion in odom"
    assert "Scans" not in one["about"]


@pytest.mark.slow
@needs_ros
def test_node_in_lockstep_gives_the_same_numbers(bag: Path, tmp_path: Path) -> None:
    offline = run(bag, tmp_path / "offline", "--truth", "lidar")
    node = run(bag, tmp_path / "node", "--truth", "lidar", "--node", "--require", "dropped<=0")
    assert len(node["per_image"]) == len(offline["per_image"]) == 9
    for name, value in offline["mean"].items():
        assert node["mean"][name] == pytest.approx(value, abs=1e-4)
    assert node["latency"]["answered"] == 9
    assert node["latency"]["late"] == 0
    assert 0 < node["latency"]["p50"] <= node["latency"]["max"]
    assert node["about"]["Checkpoint"] == "debug"
    precision = resolve_precision("auto", torch.device("cpu"))
    assert node["about"]["Device"] == f"cpu, {precision}"


@pytest.mark.slow
@needs_ros
@pytest.mark.parametrize("topic", ["/pylon/image_compressed", "/eye/image"])
def test_compressed_images_whatever_their_topic_is_called(tmp_path: Path, topic: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (64, 208, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", rgb)[1].ravel()
    with BagWriter(tmp_path / "bag") as writer:
        for stamp in (10**9, 2 * 10**9):
            info = camera_info_message(CAMERA, stamp=stamp, frame_id="eye")
            image = TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
                header(stamp=stamp, frame_id="eye"), "jpeg", jpeg
            )
            writer.write(f"{topic.rpartition('/')[0]}/camera_info", info, stamp=stamp)
            writer.write(topic, image, stamp=stamp)
    node = run(tmp_path / "bag", tmp_path / "node", "--node", "--timeout", 60)
    assert node["latency"]["answered"] == 2


@pytest.mark.slow
@needs_ros
def test_real_drive_gives_the_same_numbers(samples: Path, tmp_path: Path) -> None:
    drive = samples / "kitti_raw/2011_09_26/2011_09_26_drive_0052_sync"
    drive_to_bag(drive, tmp_path / "bag", frames=3)
    offline = run(tmp_path / "bag", tmp_path / "offline")
    node = run(tmp_path / "bag", tmp_path / "node", "--node")
    assert len(node["per_image"]) == 3
    assert offline["per_image"][0]["pixels"] > 10_000
    for name, value in offline["mean"].items():
        assert node["mean"][name] == pytest.approx(value, abs=1e-4)


@pytest.mark.slow
@needs_ros
def test_realtime_counts_what_became_of_each_frame(bag: Path, tmp_path: Path) -> None:
    options = ("--node", "--mode", "realtime", "--rate", 2, "--clock")
    times = run(bag, tmp_path / "out", *options)["latency"]
    assert times["sent"] == 9 == times["answered"] + times["dropped"]
    assert times["answered"] >= 1


def test_bag_without_truth_still_reports(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = copy(bag, tmp_path / "plain", {IMAGE_TOPIC, CAMERA_INFO_TOPIC})
    results = run(plain, tmp_path / "out")
    assert results["mean"]["abs_rel"] is None
    assert results["seconds_per_image"] > 0
    assert "There is no truth: the bag has no depth images or clouds." in capsys.readouterr().err
    assert "<img" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_requirement_that_does_not_hold_has_its_own_exit_code(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bag, tmp_path / "good", "--require", "abs_rel<1000", "coverage>=1")
    with pytest.raises(SystemExit) as caught:
        run(bag, tmp_path / "bad", "--require", "abs_rel<0.0001", "a1>=0")
    assert caught.value.code == 3
    assert "abs_rel<0.0001 does not hold: it is" in capsys.readouterr().err
    assert (tmp_path / "bad" / "report.html").is_file()


@pytest.mark.slow
def test_two_runs_side_by_side(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bag, tmp_path / "a")
    run(bag, tmp_path / "b", "--flip")
    results = [str(tmp_path / name / "results.json") for name in ("a", "b")]
    main(["replay", "--compare", *results, "--output", str(tmp_path / "compared")])
    comparison = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert set(comparison["metrics"]) == set(METRICS)
    assert "abs_rel" in capsys.readouterr().out
    assert (tmp_path / "compared" / "comparison.html").is_file()


def test_faults_are_one_line(bag: Path, tmp_path: Path) -> None:
    output = ("--output", tmp_path / "out")
    assert "name the bag" in fail("replay", *output)
    assert "does not exist" in fail("replay", tmp_path / "nothing", *output)
    assert "leave" in fail("replay", bag, "--compare", "a.json", "b.json", *output)
    assert "--attach is for --node" in fail("replay", bag, "--attach", *output)
    assert "must be positive, got 0.0" in fail("replay", bag, "--rate", 0, *output)
    assert "use --truth lidar" in fail("replay", bag, "--accumulate", 2, *output)
    assert "must be 0 to 20 scans, got 99" in fail("replay", bag, "--accumulate", 99, *output)
    assert "is not known" in fail("replay", bag, "--require", "speed<3", *output)
    assert "--image-topic /camera" in fail("replay", bag, "--image-topic", "/camera", *output)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), marks=pytest.mark.slow),
        pytest.param(("--truth", "lidar"), marks=pytest.mark.slow),
        ("--truth", "none"),
    ],
)
def test_truth_is_named(
    options: tuple[str, ...], bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bag, tmp_path / "out", *options)
    named = {
        (): f"truth: {DEPTH_TRUTH_TOPIC} (depth images)",
        ("--truth", "lidar"): f"truth: {CLOUD_TOPIC} (LiDAR)",
        ("--truth", "none"): "truth: none, since none is requested",
    }
    assert capsys.readouterr().out.splitlines()[0] == named[options]


@pytest.mark.slow
@needs_ros
def test_recorded_predictions_are_not_counted(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bag recorded with everything while a depth node ran."""
    offline = run(bag, tmp_path / "offline", "--truth", "lidar")
    false = np.full((CAMERA.height, CAMERA.width), 3.0, np.float32)
    with BagReader(bag) as reader, BagWriter(tmp_path / "all") as writer:
        for item in reader.messages():
            if item.topic == DEPTH_TRUTH_TOPIC:
                continue
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
            if item.topic == IMAGE_TOPIC:
                about = item.message().header
                stamp = about.stamp.sec * 10**9 + about.stamp.nanosec
                depth = depth_message(false, stamp=stamp, frame_id=about.frame_id)
                writer.write("/depth/image_rect", depth, stamp=item.stamp)
                now = TYPESTORE.types["builtin_interfaces/msg/Time"](sec=5, nanosec=0)
                clock = TYPESTORE.types["rosgraph_msgs/msg/Clock"](now)
                writer.write("/clock", clock, stamp=item.stamp)
    capsys.readouterr()
    node = run(tmp_path / "all", tmp_path / "node", "--node", "--clock", "--timeout", 120)
    printed = capsys.readouterr()
    assert f"truth: {CLOUD_TOPIC} (LiDAR)" in printed.out
    assert "Ignored, as a depth node publishes them: /depth/image_rect." in printed.err
    assert node["latency"]["answered"] == node["latency"]["sent"] == 9
    for name, value in offline["mean"].items():
        assert node["mean"][name] == pytest.approx(value, abs=1e-4)


def test_home_in_paths(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"{tmp_path}/nothing does not exist" in fail("replay", "~/nothing", "--output", "~/out")
    arguments = ("--checkpoint", "~/a.safetensors", "--device", "cpu", "--output", "~/out")
    assert f"no checkpoint at {tmp_path}/a.safetensors" in fail("replay", bag, *arguments)
    monkeypatch.chdir(tmp_path)
    arguments = ("--checkpoint", "b.safetensors", "--device", "cpu", "--output", "~/out")
    assert f"no checkpoint at {tmp_path}/b.safetensors" in fail("replay", bag, *arguments)
    assert (tmp_path / "out").is_dir()


class Command:
    """`depthformer replay` in a process group of its own, as in a terminal."""

    def __init__(self, log: Path, *arguments: object, **variables: str) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "depthformer_core.cli", *map(str, arguments)],
                cwd=Path(__file__).parents[2],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, check: Callable[[], object]) -> None:
        end = time.monotonic() + 120
        while not check():
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    def interrupt(self, number: int, *, group: bool = True) -> int:
        """Exit code as a shell tells it; nothing of the group may be left."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        code = self.process.wait(60)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        assert "Traceback" not in self.log
        assert "KeyboardInterrupt" not in self.log
        # Python ends by the signal itself where Ctrl-C met code that it was compiling.
        return code if code >= 0 else 128 - code


@pytest.mark.parametrize("moment", ["tyro.", "rosbags", " torch._"])
def test_interrupted_while_modules_are_imported(moment: str, bag: Path, tmp_path: Path) -> None:
    arguments = (
        "replay",
        bag,
        "--checkpoint",
        "debug",
        "--device",
        "cpu",
        "--output",
        tmp_path / "out",
    )
    # Which module is imported shows in the log.
    command = Command(tmp_path / "log", *arguments, PYTHONPROFILEIMPORTTIME="1")
    command.wait_for(lambda: moment in command.log)
    assert command.interrupt(signal.SIGINT) == 130


def long_bag(path: Path) -> Path:
    """More images than any machine gets through while a test looks."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 208, 3), np.uint8)
    with BagWriter(path) as writer:
        for frame in range(1, 3001):
            image = image_message(picture, stamp=frame * 10**8, frame_id="eye")
            writer.write("/eye/image", image, stamp=frame * 10**8)
    return path


@pytest.mark.slow
def test_interrupted_offline(tmp_path: Path) -> None:
    bag = long_bag(tmp_path / "bag")
    command = Command(tmp_path / "log", "replay", bag, *DEBUG, "--output", tmp_path / "out")
    command.wait_for(lambda: re.search(r"\b[1-9]\d*/3000", command.log))
    assert command.interrupt(signal.SIGINT) == 130
    assert "depthformer: interrupted" in command.log
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.slow
@needs_ros
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)],
    ids=["terminal", "SIGINT", "SIGTERM"],
)
def test_interrupted_through_the_node(number: signal.Signals, group: bool, tmp_path: Path) -> None:
    arguments = (
        "replay",
        long_bag(tmp_path / "bag"),
        *DEBUG,
        "--output",
        tmp_path / "out",
        "--node",
    )
    (tmp_path / "tmp").mkdir()
    command = Command(tmp_path / "log", *arguments, TMPDIR=str(tmp_path / "tmp"))

    def plays() -> bool:
        logs = (tmp_path / "tmp").glob("depthformer-replay-*/node.log")
        return any("images come on" in log.read_text() for log in logs)

    command.wait_for(plays)
    assert command.interrupt(number, group=group) == 128 + number
    assert [*(tmp_path / "out").iterdir()] == []
    assert [*(tmp_path / "tmp").glob("depthformer-*")] == []
