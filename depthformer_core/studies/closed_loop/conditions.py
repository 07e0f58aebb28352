"""What the vehicle sees: the depth that the obstacle layer gets, and how."""

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.fit import fit_correction, shapes
from depthformer_core.calibration.samples import join, sample_image
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.cloud import CloudOptions, cloud_depth
from depthformer_core.inference.predictor import DepthPredictor, Prediction
from depthformer_core.studies.closed_loop.obstacle_layer import LayerOptions
from depthformer_core.studies.closed_loop.scenario import Scenario, draw_scenario
from depthformer_core.synthetic import render, street_camera
from depthformer_core.types import FloatArray, Rgb

CAMERA = street_camera(416, 126, focal=241.67)
"""KITTI's camera with a third of its columns and rows."""

MAX_DEPTH = 30.0
"""`depth.max` of the node, metres."""

EDGE_FILTER = 0.05
MAX_UNCERTAINTY = 0.15
STRIDE = 2

# Seed of the drives for calibration, and places on them, metres.
_CALIBRATION = 1_000_000
_CALIBRATION_PLACES = (0.0, 10.0, 20.0)
_PIXELS = 2000
# From the ground below to what is above at the largest depth.
_ALL_HEIGHTS = (-10.0, 20.0)


@dataclass(frozen=True)
class Condition:
    """One row of the table.

    Attributes:
        name: Its name.
        exact: Whether depth is exact; predicted else.
        factor: Depth is multiplied by it: an error of scale.
        calibrated: Whether the correction is applied afterwards.
        edge_filter: Whether flying pixels are removed.
        clearing: Whether rays into the distance clear cells.
        max_uncertainty: Whether uncertain points are removed.
        ground_clears: Whether points of all heights clear; else those that mark.
        raytrace_min_range: Cells nearer to the camera are not cleared, metres.
    """

    name: str
    exact: bool = False
    factor: float = 1.0
    calibrated: bool = False
    edge_filter: bool = False
    clearing: bool = False
    max_uncertainty: bool = False
    ground_clears: bool = False
    raytrace_min_range: float = 0.0

    @property
    def layer(self) -> LayerOptions:
        """Parameters of the obstacle layer."""
        options = LayerOptions(raytrace_min_range=self.raytrace_min_range)
        if self.ground_clears:
            options = dataclasses.replace(options, clearing_heights=_ALL_HEIGHTS)
        return options

    @property
    def cloud(self) -> CloudOptions:
        """Selection of the points."""
        return CloudOptions(
            stride=STRIDE,
            edge_filter=EDGE_FILTER if self.edge_filter else 0.0,
            clearing=self.clearing,
            max_uncertainty=MAX_UNCERTAINTY if self.max_uncertainty else 0.0,
        )


CONDITIONS = (
    Condition("exact", exact=True),
    Condition("exact, clearing", exact=True, clearing=True),
    Condition("network"),
    Condition("network, calibrated", calibrated=True),
    Condition("network, edge filter", edge_filter=True),
    Condition("network, clearing", clearing=True),
    Condition("network, uncertainty", max_uncertainty=True),
    Condition("network, edge filter, clearing", edge_filter=True, clearing=True),
    Condition(
        "network, edge filter, clearing, uncertainty",
        edge_filter=True,
        clearing=True,
        max_uncertainty=True,
    ),
    Condition(
        "network, edge filter, clearing, ground clears",
        edge_filter=True,
        clearing=True,
        ground_clears=True,
    ),
    Condition("network x 1.3, edge filter, clearing", factor=1.3, edge_filter=True, clearing=True),
    Condition(
        "network x 1.3, calibrated, edge filter, clearing",
        factor=1.3,
        calibrated=True,
        edge_filter=True,
        clearing=True,
    ),
)
"""Rows of the table."""


def correctable_factors() -> list[float]:
    """Return the errors of scale that a condition corrects."""
    return list(dict.fromkeys(c.factor for c in CONDITIONS if c.calibrated))


class Views:
    """What the camera sees on one drive, rendered and predicted once for all conditions.

    Args:
        scenario: The drive.
        predictor: The network.
        corrections: The correction of depth that was multiplied by each factor.

    Attributes:
        scenario: The drive.
    """

    def __init__(
        self,
        scenario: Scenario,
        predictor: DepthPredictor,
        corrections: Mapping[float, DepthCorrection],
    ) -> None:
        self.scenario = scenario
        self._predictor = predictor
        self._corrections = corrections
        self._seen: dict[tuple[int, int], tuple[Rgb, FloatArray]] = {}
        self._predicted: dict[tuple[int, int], Prediction] = {}

    def cloud(self, condition: Condition, s: float, time: float) -> FloatArray:
        """Return the depth of the points, (H, W), metres; NaN where there is none.

        Args:
            condition: What the vehicle sees.
            s: Place of the vehicle on its course, metres.
            time: Seconds since the start.
        """
        moment = self._moment(s, time)
        uncertainty = None
        if condition.exact:
            depth = self._see(moment)[1]
        else:
            prediction = self._predict(moment)
            depth, uncertainty = prediction.depth, prediction.uncertainty
        depth = depth * np.float32(condition.factor)
        if uncertainty is not None:
            uncertainty = uncertainty * np.float32(condition.factor)
        if condition.calibrated:
            correction = self._corrections[condition.factor]
            if uncertainty is not None:
                uncertainty = uncertainty * correction.slope(depth)
            depth = correction.apply(depth)
        return cloud_depth(depth, condition.cloud, max_depth=MAX_DEPTH, uncertainty=uncertainty)

    def picture(self, s: float, time: float) -> Rgb:
        """Return the picture with the vehicle at a place of its course and at a time."""
        return self._see(self._moment(s, time))[0]

    def pair(self, s: float) -> tuple[FloatArray, FloatArray]:
        """Return predicted and exact depth at the start of time, each (H, W), metres."""
        moment = self._moment(s, 0.0)
        return self._predict(moment).depth, self._see(moment)[1]

    def _moment(self, s: float, time: float) -> tuple[int, int]:
        """Return millimetres and milliseconds: what differs by less is one moment."""
        return round(1000 * s), round(1000 * self.scenario.moment(time))

    def _see(self, moment: tuple[int, int]) -> tuple[Rgb, FloatArray]:
        if moment not in self._seen:
            s, time = (value / 1000 for value in moment)
            pose = self.scenario.camera_pose(s)
            # The grain differs from frame to frame, but not from condition to condition.
            self._seen[moment] = render(
                self.scenario.street, CAMERA, pose, time=time, grain=sum(moment)
            )
        return self._seen[moment]

    def _predict(self, moment: tuple[int, int]) -> Prediction:
        if moment not in self._predicted:
            self._predicted[moment] = self._predictor.predict(self._see(moment)[0], CAMERA)
        return self._predicted[moment]


def fit_corrections(
    predictor: DepthPredictor, factors: Iterable[float], *, drives: int = 24
) -> dict[float, DepthCorrection]:
    """Fit a factor and an offset on other drives of the same camera, as `depthformer calibrate`.

    Args:
        predictor: The network.
        factors: Errors of scale to correct.
        drives: Number of the other drives.

    Returns:
        The correction of depth that was multiplied by each factor.
    """
    pairs = []
    for number in tqdm(range(drives), desc="calibration", unit="drive", file=sys.stderr):
        views = Views(draw_scenario(_CALIBRATION, number), predictor, {})
        pairs += [views.pair(s) for s in _CALIBRATION_PLACES]
    corrections = {}
    for factor in factors:
        rng = np.random.default_rng(_CALIBRATION)
        images = [
            sample_image(
                predicted * np.float32(factor), exact, most=_PIXELS, max_depth=MAX_DEPTH, rng=rng
            )
            for predicted, exact in pairs
        ]
        samples = join(images, blocks=drives)
        correction = fit_correction(samples, shapes(samples)["factor and offset"])
        if correction is None:
            raise DepthFormerError(
                f"no factor and offset corrects depth that was multiplied by {factor:g}"
            )
        corrections[factor] = correction
    return corrections
