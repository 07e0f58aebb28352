"""The files of an evaluation, and the versions that it was made with."""

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from depthformer_core.evaluation.curves import TrainingCurves
from depthformer_core.evaluation.evaluate import Evaluation
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.report import Section, render_report
from depthformer_core.evaluation.results import to_csv, to_json
from depthformer_core.files import write_texts

if TYPE_CHECKING:
    from depthformer_core.evaluation.cloud_view import CloudView


_RUNTIMES = {
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-gpu": "ONNX Runtime with GPU",
    "openvino": "OpenVINO",
}


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    *,
    about: Mapping[str, str],
    warnings: Sequence[str],
    latency: Latency | None = None,
    curves: TrainingCurves | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
    sections: Sequence[Section] = (),
    cloud: "CloudView | None" = None,
) -> list[str]:
    """Write `results.json`, `per_image.csv` and `report.html`.

    Args:
        folder: The folder; made where it is missing.
        evaluation: The evaluation.
        about: Description of the evaluation, for the reports.
        warnings: Sentences on why the numbers may mislead.
        latency: Latency of the predictions, where they came from a node.
        curves: Curves of the run that trained the network, for `report.html` alone.
        more: Further values for `results.json`.
        sections: Further tables for `report.html`.
        cloud: View of the clouds of the worst image, for `report.html` alone.

    Returns:
        Names of the files.

    Raises:
        OSError: A file cannot be written.
    """
    files = {
        "results.json": to_json(
            evaluation, about=about, warnings=warnings, latency=latency, more=more
        ),
        "per_image.csv": to_csv(evaluation),
        "report.html": render_report(
            evaluation,
            about=about,
            warnings=warnings,
            latency=latency,
            curves=curves,
            sections=sections,
            cloud=cloud,
        ),
    }
    write_texts(folder, files)
    return list(files)


def provenance() -> dict[str, str]:
    """Return date and versions, for the description of an evaluation."""
    versions = [f"depthformer_ros {importlib.metadata.version('depthformer_ros')}"]
    for library, name in _RUNTIMES.items():
        # A robot has one of them, not all.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(library)}")
    return {
        "Date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "Versions": ", ".join((*versions, f"Python {platform.python_version()}")),
    }
