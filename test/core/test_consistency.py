"""Consistency of consecutive predictions, and the motion it needs."""

import math
import pickle

import cv2
import numpy as np
import pytest

from depthformer_core.evaluation.consistency import ConsistencyAccumulator
from depthformer_core.evaluation.stability_plots import plot_consistency
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.visual_motion import estimate_motion
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic import Drive
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

CAMERA = Camera(416, 128, 240.0, 240.0, 204.0, 58.0)
FRAMES = 12


@pytest.fixture(scope="module")
def drive():
    return Drive(3, frames=FRAMES, camera=CAMERA)


@pytest.fixture(scope="module")
def pictures(drive):
    return [drive.picture(frame) for frame in range(FRAMES)]


def true_motion(drive, frame):
    return np.linalg.inv(drive.pose(frame)) @ drive.pose(frame - 1)


def consistency(drive, predictions, *, unknown=()):
    accumulator = ConsistencyAccumulator()
    for frame, prediction in enumerate(predictions):
        motion = None if frame == 0 or frame in unknown else true_motion(drive, frame)
        accumulator.add(frame * 100_000_000, prediction, camera=CAMERA, motion=motion)
    return accumulator.result()


def test_exact_depth_is_consistent(drive, pictures):
    found = consistency(drive, [depth for _, depth in pictures])
    assert found.inconsistency < 0.005
    assert found.flicker < 0.002
    assert math.isnan(found.errors[0])


def test_flicker_without_truth(drive, pictures):
    signs = [1 if frame % 2 else -1 for frame in range(FRAMES)]
    predictions = [
        depth * np.float32(1 + 0.05 * sign)
        for (_, depth), sign in zip(pictures, signs, strict=True)
    ]
    found = consistency(drive, predictions)
    assert found.flicker == pytest.approx(0.05, rel=0.12)
    assert found.inconsistency == pytest.approx(0.1, rel=0.1)
    assert found.steps[1] == pytest.approx(0.1, abs=0.01)


def test_unknown_motion_is_a_gap(drive, pictures):
    found = consistency(drive, [depth for _, depth in pictures], unknown=(4, 5))
    assert [frame for frame, step in enumerate(found.steps) if math.isnan(step)] == [0, 4, 5]
    assert found.flicker < 0.002


def test_without_motion_nothing_is_known(drive, pictures):
    found = consistency(drive, [depth for _, depth in pictures], unknown=range(FRAMES))
    assert math.isnan(found.inconsistency)
    assert math.isnan(found.flicker)
    assert plot_consistency(found)[:4] == b"\x89PNG"


def test_empty():
    found = ConsistencyAccumulator().result()
    assert math.isnan(found.inconsistency)
    assert math.isnan(found.flicker)


def test_pickled_half_way(drive, pictures):
    accumulator = ConsistencyAccumulator()
    for frame in range(3):
        motion = true_motion(drive, frame) if frame else None
        accumulator.add(frame * 10**8, pictures[frame][1], camera=CAMERA, motion=motion)
        accumulator = pickle.loads(pickle.dumps(accumulator))
    found = accumulator.result()
    assert found.inconsistency < 0.005
    assert plot_consistency(found)[:4] == b"\x89PNG"


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "scans"])
def test_motion_from_pictures(drive, pictures, sparse):
    shifts, turns = [], []
    for frame in range(1, 4 if sparse else FRAMES):
        rgb, depth = pictures[frame - 1]
        if sparse:
            depth = scan_truth([(drive.scan(frame - 1), VELO_TO_CAMERA)], CAMERA)
        motion = estimate_motion(rgb, depth, pictures[frame][0], camera=CAMERA)
        wanted = true_motion(drive, frame)
        assert motion is not None
        shifts.append(np.linalg.norm(motion[:3, 3] - wanted[:3, 3]) / np.linalg.norm(wanted[:3, 3]))
        turn = cv2.Rodrigues(motion[:3, :3] @ wanted[:3, :3].T)[0]
        turns.append(np.degrees(np.linalg.norm(turn)))
    assert np.median(shifts) < 0.05
    assert np.median(turns) < 0.2


def test_motion_of_unlike_images_is_unknown(pictures):
    rgb, depth = pictures[0]
    noise = np.random.default_rng(0).integers(0, 256, rgb.shape, np.uint8)
    blank = np.zeros_like(rgb)
    for other in (noise, blank):
        assert estimate_motion(rgb, depth, other, camera=CAMERA) is None
        assert estimate_motion(other, depth, rgb, camera=CAMERA) is None
    assert estimate_motion(rgb, np.zeros_like(depth), rgb, camera=CAMERA) is None
