"""The result of a calibration: a correction, and the camera and network it is for, as YAML."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.config import Crop, Focal
from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.files import read_text, replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.rotate import ROTATIONS, Rotation
from depthformer_core.types import FloatArray
from depthformer_core.weights import SHIPPED

VERSION = 1
"""Version of the file's form."""

_MOST_BYTES = 1 << 14
# The time to read nested brackets grows with the cube of their number.
_MOST_BRACKETS = 100
# Focal lengths and principal points of one camera, calibrated twice, differ by less.
_SAME = 0.02
_AGAIN = "calibrate again for this one"
_BLOCK = 1 << 20  # bytes


class CalibrationError(DepthFormerError):
    """A calibration cannot be read, or is for something else; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class NetworkView:
    """How a network reads images, as far as that changes its metres.

    Attributes:
        crop: Part of the image that it reads, see `DepthPredictor`.
        focal: Handling of other focal lengths, see `DepthPredictor`.
        flip: Whether the mirrored image is predicted too.
        rotate: Degrees clockwise by which images become upright.
    """

    crop: Crop
    focal: Focal
    flip: bool
    rotate: Rotation


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """How a calibration was found, and how good it is where it was not fitted.

    Attributes:
        truth: What was compared with, in words.
        images: Number of images.
        pairs: Number of pixels with truth, or of measured distances or heights.
        abs_rel_before: AbsRel of the network's depth.
        abs_rel_after: AbsRel of corrected depth on held-out parts; before and after are equal in
            kind. None where nothing could be held out.
        low: Lower ends of the 95 % intervals of the corrected depths, metres.
        high: Upper ends.
    """

    truth: str
    images: int
    pairs: int
    abs_rel_before: float
    abs_rel_after: float | None
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DepthCalibration:
    """A correction of depth, and what it is for.

    Attributes:
        correction: The correction.
        camera: Camera of the (rectified) images.
        checkpoint: Name of the network's checkpoint, for readers.
        sha256: SHA-256 of its file.
        view: How the network read the images.
        date: When it was found, ISO 8601.
        figures: How, and how good it is.
    """

    correction: DepthCorrection
    camera: Camera
    checkpoint: str
    sha256: str
    view: NetworkView
    date: str
    figures: CalibrationFigures

    def check_checkpoint(self, checkpoint: str, *, sha256: str | None = None) -> None:
        """Refuse another network.

        Args:
            checkpoint: A file, or the name of weights that come with the package.
            sha256: SHA-256 of the file of its weights, where that is another one.

        Raises:
            CalibrationError: The weights are others, or of no file.
        """
        if (sha256 or checkpoint_sha256(checkpoint)) != self.sha256:
            raise CalibrationError(
                f"the calibration is for the checkpoint {self.checkpoint}, the network is "
                f"{checkpoint}, which has other weights: {_AGAIN}"
            )

    def check(self, camera: Camera | None, view: NetworkView) -> None:
        """Refuse images of another camera, and another way to read them.

        Args:
            camera: Camera of the images; None where it is unknown.
            view: How the network reads them.

        Raises:
            CalibrationError: They are others.
        """
        for name, value in dataclasses.asdict(self.view).items():
            other = getattr(view, name)
            if other != value:
                raise CalibrationError(
                    f"the calibration is for {name} {value}, the network has {name} {other}: set "
                    f"{name} to {value}, or {_AGAIN}"
                )
        self.check_camera(camera)

    def check_camera(self, camera: Camera | None) -> None:
        """Refuse images of another camera; None where it is unknown.

        Raises:
            CalibrationError: It is another, or unknown.
        """
        if camera is None:
            raise CalibrationError(
                f"the calibration is for {_describe(self.camera)}, and the camera of the image is "
                "unknown: give its intrinsics (camera_info, --intrinsics)"
            )
        if not same_camera(self.camera, camera):
            raise CalibrationError(
                f"the calibration is for {_describe(self.camera)}, the image is of "
                f"{_describe(camera)}: {_AGAIN}"
            )

    def apply(
        self, depth: FloatArray, uncertainty: FloatArray | None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Correct depth and its uncertainty, both (H, W), metres."""
        if uncertainty is not None:
            uncertainty = uncertainty * self.correction.slope(depth)
        return self.correction.apply(depth), uncertainty


def checkpoint_sha256(checkpoint: str) -> str:
    """Return the SHA-256 of a checkpoint's file, in hexadecimal digits.

    Args:
        checkpoint: The file, or the name of weights that come with the package.

    Raises:
        CalibrationError: It is no file.
    """
    path = SHIPPED.get(checkpoint, Path(checkpoint))
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise CalibrationError(
            "a calibration is for the weights of a file; there is none at "
            f"{checkpoint or 'an empty path'} ({error.strerror})"
        ) from error
    return digest.hexdigest()


def write_calibration(path: str | os.PathLike[str], calibration: DepthCalibration) -> None:
    """Write a calibration as YAML; the file appears whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(calibration_to_yaml(calibration), encoding="utf-8")


def calibration_to_yaml(calibration: DepthCalibration) -> str:
    """Return a calibration as the text of its file."""
    values = {"version": VERSION, **dataclasses.asdict(calibration)}
    from ruamel.yaml import YAML  # a node without calibration does not wait for it

    yaml = YAML(pure=True)
    yaml.default_flow_style = None  # lists of numbers on one line
    yaml.width = 200
    text = io.StringIO()
    yaml.dump(_plain(values), text)
    return f"# Correction of depth, found by `depthformer calibrate`.\n{text.getvalue()}"


def read_calibration(path: str | os.PathLike[str]) -> DepthCalibration:
    """Read a calibration that `write_calibration` wrote.

    Raises:
        CalibrationError: The file is no such calibration; the message names the file and the key.
        DepthFormerError: It cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CalibrationError(f"cannot read calibration {path}: {error.strerror}") from error
    if size > _MOST_BYTES:
        raise CalibrationError(f"calibration {path} has {size} bytes, more than {_MOST_BYTES}")
    text = read_text(path, kind="calibration")
    try:
        return _parse(text)
    except DepthFormerError as error:
        raise CalibrationError(f"calibration {path}: {error}") from error


def _parse(text: str) -> DepthCalibration:
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise CalibrationError(f"it has more than {_MOST_BRACKETS} brackets")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        raise CalibrationError(f"it is no YAML: {one_line(error)}") from error
    if isinstance(values, dict) and values.get("version") != VERSION:
        raise CalibrationError(
            f"version must be {VERSION}, got {values.get('version')!r}: calibrate again"
        )
    top = _keys(values, "", ("version", *_names(DepthCalibration)))
    correction = _keys(top["correction"], "correction", _names(DepthCorrection))
    camera = _keys(top["camera"], "camera", _names(Camera))
    view = _keys(top["view"], "view", _names(NetworkView))
    figures = _keys(top["figures"], "figures", _names(CalibrationFigures))
    after = figures["abs_rel_after"]
    date = _text(top, "date")
    try:
        datetime.fromisoformat(date)
    except ValueError:
        raise CalibrationError(f"date must be of ISO 8601, got {date!r}") from None
    sha256 = _text(top, "sha256")
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise CalibrationError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}")
    return DepthCalibration(
        correction=DepthCorrection(
            _numbers(correction, "predicted"), _numbers(correction, "corrected")
        ),
        camera=Camera(
            _count(camera, "width"),
            _count(camera, "height"),
            *(_number(camera, name) for name in ("fx", "fy", "cx", "cy")),
        ),
        checkpoint=_text(top, "checkpoint"),
        sha256=sha256,
        view=NetworkView(
            crop=_one_of(view, "crop", get_args(Crop)),
            focal=_one_of(view, "focal", get_args(Focal)),
            flip=_one_of(view, "flip", (True, False)),
            rotate=_one_of(view, "rotate", ROTATIONS),
        ),
        date=date,
        figures=CalibrationFigures(
            truth=_text(figures, "truth"),
            images=_count(figures, "images"),
            pairs=_count(figures, "pairs"),
            abs_rel_before=_number(figures, "abs_rel_before"),
            abs_rel_after=None if after is None else _number(figures, "abs_rel_after"),
            low=_numbers(figures, "low"),
            high=_numbers(figures, "high"),
        ),
    )


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _keys(values: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Check that a value is a mapping of exactly these keys."""
    of = f" of {where}" if where else ""
    if not isinstance(values, dict):
        raise CalibrationError(f"{where or 'it'} must be a mapping, got {_shown(values)}")
    if unknown := [key for key in values if key not in names]:
        raise CalibrationError(f"unknown key{of}: {_shown(unknown[0])}")
    if missing := [name for name in names if name not in values]:
        raise CalibrationError(f"missing key{of}: {missing[0]}")
    return values


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str):
        raise CalibrationError(f"{name} must be a text, got {_shown(value)}")
    return value


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values[name]
    if type(value) is not int or value < 0:
        raise CalibrationError(f"{name} must be a whole number, got {_shown(value)}")
    return value


def _number(values: Mapping[str, Any], name: str) -> float:
    return _float(values[name], name)


def _numbers(values: Mapping[str, Any], name: str) -> tuple[float, ...]:
    value = values[name]
    if not isinstance(value, list):
        raise CalibrationError(f"{name} must be a list of numbers, got {_shown(value)}")
    return tuple(_float(item, name) for item in value)


def _float(value: object, name: str) -> float:
    # A bool is an int, and infinity no number of these.
    if type(value) not in (int, float) or not np.isfinite(value):  # type: ignore[call-overload]
        raise CalibrationError(f"{name} must hold finite numbers, got {_shown(value)}")
    return float(value)  # type: ignore[arg-type]


def _one_of(values: Mapping[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = values[name]
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise CalibrationError(
            f"{name} must be one of {', '.join(map(str, choices))}, got {_shown(value)}"
        )
    return value


def _shown(value: object) -> str:
    """Return a value for a message, cut where it is long."""
    # Aliases of YAML may make a list endless.
    text = type(value).__name__ if isinstance(value, list | dict) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _plain(value: Any) -> Any:
    """Return values as lists and mappings of plain numbers, rounded to what they mean."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _describe(camera: Camera) -> str:
    return (
        f"a camera of {camera.width}x{camera.height} pixels with fx {camera.fx:.1f}, "
        f"fy {camera.fy:.1f}, cx {camera.cx:.1f}, cy {camera.cy:.1f}"
    )


def same_camera(first: Camera, second: Camera) -> bool:
    """Return whether two cameras are one, within the 2 % that two calibrations of it differ by."""
    return (
        (first.width, first.height) == (second.width, second.height)
        and abs(second.fx / first.fx - 1) <= _SAME
        and abs(second.fy / first.fy - 1) <= _SAME
        and abs(second.cx - first.cx) <= _SAME * first.width
        and abs(second.cy - first.cy) <= _SAME * first.height
    )
