"""Depth for cameras of other focal lengths."""

import pytest

from depthformer_core.data.synthetic import STREET_CAMERA
from depthformer_core.evaluation.other_cameras import (
    Measurement,
    OtherCamerasOptions,
    camera_with,
    format_measurements,
    measure,
)


def test_cameras() -> None:
    lens = camera_with("lens", 1500)
    assert (lens.width, lens.height, lens.fx) == (1242, 375, 1500)
    fine = camera_with("resolution", 2 * STREET_CAMERA.fx)
    assert (fine.width, fine.height) == (2484, 750)
    # The same view: the corner's ray stays.
    assert fine.width / fine.fx == pytest.approx(STREET_CAMERA.width / STREET_CAMERA.fx, rel=1e-3)
    assert fine.cx / fine.fx == pytest.approx(STREET_CAMERA.cx / STREET_CAMERA.fx)


def test_every_camera_is_measured_each_way() -> None:
    options = OtherCamerasOptions(
        checkpoint="small", focal_lengths=(300.0,), frames=1, device="cpu"
    )
    own, coarse, wide = measure(options)
    assert (own.kind, own.focal_length) == ("resolution", STREET_CAMERA.fx)
    assert (coarse.kind, coarse.width, coarse.height) == ("resolution", 516, 156)
    assert (wide.kind, wide.width, wide.focal_length) == ("lens", 1242, 300.0)
    for result in (own, coarse, wide):
        assert len(set(result.abs_rel.values())) == 3
        assert all(0 < error < 5 for error in result.abs_rel.values())


def test_table_compares_with_the_first() -> None:
    results = [
        Measurement("resolution", 721.5, 1242, 375, {"resize": 0.1, "scale": 0.2, "none": 0.3}),
        Measurement("lens", 300.0, 1242, 375, {"resize": 0.12, "scale": 0.2, "none": 0.5}),
    ]
    assert format_measurements(results).splitlines()[2:] == [
        "| resolution | 722 | 1242x375 | 0.100 (1.00) | 0.200 (2.00) | 0.300 (3.00) |",
        "| lens | 300 | 1242x375 | 0.120 (1.20) | 0.200 (2.00) | 0.500 (5.00) |",
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
