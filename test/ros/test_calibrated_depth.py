"""A node with a calibration of its depth."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrations import calibration_of_small

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.calibration.calibration_file import (
    write_calibration,
)
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.geometry.camera import Camera
from depthformer_ros.node.network_loading import load_predictor
from depthformer_ros.node.parameters import NodeParameters

from .robots import calibrated, depth_of

FACTOR = 0.5


@pytest.fixture(scope="module")
def camera() -> Camera:
    """Camera of the robots' images."""
    info = calibrated()
    fx, _, cx, _, fy, cy = info.k[:6]
    return Camera(info.width, info.height, fx, fy, cx, cy)


def write(file: Path, camera: Camera, **changes: Any) -> Path:
    made = calibration_of_small(DepthCorrection.factor(FACTOR), camera, **changes)
    write_calibration(file, made)
    return file


@pytest.mark.slow
def test_its_own_camera_and_another(
    start_robot: Callable[..., Any], camera: Camera, tmp_path: Path
) -> None:
    """Another camera costs each frame, and diagnostics say why; nothing wrong is published."""
    file = write(tmp_path / "own.yaml", camera)
    options = {"checkpoint": "small", "depth__max": 1000.0}
    plain = start_robot(**options)
    own = start_robot(**options, depth__calibration=file)
    depths = []
    for robot in (plain, own):
        robot.calibrate(calibrated())
        depths.append(depth_of(robot.prediction(robot.image())))
    assert np.isfinite(depths[0]).any()
    assert depths[1] == pytest.approx(FACTOR * depths[0], rel=1e-4, nan_ok=True)
    named = [robot.values()["depth calibration"] for robot in (plain, own)]
    assert named == ["none", str(file)]
    other = calibrated()
    other.k[0] *= 1.5
    other.k[4] *= 1.5
    other.p[0] *= 1.5
    other.p[5] *= 1.5
    own.calibrate(other)
    own.send(own.image())
    status = own.diagnosed(lambda status: "calibration is for a camera of" in status.message)
    assert "the image is of a camera of" in status.message
    assert own.process.running


def test_a_calibration_is_loaded_and_checked(tmp_path: Path, camera: Camera) -> None:
    parameters = NodeParameters(checkpoint="small", device="cpu")
    file = write(tmp_path / "c.yaml", camera)
    fits = dataclasses.replace(parameters, depth_calibration=str(file))
    predictor = load_predictor(fits)
    assert predictor.max_depth == pytest.approx(FACTOR * predictor.config.max_depth)
    with pytest.raises(ValueError, match="for flip False, the network has flip True"):
        load_predictor(dataclasses.replace(fits, flip=True))
    with pytest.raises(ValueError, match="for the checkpoint small, the network is small_kitti"):
        load_predictor(dataclasses.replace(fits, checkpoint="small_kitti"))
    with pytest.raises(ValueError, match="cannot read calibration"):
        load_predictor(dataclasses.replace(fits, depth_calibration=str(tmp_path / "d.yaml")))
