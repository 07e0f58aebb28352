"""The study of the watch on the scale of depth."""

import math

import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.studies.scale_watch import MOUNTS, ScaleWatchOptions, drive, flat_streets
from depthformer_core.synthetic import street_camera

CAMERA = street_camera(156, 47, focal=90.6)


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: f"{mount.height:g} m")
def test_flat_streets(mount):
    found = drive(next(flat_streets(mount)), mount, CAMERA, frames=8)
    assert found.said[-1] == pytest.approx(1, abs=0.05)
    assert math.isnan(found.seconds)
    assert found.true == 1


@pytest.mark.parametrize("ratio", [0.75, 1.25])
def test_a_wrong_focal_length_behind_right_depth(ratio):
    found = drive(next(flat_streets(MOUNTS[1])), MOUNTS[1], CAMERA, frames=8, ratio=ratio)
    assert found.seconds < 3


@pytest.mark.parametrize(
    "options",
    [{"streets": 0}, {"predicted": -1, "streets": 5}, {"frames": 5}, {"width": 10}],
    ids=str,
)
def test_options(options):
    with pytest.raises(DepthFormerError, match=str(next(iter(options.values())))):
        ScaleWatchOptions(**options)
