"""Recorded depth of real frames, judged as the network that made it."""

import json

import numpy as np
import pytest

from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.messages import depth_message
from depthformer_core.cli import main
from depthformer_core.data.kitti import IMAGE_TOPIC, drive_to_bag
from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions

LIMIT = 80.0  # metres


def run(bag, output, *options):
    main(["replay", str(bag), "--truth", "lidar", "--output", str(output), *options])
    return json.loads((output / "results.json").read_text())


@pytest.mark.slow
def test_recorded_answers_are_as_good_as_the_network(samples, tmp_path):
    drive = samples / "kitti_raw/2011_09_26/2011_09_26_drive_0052_sync"
    drive_to_bag(drive, tmp_path / "bag", frames=12)
    predictor = DepthPredictor.from_checkpoint("small", device="cpu")
    answers = {}
    for item in BagFrames(tmp_path / "bag", FrameOptions(truth="lidar")):
        depth = predictor.predict_depth(item.frame.rgb, item.frame.camera)
        # As nodes publish it: beyond the range there is nothing near.
        answers[item.stamp] = np.where(depth < LIMIT, depth, np.inf).astype(np.float32)
    assert answers
    with BagReader(tmp_path / "bag") as reader, BagWriter(tmp_path / "answered") as writer:
        for item in reader.messages():
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp,
                             latched=item.topic == "/tf_static")  # fmt: skip
            if item.topic == IMAGE_TOPIC:
                header = item.message().header
                stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
                message = depth_message(answers[stamp], stamp=stamp, frame_id=header.frame_id)
                writer.write("/answers", message, stamp=item.stamp + 30_000_000)
    offline = run(tmp_path / "bag", tmp_path / "a", "--checkpoint", "small", "--device", "cpu")
    recorded = run(tmp_path / "answered", tmp_path / "b", "--prediction-topic", "/answers")
    assert len(recorded["per_image"]) == len(offline["per_image"]) == len(answers)
    for name in (*METRICS, "scale", "coverage", "missed", "phantoms", "inconsistency"):
        assert recorded["figures"][name] == pytest.approx(offline["figures"][name], abs=1e-4), name
