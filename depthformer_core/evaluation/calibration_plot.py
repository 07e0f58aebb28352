"""The picture of a calibration, as a PNG file."""

import numpy as np

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.samples import Samples
from depthformer_core.evaluation.figures import (
    BLUE,
    FAINT,
    ORANGE,
    add_axes,
    new_figure,
    to_png,
)

_MOST_POINTS = 5000


def plot_calibration(samples: Samples, correction: DepthCorrection) -> bytes:
    """Plot true over predicted depth, and the correction between them.

    Args:
        samples: Pairs of predicted and true values.
        correction: The correction.
    """
    figure = new_figure(5.0, 4.4)
    axes = add_axes(figure, (1, 1, 1), title=f"true over predicted depth: {correction.kind}")
    step = -(-len(samples.true) // _MOST_POINTS)
    predicted, true = samples.predicted[::step], samples.true[::step]
    few = len(true) < 100
    axes.scatter(predicted, true, s=16 if few else 2, color=BLUE, alpha=1 if few else 0.25)
    farthest = float(max(predicted.max(), true.max())) * 1.05
    axes.plot((0, farthest), (0, farthest), color=FAINT, linestyle=":", label="no correction")
    depth = np.linspace(0, farthest, 400, dtype=np.float32)
    axes.plot(depth, correction.apply(depth), color=ORANGE, label=correction.kind)
    axes.plot(correction.predicted, correction.corrected, "o", color=ORANGE, markersize=4)
    axes.set_xlim(0, farthest)
    axes.set_ylim(0, farthest)
    axes.set_xlabel("predicted, m")
    axes.set_ylabel("true, m")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    return to_png(figure)
