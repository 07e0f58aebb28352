"""The choice of one factor where nothing can be held out."""

import numpy as np

from depthformer_core.calibration.choice import Choice, Trial
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.fit import median_ratio
from depthformer_core.calibration.samples import Array, Samples

_QUANTILES = (0.025, 0.975)
# Without another place to look at: by so much, a good network is wrong about a single one.
_LEAST_CHANGE = 0.08


def choose_factor(samples: Samples, ratios: Array) -> Choice:
    """Choose one factor, or none, by what varies.

    It is taken if it changes depth by more than 8 %, and beyond the variation of the ratios.

    Args:
        samples: Few of them, or such as are all of one kind.
        ratios: Ratios of true and predicted values, (R,), as they vary.
    """
    factor = median_ratio(samples)
    low, high = (float(value) for value in np.quantile(ratios, _QUANTILES))
    before, after = (
        Trial(
            name,
            float(np.abs(predicted / samples.true - 1).mean()),
            float(np.abs(np.log(predicted / samples.true)).mean()),
            (np.nan, np.nan),
            verdict,
        )
        for name, predicted, verdict in (
            ("none", samples.predicted, ""),
            ("one factor", factor * samples.predicted, _verdict(factor, low, high)),
        )
    )
    if after.verdict:
        return Choice(None, (), (before, after), "none", in_sample=True)
    correction = DepthCorrection.factor(factor)
    return Choice(correction, ((low, high),), (before, after), "one factor", in_sample=True)


def _verdict(factor: float, low: float, high: float) -> str:
    """Return why a factor is not taken; empty where it is."""
    if low <= 1 <= high:
        return f"the ratios go from {low:.3f} to {high:.3f}, which includes 1"
    if abs(np.log(factor)) < np.log1p(_LEAST_CHANGE):
        return f"{factor:.3f} changes depth by less than {_LEAST_CHANGE:.0%}"
    return ""
