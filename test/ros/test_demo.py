import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from depthformer_core.bags import BagReader
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import header_stamp
from depthformer_core.data.images import read_rgb
from depthformer_core.data.kitti import IMAGE_TOPIC, KittiError
from depthformer_core.device import resolve_precision
from depthformer_ros.demo import run_demo, summary
from depthformer_ros.replay.live import DEPTH_TOPIC

needs_ros = pytest.mark.skipif(
    importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed: no rclpy"
)
KITTI = Path(__file__).parents[3] / "shared/samples/kitti_raw/2011_09_26"
PICTURES = ("input.png", "depth.png", "cloud.png", "demo.png")


def stamps(bag, topic):
    with BagReader(bag) as reader:
        return [header_stamp(item.message()) for item in reader.messages([topic])]


def check_results(output, report, *, frames, more=()):
    assert sorted(path.name for path in output.iterdir() if path.name != "mine.txt") == sorted(
        [*PICTURES, *more, "answers", "bag", "node.log", "report.json", "report.md"]
    )
    assert json.loads((output / "report.json").read_text()) == report
    assert report["frames"] == frames
    assert 1 <= report["answered"] == frames - report["dropped"]
    assert 0 < report["latency"]["p50"] <= report["latency"]["max"] < 60
    precision = resolve_precision("auto", torch.device("cpu"))
    assert (report["trained"], report["device"], report["precision"]) == (False, "cpu", precision)
    predicted = stamps(output / "answers", DEPTH_TOPIC)
    assert len(predicted) == report["answered"]
    assert set(predicted) <= set(stamps(output / "bag", IMAGE_TOPIC))
    pictures = {name: read_rgb(output / name) for name in PICTURES}
    assert pictures["input.png"].shape == (375, 1242, 3)
    for name in ("depth.png", "cloud.png", "demo.png"):
        red, green, blue = pictures[name][48, -4].astype(int)
        assert red > 2 * max(green, blue), f"{name} shows that the weights are untrained"
    report_text = (output / "report.md").read_text()
    assert "untrained" in report_text
    assert f"| answered | {report['answered']} |" in report_text


@needs_ros
def test_generated_street_through_the_node(tmp_path):
    output = tmp_path / "demo"
    (output / "bag").mkdir(parents=True)
    (output / "bag" / "old.txt").touch()
    (output / "mine.txt").write_text("stays")
    report = run_demo(output=output, checkpoint="debug", device="cpu", frames=4)
    check_results(output, report, frames=4, more=["error.png"])
    assert (output / "mine.txt").read_text() == "stays"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert report["source"].startswith("generated street")
    errors = []
    truths = {}
    with BagReader(output / "bag") as bag:
        for item in bag.messages(["/kitti/camera_color_left/depth_truth"]):
            message = item.message()
            truths[header_stamp(message)] = image_to_depth(message)
    with BagReader(output / "answers") as predictions:
        for item in predictions.messages([DEPTH_TOPIC]):
            message = item.message()
            depth, truth = image_to_depth(message), truths[header_stamp(message)]
            valid = np.isfinite(depth) & (truth < 80)
            assert valid.mean() > 0.6
            errors.append(np.mean(abs(depth - truth)[valid] / truth[valid]))
    assert report["metrics"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert f"| {report['metrics']['abs_rel']:.3f} |" in (output / "report.md").read_text()


@pytest.mark.slow
@needs_ros
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"no KITTI samples at {KITTI}")
def test_real_drive_through_the_node(tmp_path):
    drive = KITTI / "2011_09_26_drive_0052_sync"
    report = run_demo(
        output=tmp_path / "demo", drive=drive, checkpoint="debug", device="cpu", frames=4
    )
    check_results(tmp_path / "demo", report, frames=4)
    assert report["source"] == "KITTI drive 2011_09_26_drive_0052_sync"
    assert report["metrics"] is None


@pytest.mark.slow
@needs_ros
def test_node_that_cannot_load_is_quoted(tmp_path):
    checkpoint = tmp_path / "broken.safetensors"
    checkpoint.write_bytes(b"no tensors")
    with pytest.raises(ReplayError, match=r"configure failed: .*broken\.safetensors"):
        run_demo(output=tmp_path / "demo", checkpoint=str(checkpoint), frames=1)
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["node.log"]
    assert "broken.safetensors" in (tmp_path / "demo" / "node.log").read_text()


def test_without_ros_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rclpy", None)  # as where it is not installed
    with pytest.raises(ReplayError, match=r"rclpy.*ros-jazzy-rclpy"):
        run_demo(output=tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


@needs_ros
def test_bad_drive_leaves_nothing(tmp_path):
    with pytest.raises(KittiError, match="nowhere"):
        run_demo(output=tmp_path / "demo", drive=tmp_path / "nowhere", checkpoint="debug")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"checkpoint": "swin_giant"}, r"no checkpoint at /.*/swin_giant; swin_giant is no preset"),
        ({"frames": 0}, "frames must be positive, got 0"),
    ],
    ids=["checkpoint", "frames"],
)
def test_bad_options_are_named(tmp_path, options, text):
    with pytest.raises(ValueError, match=text):
        run_demo(output=tmp_path / "demo", **options)
    assert list(tmp_path.iterdir()) == []


REPORT = {
    "checkpoint": "small",
    "trained": True,
    "device": "cpu",
    "precision": "float32",
    "frames": 30,
    "answered": 28,
    "dropped": 2,
    "latency": {"p50": 0.12, "p95": 0.1504, "p99": 0.2, "max": 0.3},
    "metrics": {"abs_rel": 0.0512},
}


def test_a_summary_has_five_lines(tmp_path):
    assert summary(REPORT, tmp_path) == [
        "checkpoint: small on cpu, float32",
        "frames: 28 of 30 predicted, 2 dropped",
        "latency: p50 120 ms, p95 150 ms",
        "AbsRel: 0.051",
        f"results: {tmp_path}/demo.png, {tmp_path}/report.md, {tmp_path}/report.json",
    ]


def test_a_summary_of_untrained_weights_without_truth(tmp_path):
    first, _, _, accuracy, _ = summary({**REPORT, "trained": False, "metrics": None}, tmp_path)
    assert "untrained weights" in first
    assert accuracy == "AbsRel: unknown, there is no exact depth"
