"""The scale by the ground over the frames of a drive."""

import math

import numpy as np
import pytest

from depthformer_core.evaluation.ground_scale import GroundScaleAccumulator
from depthformer_core.evaluation.stability_plots import plot_ground_scale
from depthformer_core.geometry.ground import Plane
from depthformer_core.synthetic import street_camera

CAMERA = street_camera(156, 47, focal=90.6)
GROUND = Plane((0.0, -1.0, 0.0), 1.65)


def seen(height):
    _, down = CAMERA.slopes()
    depth = np.where(down > 0, height / np.maximum(down, 1e-6), np.nan)
    return np.repeat(depth[:, None], CAMERA.width, axis=1).astype(np.float32)


@pytest.fixture
def scale():
    """Ten frames that are a tenth too far, the last three without depth, camera or of a part."""
    scales = GroundScaleAccumulator(GROUND)
    for frame in range(10):
        depth, camera = seen(1.1 * 1.65), CAMERA
        if frame == 7:
            depth = np.full_like(depth, np.nan)
        if frame == 8:
            camera = None
        if frame == 9:
            depth = depth[10:]
        scales.add(1_700_000_000_000_000_000 + frame * 100_000_000, depth, camera)
    return scales.result()


def test_scale_of_each_frame(scale):
    assert scale.seconds == pytest.approx(np.arange(10) / 10)
    assert scale.scales[:7] == pytest.approx([1.1] * 7, rel=0.01)
    assert all(map(math.isnan, scale.scales[7:]))
    assert scale.scale == pytest.approx(1.1, rel=0.01)
    assert scale.share == 0.7
    # The watch waits for five frames.
    assert [math.isnan(value) for value in scale.watched] == [True] * 4 + [False] * 6


def test_no_frame():
    scale = GroundScaleAccumulator(GROUND).result()
    assert scale.scales == []
    assert math.isnan(scale.scale)
    assert math.isnan(scale.share)


@pytest.mark.parametrize("truth", [None, [math.nan] * 10, [1.1] * 9 + [math.nan]])
def test_plot(scale, truth):
    assert plot_ground_scale(scale, truth).startswith(b"\x89PNG")
