"""Depth for cameras of other focal lengths."""

import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.geometry.camera import Camera
from depthformer_core.studies.other_cameras import (
    Measurement,
    Method,
    OtherCamerasOptions,
    camera_with,
    format_measurements,
    measure,
    seen_by,
)
from depthformer_core.synthetic import STREET_CAMERA


def test_cameras() -> None:
    lens = camera_with("lens", 1500)
    assert (lens.width, lens.height, lens.fx) == (1242, 375, 1500)
    fine = camera_with("resolution", 2 * STREET_CAMERA.fx)
    assert (fine.width, fine.height) == (2484, 750)
    # The same view: the corner's ray stays.
    assert fine.width / fine.fx == pytest.approx(STREET_CAMERA.width / STREET_CAMERA.fx, rel=1e-3)
    assert fine.cx / fine.fx == pytest.approx(STREET_CAMERA.cx / STREET_CAMERA.fx)


@pytest.mark.slow
def test_every_camera_is_measured_each_way() -> None:
    options = OtherCamerasOptions(
        checkpoint="small", focal_lengths=(300.0,), frames=1, device="cpu"
    )
    own, coarse, wide = measure(options)
    assert (own.kind, own.focal_length) == ("resolution", STREET_CAMERA.fx)
    assert (coarse.kind, coarse.width, coarse.height) == ("resolution", 516, 156)
    assert (wide.kind, wide.width, wide.focal_length) == ("lens", 1242, 300.0)
    for result in (own, coarse):
        # Their field of view is the network's.
        assert result.abs_rel["resize"] == result.abs_rel["resize, whole image"]
        assert len(set(result.abs_rel.values())) == 3
        assert result.coverage == 1
    assert own.own == own.abs_rel["resize"]
    assert len(set(wide.abs_rel.values())) == 4
    assert 0.1 < wide.coverage < 0.3
    for result in (own, coarse, wide):
        assert all(0 < error < 5 for error in (*result.abs_rel.values(), result.own))


@pytest.mark.slow
def test_cameras_are_compared_over_what_both_see() -> None:
    """Ahead, in the view of a long lens, depth is harder than on the road before the wheels."""
    options = OtherCamerasOptions(
        checkpoint="small", focal_lengths=(1500.0,), frames=1, device="cpu"
    )
    own, fine, long = measure(options)
    assert own.own == fine.own != long.own


def test_a_long_lens_sees_the_middle() -> None:
    camera = Camera(120, 80, 100.0, 100.0, 59.5, 39.5)
    frame = Frame("a.png", np.zeros((80, 120, 3), np.uint8), np.ones((80, 120), np.float32), camera)
    seen = seen_by(Camera(120, 80, 200.0, 200.0, 59.5, 39.5), frame).depth
    assert seen is not None
    expected = np.zeros((80, 120), np.float32)
    expected[20:60, 30:90] = 1
    np.testing.assert_array_equal(seen, expected)
    whole = seen_by(Camera(120, 80, 50.0, 50.0, 59.5, 39.5), frame).depth
    np.testing.assert_array_equal(whole, frame.depth)


def test_table_compares_with_its_own_camera() -> None:
    errors: dict[Method, float] = {
        "resize": 0.12,
        "resize, whole image": 0.2,
        "scale": 0.3,
        "none": 0.5,
    }
    wide = Measurement("lens", 300.0, 1242, 375, errors, coverage=0.174, own=0.1)
    assert format_measurements([wide]).splitlines() == [
        "| camera | focal length | image | in view | resize | resize, whole image | scale | none |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| lens | 300 | 1242x375 | 17% | 0.120 (1.20) | 0.200 (2.00) | 0.300 (3.00) "
        "| 0.500 (5.00) |",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 0}, "frames must be 1 to 200, got 0"),
        ({"focal_lengths": (300.0, 1.0)}, r"50 to 5000 pixels, got \(300.0, 1.0\)"),
    ],
    ids=["frames", "focal lengths"],
)
def test_bad_options_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OtherCamerasOptions(**values)
