"""The machine of a measurement."""

import importlib.metadata
import os
import platform
from pathlib import Path
from types import ModuleType

from depthformer_core.pytorch import missing_library

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino")


def machine() -> dict[str, str]:
    """Describe the machine of a measurement; without PyTorch, by what else runs networks."""
    torch = _pytorch()
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [
            line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        if models:
            cpu = models[0].partition(":")[2].strip()
    if torch is None:
        threads, gpu = os.cpu_count(), "unknown: PyTorch is not installed"
    else:
        threads = torch.get_num_threads()
        gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "cpu": f"{cpu}, {threads} threads",
        "gpu": gpu,
        "system": platform.platform(),
        "python": platform.python_version(),
        **({} if torch is None else {"torch": torch.__version__}),
        **_runtimes(),
    }


def _pytorch() -> ModuleType | None:
    try:
        import torch
    except ImportError as error:
        if not missing_library(error):
            raise
        return None
    return torch


def _runtimes() -> dict[str, str]:
    """Return the versions of the runtimes of exported networks that are installed."""
    versions = {}
    for name in _RUNTIMES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
