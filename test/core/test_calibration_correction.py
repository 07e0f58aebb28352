"""Corrections of depth as curves."""

import numpy as np
import pytest

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.errors import DepthFormerError

CURVES = {
    "factor": DepthCorrection.factor(0.8),
    "line": DepthCorrection((5.0, 60.0), (3.5, 45.0)),
    "curve": DepthCorrection((4.0, 9.0, 20.0, 50.0), (5.0, 9.0, 30.0, 48.0)),
}


@pytest.mark.parametrize("correction", CURVES.values(), ids=CURVES)
class TestEveryCurve:
    def test_goes_through_its_knots(self, correction):
        found = correction.apply(np.array(correction.predicted, np.float32))
        assert found == pytest.approx(correction.corrected, rel=1e-6)

    def test_rises_from_zero_without_jumps(self, correction):
        depth = np.linspace(0, 200, 20_001, dtype=np.float32)
        steps = np.diff(correction.apply(depth))
        assert correction.apply(depth)[0] == 0
        assert (steps > 0).all()
        assert steps.max() < 0.03

    def test_keeps_its_ratio_beyond_the_knots(self, correction):
        for knot, beyond in ((0, 0.1), (-1, 10)):
            ratio = correction.corrected[knot] / correction.predicted[knot]
            depth = np.float32([correction.predicted[knot] * beyond])
            assert correction.apply(depth) == pytest.approx(depth * ratio, rel=1e-5)

    def test_keeps_what_is_no_depth(self, correction):
        depth = np.array([[np.nan, np.inf, -np.inf, -1.0, 7.0]], np.float32)
        found = correction.apply(depth)
        assert found.dtype == np.float32
        assert found.shape == depth.shape
        assert np.isnan(found[0, 0])
        assert (found[0, 1], found[0, 2], found[0, 3]) == (np.inf, -np.inf, 0)
        assert found[0, 4] > 0
        assert depth[0, 4] == 7.0

    def test_slope_is_the_derivative(self, correction):
        depth = np.array([1.0, 4.5, 8.0, 15.0, 40.0, 55.0, 90.0], np.float32)
        change = correction.apply(depth + np.float32(0.01)) - correction.apply(depth)
        assert correction.slope(depth) == pytest.approx(change / 0.01, rel=0.01)
        assert correction.slope(depth).dtype == np.float32

    def test_agrees_with_interpolation(self, correction):
        depth = np.linspace(correction.predicted[0], correction.predicted[-1], 100)
        expected = np.interp(depth, correction.predicted, correction.corrected)
        assert correction.apply(depth.astype(np.float32)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("predicted", "corrected", "message"),
    [
        pytest.param((), (), "1 to 16 knots", id="none"),
        pytest.param((1.0,), (1.0, 2.0), "got 1 and 2", id="another number"),
        pytest.param(tuple(range(1, 18)), tuple(range(1, 18)), "got 17", id="too many"),
        pytest.param((1.0, 1.0), (1.0, 2.0), "predicted depths .* must rise", id="no step"),
        pytest.param((1.0, 2.0), (2.0, 1.0), "corrected depths .* must rise", id="falls"),
        pytest.param((0.0, 2.0), (1.0, 2.0), "must be positive", id="zero"),
        pytest.param((1.0,), (-1.0,), "must be positive", id="negative"),
        pytest.param((1.0,), (np.nan,), "must be positive", id="nan"),
        pytest.param((np.inf,), (1.0,), "must be positive", id="infinite"),
    ],
)
def test_what_is_no_curve(predicted, corrected, message):
    with pytest.raises(DepthFormerError, match=message):
        DepthCorrection(predicted, corrected)


def test_kinds():
    assert [curve.kind for curve in CURVES.values()] == [
        "one factor",
        "factor and offset",
        "curve of 4 knots",
    ]
