"""`depthformer doctor` on a machine."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.doctor import Level
from depthformer_core.doctor.machine import (
    Gpu,
    MachineFacts,
    driver_version,
    examine_machine,
    gather_machine,
)

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level

A_GPU = Gpu("NVIDIA Orin", (8, 7), 10**10, 3 * 10**10)
MACHINE = MachineFacts(
    package="0.1.0",
    python=(3, 12, 3),
    system="Linux, x86_64",
    threads=8,
    container=False,
    versions={"torch": "2.5.0a0+872d972e41.nv24.8", "timm": "1.0.20", "numpy": "1.26.4"},
    requirements=["numpy", "timm<1.1,>=1.0.16", "torch>=2.4", 'numpy<1; extra == "ros"'],
    gpus=[A_GPU],
    cuda="12.6",
    driver="540.4.0",
    jetson=False,
    bfloat16=False,
)
EXPORTED = {
    "exported": True,
    "gpus": [],
    "driver": "",
    "versions": {"numpy": "1.26.4", "onnxruntime": "1.23.0", "openvino": "2026.4.1"},
    "providers": ["CPUExecutionProvider"],
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {}, id="all well"),
        pytest.param({"gpus": [], "driver": "", "cuda": ""}, {}, id="no GPU"),
        pytest.param(
            {"package": "", "requirements": []},
            {"depthformer_ros": (WARNING, "not installed", "pip install")},
            id="not installed",
        ),
        pytest.param(
            {"python": (3, 14, 0)},
            {"Python": (WARNING, "3.14.0: tested are 3.10 to 3.13", "")},
            id="new Python",
        ),
        pytest.param(
            {"versions": {"torch": "2.3.1+cu121", "timm": "1.1.0"}},
            {
                "torch": (PROBLEM, "2.3.1+cu121, needed is >=2.4", "pip install 'torch>=2.4'"),
                "timm": (PROBLEM, "1.1.0, needed is <1.1,>=1.0.16", "pip install"),
            },
            id="versions out of range",
        ),
        pytest.param(
            {"gpus": [], "cuda": ""},
            {"GPU": (WARNING, "driver 540.4.0: this PyTorch was built without CUDA", "with CUDA")},
            id="PyTorch for the CPU",
        ),
        pytest.param(
            {"gpus": [], "cuda": "", "jetson": True},
            {"GPU": (WARNING, "a Jetson", "NVIDIA's PyTorch for JetPack")},
            id="PyTorch from PyPI on a Jetson",
        ),
        pytest.param(
            {"gpus": []},
            {"GPU": (WARNING, "built for CUDA 12.6, sees none", "--gpus all")},
            id="GPU hidden",
        ),
        pytest.param(
            {"gpus": [dataclasses.replace(A_GPU, free=None)]},
            {"GPU 0": (PROBLEM, "does not respond", "nvidia-smi")},
            id="GPU broken",
        ),
        pytest.param(
            {"versions": {"numpy": "1.26.4"}, "unusable": {"timm": "No module", "torch": "No"}},
            {
                "PyTorch": (
                    PROBLEM,
                    "cannot be imported: timm, torch (No module)",
                    "depthformer exp",
                )
            },
            id="no PyTorch",
        ),
        pytest.param(EXPORTED, {}, id="exported"),
        pytest.param({**EXPORTED, "driver": ""}, {}, id="exported, no GPU"),
        pytest.param(
            {**EXPORTED, "providers": ["CUDAExecutionProvider"], "versions": {"onnxruntime": "1"}},
            {},
            id="exported, ONNX Runtime for CUDA",
        ),
        pytest.param(
            {**EXPORTED, "driver": "540.4.0"},
            {"GPU": (WARNING, "no runtime here was built for CUDA", "onnxruntime-gpu")},
            id="exported, GPU without a runtime",
        ),
        pytest.param(
            {**EXPORTED, "jetson": True},
            {"GPU": (WARNING, "there is a Jetson", "NVIDIA's ONNX Runtime for JetPack")},
            id="exported, Jetson without a runtime",
        ),
        pytest.param(
            {**EXPORTED, "versions": {}, "unusable": {"onnxruntime": "No module onnxruntime"}},
            {"runtime": (PROBLEM, "No module onnxruntime", "pip install onnxruntime")},
            id="exported, no runtime",
        ),
    ],
)
def test_machine(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    check_findings(examine_machine(dataclasses.replace(MACHINE, **changes)), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "precision auto takes it"),
        ({"gpus": [dataclasses.replace(A_GPU, capability=(7, 5))]}, "auto takes float32"),
        ({"gpus": []}, "the CPU has no instructions"),
        ({"gpus": [], "bfloat16": True}, "for it: precision auto takes it"),
    ],
    ids=["Ampere", "Turing", "old CPU", "new CPU"],
)
def test_bfloat16(changes: dict[str, Any], expected: str) -> None:
    findings = examine_machine(dataclasses.replace(MACHINE, **changes))
    assert expected in next(f.found for f in findings if f.subject == "bfloat16")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\n", "550.54.14"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n"
            "GCC version:  gcc version 12.3.0\n",
            "570.86.10",
        ),
        ("", ""),
    ],
    ids=["proprietary", "open", "none"],
)
def test_driver_version(text: str, version: str) -> None:
    assert driver_version(text) == version


def test_this_machine_fits() -> None:
    facts = gather_machine()
    assert facts.python >= (3, 10)
    assert all(facts.versions.values())
    assert not [f for f in examine_machine(facts) if f.level is Level.PROBLEM]
