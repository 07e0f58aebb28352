"""What other focal lengths do to depth: `python -m depthformer_core.evaluation.other_cameras`.

Each camera looks at the same generated streets, and a network reads its images in each of the ways
there are to deal with its focal length.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro
from tqdm import tqdm

from depthformer_core.camera import Camera
from depthformer_core.config import Focal
from depthformer_core.data.dataset import Frame
from depthformer_core.data.synthetic import STREET_CAMERA, SyntheticDataset
from depthformer_core.evaluation.evaluate import Predict, evaluate
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.files import replacing
from depthformer_core.predictor import DepthPredictor

Kind = Literal["resolution", "lens"]


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
            raise ValueError(f"frames must be 1 to 200, got {self.frames}")
        if any(not 50 <= focal <= 5000 for focal in self.focal_lengths):
            raise ValueError(f"focal lengths must be 50 to 5000 pixels, got {self.focal_lengths}")


@dataclass(frozen=True)
class Measurement:
    """Errors of one camera.

    Attributes:
        kind: `resolution`: KITTI's field of view in more or fewer pixels; `lens`: KITTI's pixels
            behind another lens.
        focal_length: Pixels.
        width: Columns of its images.
        height: Rows of its images.
        abs_rel: Mean AbsRel of each way to deal with the focal length.
    """

    kind: Kind
    focal_length: float
    width: int
    height: int
    abs_rel: dict[Focal, float]


def camera_with(kind: Kind, focal_length: float) -> Camera:
    """KITTI's camera with another focal length, pixels; see `Measurement` for the kinds."""
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
        focal: DepthPredictor.from_checkpoint(
            options.checkpoint, device=options.device, focal=focal
        )
        for focal in get_args(Focal)
    }
    cameras: list[tuple[Kind, Camera]] = [("resolution", STREET_CAMERA)]
    for kind in get_args(Kind):
        cameras += [(kind, camera_with(kind, focal)) for focal in options.focal_lengths]
    protocol = Protocol(max_depth=80.0)
    results = []
    for kind, camera in tqdm(cameras, unit="camera", file=sys.stderr):
        dataset = SyntheticDataset(part="test", camera=camera)
        frames: list[Frame] = [dataset[index] for index in range(options.frames)]
        errors = {
            focal: evaluate(_depth_by(predictor), frames, protocol=protocol).mean["abs_rel"]
            for focal, predictor in predictors.items()
        }
        results.append(Measurement(kind, camera.fx, camera.width, camera.height, errors))
    return results


def _depth_by(predictor: DepthPredictor) -> Predict:
    return lambda rgb, camera: predictor.predict(rgb, camera).depth


def format_measurements(results: list[Measurement]) -> str:
    """Lay measurements out as a Markdown table; ratios are to the first one resized."""
    ways = get_args(Focal)
    rows = [
        f"| camera | focal length | image | {' | '.join(ways)} |",
        f"| --- | ---: | ---: | {' | '.join('---:' for _ in ways)} |",
    ]
    own = results[0].abs_rel["resize"]
    for result in results:
        cells = [f"{result.abs_rel[way]:.3f} ({result.abs_rel[way] / own:.2f})" for way in ways]
        rows.append(
            f"| {result.kind} | {result.focal_length:.0f} | {result.width}x{result.height} "
            f"| {' | '.join(cells)} |"
        )
    return "\n".join(rows)


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
