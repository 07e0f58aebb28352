"""Calibrations of depth, as `depthformer calibrate` finds them."""

import dataclasses

from depthformer_core.calibration.calibration_file import (
    CalibrationFigures,
    DepthCalibration,
    NetworkView,
    checkpoint_sha256,
)


def calibration_of_small(correction, camera, **changes):
    """A calibration of the network `small` as it reads images by default."""
    knots = correction.corrected  # an interval of no width
    made = DepthCalibration(
        correction=correction,
        camera=camera,
        checkpoint="small",
        sha256=checkpoint_sha256("small"),
        view=NetworkView(crop="view", focal="resize", flip=False, rotate=0),
        date="2026-11-28T07:28:26+00:00",
        figures=CalibrationFigures(
            truth="/scan: of a LiDAR # 1",
            images=12,
            pairs=3000,
            abs_rel_before=0.5,
            abs_rel_after=0.25,
            low=knots,
            high=knots,
        ),
    )
    return dataclasses.replace(made, **changes)
