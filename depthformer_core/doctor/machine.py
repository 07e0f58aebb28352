"""Checks of the machine: Python, its libraries, the GPU."""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from depthformer_core.doctor.finding import Finding, ok, problem, warning
from depthformer_core.errors import one_line
from depthformer_core.inference.exported_network import is_exported
from depthformer_core.inference.sessions import without_telemetry
from depthformer_core.pytorch import INSTALL, LIBRARIES

_PACKAGE = "depthformer_ros"
# Distribution and module of each library that every network depends on.
_LIBRARIES = {"numpy": "numpy", "opencv-python-headless": "cv2"}
# Likewise, of the runtimes of exported networks.
_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
_GPU_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
# Of ONNX Runtime for CUDA; its Python module has the name of the other one.
_RUNTIME_FOR_GPUS = "onnxruntime-gpu"
_TESTED_PYTHONS = ((3, 10), (3, 13))


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        name: Its name.
        capability: Compute capability.
        free: Memory that is free, bytes; None if the device does not respond.
        total: Memory, bytes.
    """

    name: str
    capability: tuple[int, int]
    free: int | None
    total: int


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """Facts about a machine.

    Attributes:
        package: Version of this package, empty if it is not installed.
        python: Version of Python.
        system: Operating system and processor, as text.
        threads: Threads that the network computes with.
        container: Whether this runs in a container.
        versions: Version of each library by the name of its distribution.
        requirements: Requirements of this package (PEP 508).
        gpus: Devices that PyTorch sees.
        cuda: CUDA that PyTorch was built for, empty for none.
        driver: Version of NVIDIA's driver, empty where there is none.
        jetson: Whether it is one of NVIDIA's Jetsons.
        bfloat16: Whether the processor has instructions for bfloat16, by PyTorch.
        exported: Whether the network is an exported one, which needs no PyTorch.
        unusable: Why a library cannot be imported, by the name of its distribution.
        providers: What ONNX Runtime was built to run on, by its own names.
    """

    package: str
    python: tuple[int, int, int]
    system: str
    threads: int
    container: bool
    versions: Mapping[str, str]
    requirements: Sequence[str]
    gpus: Sequence[Gpu]
    cuda: str
    driver: str
    jetson: bool
    bfloat16: bool
    exported: bool = False
    unusable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    providers: Sequence[str] = ()


def gather_machine(checkpoint: str = "small") -> MachineFacts:
    """Gather the facts about this machine.

    Args:
        checkpoint: What it is to run, as for `DepthPredictor.from_checkpoint`. For an exported
            network PyTorch is not imported, and what it sees stays unknown.
    """
    exported = is_exported(checkpoint)
    needed = _RUNTIMES if exported else {name: name for name in LIBRARIES}
    versions, unusable = _versions({**_LIBRARIES, **needed})
    if exported:
        versions |= _installed(LIBRARIES)
    torch = importlib.import_module("torch") if "torch" in versions and not exported else None
    try:
        package = importlib.metadata.version(_PACKAGE)
        requirements = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        package, requirements = "", []
    return MachineFacts(
        package=package,
        python=sys.version_info[:3],
        system=f"{_system()}, {platform.machine()}",
        threads=_threads() if torch is None else torch.get_num_threads(),
        container=any(Path(name).exists() for name in ("/.dockerenv", "/run/.containerenv")),
        versions=versions,
        requirements=requirements,
        gpus=[] if torch is None else _gpus(),
        cuda="" if torch is None else torch.version.cuda or "",
        driver=driver_version(_read("/proc/driver/nvidia/version")),
        jetson=Path("/etc/nv_tegra_release").exists(),
        bfloat16=torch is not None and _cpu_has_bfloat16(),
        exported=exported,
        unusable=unusable,
        providers=_providers() if "onnxruntime" in versions else (),
    )


def driver_version(text: str) -> str:
    """Parse the version of NVIDIA's driver from its text in /proc; empty if it is not there."""
    match = re.search(r"Kernel Module.*?\s(\d+(\.\d+)+)\s", text)
    return match[1] if match else ""


def examine_machine(facts: MachineFacts) -> list[Finding]:
    """Judge a machine."""
    return [
        _package(facts),
        _python(facts),
        *_libraries(facts),
        *(_runtimes(facts) if facts.exported else _pytorch(facts)),
    ]


def _package(facts: MachineFacts) -> Finding:
    where = f"{facts.system}{', in a container' if facts.container else ''}"
    if facts.package:
        return ok(_PACKAGE, f"{facts.package} on {where}")
    return warning(
        _PACKAGE,
        f"not installed, run from its sources on {where}",
        cause="no installer has checked its requirements",
        advice="pip install --editable . where its setup.py is, or colcon build",
    )


def _python(facts: MachineFacts) -> Finding:
    found = ".".join(map(str, facts.python))
    oldest, newest = _TESTED_PYTHONS
    if oldest <= facts.python[:2] <= newest:
        return ok("Python", found)
    tested = f"{'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
    return warning("Python", f"{found}: tested are {tested}")


def _libraries(facts: MachineFacts) -> list[Finding]:
    required = {}
    for text in facts.requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required[requirement.name] = requirement.specifier
    findings, fitting = [], []
    for name, version in facts.versions.items():
        wanted = required.get(name)
        if wanted and not wanted.contains(version, prereleases=True):
            findings.append(
                problem(
                    name,
                    f"{version}, needed is {wanted}",
                    advice=f"python3 -m pip install '{name}{wanted}'",
                )
            )
        else:
            fitting.append(f"{name} {version} ({wanted})" if wanted else f"{name} {version}")
    return [*([ok("libraries", ", ".join(fitting))] if fitting else []), *findings]


def _pytorch(facts: MachineFacts) -> list[Finding]:
    """Judge what PyTorch needs and sees."""
    missing = [name for name in LIBRARIES if name in facts.unusable]
    if not missing:
        return [*_graphics(facts), _bfloat16(facts)]
    return [
        problem(
            "PyTorch",
            f"cannot be imported: {', '.join(missing)} ({facts.unusable[missing[0]]})",
            cause="a checkpoint that is not exported needs it",
            advice=f"{INSTALL}; or take a network that `depthformer export` wrote (.onnx)",
        )
    ]


def _runtimes(facts: MachineFacts) -> list[Finding]:
    """Judge the runtimes of exported networks, and the GPU as they see it."""
    there = [name for name in _RUNTIMES if name in facts.versions]
    if not there:
        reasons = "; ".join(facts.unusable.values())
        return [
            problem(
                "runtime",
                f"none of {', '.join(_RUNTIMES)} can be imported ({reasons})",
                cause="an exported network needs one of them",
                advice=f"pip install onnxruntime (for an NVIDIA GPU {_RUNTIME_FOR_GPUS})",
            )
        ]
    kinds = [provider.removesuffix("ExecutionProvider") for provider in facts.providers]
    parts = [
        f"{name} {facts.versions[name]}"
        + (f" ({', '.join(kinds)})" if name == "onnxruntime" else "")
        for name in there
    ]
    return [ok("runtime", ", ".join(parts)), _runtime_graphics(facts)]


def _runtime_graphics(facts: MachineFacts) -> Finding:
    if any(provider in facts.providers for provider in _GPU_PROVIDERS):
        # Which device it really takes, the part on the network shows.
        driver = f"driver {facts.driver}" if facts.driver else "no driver of NVIDIA's is seen"
        return ok("GPU", f"ONNX Runtime was built for CUDA, {driver}")
    if not facts.driver and not facts.jetson:
        return ok("GPU", f"none for CUDA: the network runs on the CPU (threads: {facts.threads})")
    there = "a Jetson" if facts.jetson else f"NVIDIA's driver {facts.driver}"
    wheel = (
        "NVIDIA's ONNX Runtime for JetPack"
        if facts.jetson
        else f"{_RUNTIME_FOR_GPUS} instead of onnxruntime"
    )
    return warning(
        "GPU",
        f"not used, though there is {there}: no runtime here was built for CUDA",
        cause="the network runs on the CPU, which is much slower",
        advice=f"install {wheel}",
    )


def _graphics(facts: MachineFacts) -> list[Finding]:
    if facts.gpus:
        driver = f", driver {facts.driver}" if facts.driver else ""
        return [_gpu(number, gpu, driver, facts.cuda) for number, gpu in enumerate(facts.gpus)]
    if not facts.driver and not facts.jetson:
        return [ok("GPU", f"none for CUDA: the network runs on the CPU (threads: {facts.threads})")]
    there = "a Jetson" if facts.jetson else f"NVIDIA's driver {facts.driver}"
    if not facts.cuda:
        wheel = "NVIDIA's PyTorch for JetPack" if facts.jetson else "PyTorch with CUDA"
        return [
            warning(
                "GPU",
                f"not used, though there is {there}: this PyTorch was built without CUDA",
                cause="the network runs on the CPU, which is much slower",
                advice=f"install {wheel}, with the torchvision that belongs to it",
            )
        ]
    return [
        warning(
            "GPU",
            f"not used, though there is {there}: PyTorch, built for CUDA {facts.cuda}, sees none",
            cause="the driver is too old for that CUDA, CUDA_VISIBLE_DEVICES hides the GPU, or it "
            "is not passed into this container",
            advice='see the output of `python3 -c "import torch; torch.zeros(1).cuda()"`; start a '
            "container with --gpus all (on a Jetson --runtime nvidia)",
        )
    ]


def _gpu(number: int, gpu: Gpu, driver: str, cuda: str) -> Finding:
    capability = ".".join(map(str, gpu.capability))
    found = f"{gpu.name}, compute capability {capability}{driver}, PyTorch for CUDA {cuda}"
    subject = f"GPU {number}"
    if gpu.free is None:
        return problem(
            subject,
            f"{found}: does not respond",
            cause="it is exclusively another process's, broken, or PyTorch was not built for it",
            advice="see nvidia-smi, and the output of "
            '`python3 -c "import torch; torch.zeros(1).cuda()"`; device:=cpu does without it',
        )
    return ok(subject, f"{found}, {gpu.free / 1e9:.1f} of {gpu.total / 1e9:.1f} GB free")


def _bfloat16(facts: MachineFacts) -> Finding:
    if facts.gpus:
        from depthformer_core.device import AMPERE

        if facts.gpus[0].capability >= AMPERE:
            return ok("bfloat16", "computed by the GPU: precision auto takes it")
        return ok("bfloat16", "not computed by a GPU so old: precision auto takes float32")
    if facts.bfloat16:
        return ok("bfloat16", "the CPU has instructions for it: precision auto takes it")
    return ok("bfloat16", "the CPU has no instructions for it: precision auto takes float32")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _versions(modules: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return versions of libraries, and why others cannot be imported; by distribution."""
    versions, unusable = {}, {}
    for name, module in modules.items():
        try:
            # OpenVINO's goes on with its commit.
            with without_telemetry():
                library = importlib.import_module(module)
            versions[name] = str(library.__version__).partition("-")[0]
        except (ImportError, OSError) as error:  # OSError of a library that it is built on
            unusable[name] = one_line(error)
    return versions, unusable


def _installed(names: Sequence[str]) -> dict[str, str]:
    """Return versions of those libraries that are installed, without importing them."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _providers() -> Sequence[str]:
    providers: list[str] = importlib.import_module("onnxruntime").get_available_providers()
    return providers


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def _cpu_has_bfloat16() -> bool:
    import torch

    from depthformer_core.device import computes_in_bfloat16

    return computes_in_bfloat16(torch.device("cpu"))


def _gpus() -> list[Gpu]:
    import torch

    if not torch.cuda.is_available():
        return []
    gpus = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        try:
            free: int | None = torch.cuda.mem_get_info(index)[0]
        except RuntimeError:
            free = None
        gpus.append(Gpu(about.name, (about.major, about.minor), free, about.total_memory))
    return gpus


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
