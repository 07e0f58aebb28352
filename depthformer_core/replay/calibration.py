"""A calibration of depth from images with truth, distances or the height of the camera."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from depthformer_core.calibration.calibration_file import (
    CalibrationError,
    CalibrationFigures,
    DepthCalibration,
    same_camera,
)
from depthformer_core.calibration.choice import Choice
from depthformer_core.calibration.truths import Truth
from depthformer_core.data.dataset import Frame
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.weights import SHIPPED


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration, or why there is none.

    Attributes:
        choice: What was tried.
        calibration: The calibration; None where no correction helps.
    """

    choice: Choice
    calibration: DepthCalibration | None


def calibrate(
    predictor: DepthPredictor, frames: Iterable[Frame], truth: Truth
) -> CalibrationResult:
    """Find the correction of a network's depth on one camera.

    Args:
        predictor: The network, without a calibration, made from a checkpoint's file.
        frames: Images of the camera, in the order of time.
        truth: What their depth is compared with; it is filled.

    Raises:
        CalibrationError: The network has random weights or a calibration already, or the frames
            have no camera, or several.
        DepthFormerError: There is too little truth.
    """
    if not predictor.trained:
        raise CalibrationError(
            f"{predictor.checkpoint} has random weights: there is nothing to calibrate"
        )
    if predictor.calibration is not None:
        raise CalibrationError("the network has a calibration already: calibrate it without")
    sha256 = predictor.weights_sha256
    camera: Camera | None = None
    for frame in frames:
        if frame.camera is None:
            raise CalibrationError(
                f"the camera of image {frame.file} is unknown, and a calibration is for one "
                "camera: it needs camera_info, or --intrinsics for images"
            )
        if camera is None:
            camera = frame.camera
        elif not same_camera(camera, frame.camera):
            raise CalibrationError(
                f"image {frame.file} is of another camera than the first: {frame.camera} and "
                f"{camera}; calibrate each on its own"
            )
        truth.add(frame, predictor.predict_depth(frame.rgb, frame.camera))
    if camera is None:
        raise CalibrationError("there is no image that can be used")
    choice = truth.choose()
    if choice.correction is None:
        return CalibrationResult(choice, None)
    name = predictor.checkpoint
    held_out = None if choice.in_sample else choice.after.abs_rel
    calibration = DepthCalibration(
        correction=choice.correction,
        camera=camera,
        checkpoint=name if name in SHIPPED else Path(name).name,
        sha256=sha256,
        view=predictor.view,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        figures=CalibrationFigures(
            truth=truth.name,
            images=truth.images,
            pairs=truth.pairs,
            abs_rel_before=choice.before.abs_rel,
            abs_rel_after=held_out,
            low=tuple(low for low, _ in choice.interval),
            high=tuple(high for _, high in choice.interval),
        ),
    )
    return CalibrationResult(choice, calibration)


def format_choice(choice: Choice) -> str:
    """Format what was tried as a table, and the correction at its knots."""
    errors = "AbsRel" if choice.in_sample else "AbsRel, held out"
    rows = [f"{'correction':<19}{errors:>16}{'|log|':>9}  gain in AbsRel, 99 %"]
    for trial in choice.trials:
        gain = "" if trial.name == "none" else f"{trial.gain[0]:+.4f} to {trial.gain[1]:+.4f}"
        if choice.in_sample:
            gain = ""
        mark = "taken" if trial.name == choice.taken != "none" else trial.verdict
        values = f"{trial.abs_rel:>16.4f}{trial.log_error:>9.4f}"
        rows.append(f"{trial.name:<19}{values}  {gain:<20}  {mark}".rstrip())
    if choice.correction is not None:
        rows += ["", f"{'predicted':>11}{'corrected':>11}  95 %"]
        knots = zip(
            choice.correction.predicted, choice.correction.corrected, choice.interval, strict=True
        )
        rows += [
            f"{x:>9.2f} m{y:>9.2f} m  {low:.2f} to {high:.2f} m" for x, y, (low, high) in knots
        ]
    return "\n".join(rows)
