"""Error of depth at other focal lengths: `python -m depthformer_core.studies.other_cameras`.

Each camera sees the same generated streets, and a network reads its images by each method of
handling its focal length and its field of view.
"""

import dataclasses
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.config import Crop, Focal
from depthformer_core.data.dataset import Frame
from depthformer_core.errors import DepthFormerError, exit_on_error
from depthformer_core.evaluation.evaluate import evaluate
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.files import replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.synthetic import STREET_CAMERA, SyntheticDataset

Kind = Literal["resolution", "lens"]
Method = Literal["resize", "resize, whole image", "scale", "none"]

# Handling of the focal length, and crop: None for the network's own.
_METHODS: dict[Method, tuple[Focal, Crop | None]] = {
    "resize": ("resize", None),
    "resize, whole image": ("resize", "none"),
    "scale": ("scale", "none"),
    "none": ("none", "none"),
}


@dataclass(frozen=True)
class OtherCamerasOptions:
    """Measure the error of depth for cameras of many focal lengths."""

    checkpoint: str = "small"
    """A safetensors file, or a preset's name."""
    focal_lengths: tuple[float, ...] = (300.0, 450.0, 600.0, 900.0, 1200.0, 1500.0)
    """Focal lengths, pixels; KITTI's comes first always."""
    frames: int = 40
    """Frames of the test part that each camera sees."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    output: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        """Reject values nothing can be measured with."""
        if not 1 <= self.frames <= len(SyntheticDataset(part="test")):
            raise DepthFormerError(f"frames must be 1 to 200, got {self.frames}")
        if any(not 50 <= focal <= 5000 for focal in self.focal_lengths):
            raise DepthFormerError(
                f"focal lengths must be 50 to 5000 pixels, got {self.focal_lengths}"
            )


@dataclass(frozen=True)
class Measurement:
    """Errors of one camera.

    Attributes:
        kind: `resolution`: KITTI's field of view in more or fewer pixels; `lens`: KITTI's pixels
            behind another lens.
        focal_length: Pixels.
        width: Columns of its images.
        height: Rows of its images.
        abs_rel: Mean AbsRel of each method of reading its images.
        coverage: Share of the truth that has a prediction by the method `resize`.
        own: Mean AbsRel of KITTI's own camera over what this one sees too.
    """

    kind: Kind
    focal_length: float
    width: int
    height: int
    abs_rel: dict[Method, float]
    coverage: float
    own: float


def camera_with(kind: Kind, focal_length: float) -> Camera:
    """Return KITTI's camera with another focal length, pixels; see `Measurement` for the kinds."""
    ratio = focal_length / STREET_CAMERA.fx
    if kind == "lens":
        return Camera(
            STREET_CAMERA.width,
            STREET_CAMERA.height,
            focal_length,
            focal_length,
            STREET_CAMERA.cx,
            STREET_CAMERA.cy,
        )
    return Camera(
        round(STREET_CAMERA.width * ratio),
        round(STREET_CAMERA.height * ratio),
        focal_length,
        focal_length,
        STREET_CAMERA.cx * ratio,
        STREET_CAMERA.cy * ratio,
    )


def measure(options: OtherCamerasOptions) -> list[Measurement]:
    """Measure every camera; the first is KITTI's own."""
    predictors = {
        method: DepthPredictor.from_checkpoint(
            options.checkpoint, device=options.device, focal=focal, crop=crop
        )
        for method, (focal, crop) in _METHODS.items()
    }
    cameras: list[tuple[Kind, Camera]] = [("resolution", STREET_CAMERA)]
    for kind in get_args(Kind):
        cameras += [(kind, camera_with(kind, focal)) for focal in options.focal_lengths]
    protocol = Protocol(max_depth=80.0)
    streets = _frames(STREET_CAMERA, options.frames)
    results = []
    for kind, camera in tqdm(cameras, unit="camera", file=sys.stderr):
        frames = _frames(camera, options.frames)
        found = {
            method: evaluate(predictor.predict_depth, frames, protocol=protocol)
            for method, predictor in predictors.items()
        }
        shared = [seen_by(camera, street) for street in streets]
        own = evaluate(predictors["resize"].predict_depth, shared, protocol=protocol)
        results.append(
            Measurement(
                kind,
                camera.fx,
                camera.width,
                camera.height,
                abs_rel={
                    method: evaluation.mean["abs_rel"] for method, evaluation in found.items()
                },
                coverage=found["resize"].coverage,
                own=own.mean["abs_rel"],
            )
        )
    return results


def _frames(camera: Camera, count: int) -> list[Frame]:
    dataset = SyntheticDataset(part="test", camera=camera)
    return [dataset[index] for index in range(count)]


def seen_by(camera: Camera, frame: Frame) -> Frame:
    """Keep the truth of a frame that another camera in the same place sees too."""
    assert frame.camera is not None
    assert frame.depth is not None
    across, down = frame.camera.slopes()
    column, row = across * camera.fx + camera.cx, down * camera.fy + camera.cy
    inside = (abs(row - (camera.height - 1) / 2) <= camera.height / 2)[:, None] & (
        abs(column - (camera.width - 1) / 2) <= camera.width / 2
    )
    return dataclasses.replace(frame, depth=np.where(inside, frame.depth, np.float32(0)))


def format_measurements(results: list[Measurement]) -> str:
    """Format measurements as a Markdown table; ratios are to KITTI's camera over the same part."""
    methods = get_args(Method)
    rows = [
        f"| camera | focal length | image | in view | {' | '.join(methods)} |",
        f"| --- | ---: | ---: | ---: | {' | '.join('---:' for _ in methods)} |",
    ]
    for result in results:
        errors = [result.abs_rel[method] for method in methods]
        cells = [f"{error:.3f} ({error / result.own:.2f})" for error in errors]
        rows.append(
            f"| {result.kind} | {result.focal_length:.0f} | {result.width}x{result.height} "
            f"| {result.coverage:.0%} | {' | '.join(cells)} |"
        )
    return "\n".join(rows)


@exit_on_error("other_cameras")
def main() -> None:
    """Measure, print a table and write JSON."""
    options = tyro.cli(OtherCamerasOptions)
    results = measure(options)
    print(format_measurements(results))
    if options.output is not None:
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps([asdict(result) for result in results], indent=2))


if __name__ == "__main__":
    main()
