"""`depthformer evaluate`."""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from depthformer_core.cli.data import DataOptions
from depthformer_core.config import Focal
from depthformer_core.data.split import describe_frames
from depthformer_core.distributed import process_group, rank, under_torchrun
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.output import provenance, write_evaluation
from depthformer_core.evaluation.protocol import Mask, choose_protocol
from depthformer_core.evaluation.results import format_table
from depthformer_core.evaluation.submission import write_submission
from depthformer_core.inference.crop import FixedCrop
from depthformer_core.inference.exported_network import is_exported

if TYPE_CHECKING:
    from depthformer_core.inference.predictor import DepthPredictor

# Images in the report: so many of the worst, and of the best.
_KEPT = 3


@dataclass(frozen=True)
class EvaluateOptions:
    """Compare a network's depth with the truth of a data set.

    Prints the means, the errors by distance and how good the uncertainty is, if there is any, and
    writes results.json, per_image.csv and report.html.
    """

    checkpoint: tyro.conf.Positional[str]
    """A safetensors file, one of the official release, or an exported network (.onnx); small, or
    small_kitti for streets like KITTI's, for weights that come with the package; or another
    preset's name (random weights)."""
    data: DataOptions
    """Data set to evaluate on."""
    crop: Literal["auto"] | FixedCrop = "auto"
    """Part of the image that is evaluated: the bottom 352 rows and middle 1216 columns (kitti), or
    all; auto is what the data set is usually evaluated with."""
    mask: Literal["auto"] | Mask = "auto"
    """Part of that whose truth counts; auto is what the data set is usually evaluated with."""
    max_depth: float | None = None
    """Truth counts up to this depth, metres; without it, up to the data set's usual one."""
    focal: Literal["auto"] | Focal = "auto"
    """Handling of images of another focal length than the network's: resize them, scale the
    depth, or none, as the official release; auto is none for sunrgbd, else resize."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    calibration: Path | None = None
    """File of `depthformer calibrate`, which corrects the depth of its camera's images."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; of an exported network tensorrt or openvino too."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the computation; auto takes what is fast on the device."""
    output: Path = field(default_factory=lambda: Path("evaluation"))
    """Folder that is written to."""
    submission: Path | None = None
    """Instead of evaluating, write PNGs and a ZIP for KITTI's depth prediction server here."""


def evaluate(options: EvaluateOptions) -> None:
    """Run `depthformer evaluate`; under `torchrun` the processes share the images."""
    if not under_torchrun():
        _evaluate(options)
        return
    exported = is_exported(options.checkpoint)
    from depthformer_core.device import resolve_device

    # The runtime of an exported network takes its device itself.
    with process_group(resolve_device("cpu" if exported else options.device)) as device:
        _evaluate(options if exported else replace(options, device=str(device)))


def _evaluate(options: EvaluateOptions) -> None:
    from depthformer_core.evaluation.network import evaluate_network
    from depthformer_core.inference.predictor import DepthPredictor

    first = rank() == 0
    predictor = DepthPredictor.from_checkpoint(
        options.checkpoint,
        device=options.device,
        precision=options.precision,
        flip=options.flip,
        calibration=options.calibration,
    )
    name = options.data.resolve_name(predictor.config)
    protocol = choose_protocol(
        name,
        crop=options.crop,
        mask=options.mask,
        max_depth=options.max_depth,
        focal=options.focal,
    )
    if predictor.config.focal_length is not None:
        predictor.focal = protocol.focal
    hidden = (name, options.data.part) == ("kitti_benchmark", "test")
    if options.submission is not None and not hidden:
        raise DepthFormerError(
            "--submission is for --data.name kitti_benchmark --data.part test, "
            f"got {name} {options.data.part}"
        )
    if options.submission is None and hidden:
        raise DepthFormerError(
            "KITTI keeps the truth of its test images to itself: "
            "take --data.part val, or --submission DIR for its server"
        )
    dataset = options.data.open(predictor.config)
    notes = [predictor.note] if predictor.note else []
    warnings = []
    if not predictor.trained:
        warnings.append(f"Preset {options.checkpoint} has random weights: its depth means nothing.")
        notes.append(f"{warnings[0]} Give a safetensors file for real depth.")
    warnings += dataset.notes
    notes += dataset.notes
    if first:
        for note in notes:
            print(note, file=sys.stderr)

    if options.submission is not None:
        if first:
            archive = write_submission(
                predictor.predict_depth, dataset, options.submission, progress=True
            )
            print(f"Wrote the depth of {len(dataset)} images and {archive}")
        return
    counted = describe_frames(len(dataset), options.data.split)
    about = _about(options, predictor, name=name, counted=counted)
    # A folder that cannot be written to shows before the work, not after it.
    options.output.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    result = evaluate_network(predictor, dataset, protocol=protocol, progress=first, keep=_KEPT)
    if not first:
        return
    speed = len(dataset) / (time.perf_counter() - began)
    warnings += result.warnings()
    files = write_evaluation(options.output, result, about=about, warnings=warnings)
    for warning in result.warnings():
        print(warning, file=sys.stderr)
    print(f"{counted}, {speed:.1f} a second\n\n{format_table(result)}\n")
    print(f"Wrote {', '.join(files)} to {options.output}")


def _about(
    options: EvaluateOptions, predictor: "DepthPredictor", *, name: str, counted: str
) -> dict[str, str]:
    """Describe the evaluation for the reports."""
    data = options.data
    return {
        "Checkpoint": options.checkpoint,
        "Data": f"{name}, {data.root}" if data.root else name,
        "Images": f"{data.split or data.part}: {counted}",
        "Focal length": predictor.focal,
        "Flip": "mean with the mirrored image" if options.flip else "no",
        "Device": f"{predictor.device}, {predictor.precision}",
        **({"Calibration": str(options.calibration)} if options.calibration else {}),
        **provenance(),
    }
