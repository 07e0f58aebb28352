"""A robot runs node, `predict` and `doctor` without the libraries of the extras."""

import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from blocked_imports import blocking_environment

BLOCKED = ("jinja2", "matplotlib", "plotly", "scipy", "tensorboard")
Completed: TypeAlias = "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, str]:
    """An environment whose Python finds none of the libraries of the extras."""
    folder = tmp_path_factory.mktemp("without_extras")
    return blocking_environment(folder, repository, BLOCKED)


def run(
    environment: dict[str, str], *arguments: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_libraries_are_not_found(environment: dict[str, str], tmp_path: Path) -> None:
    for library in BLOCKED:
        done = run(environment, "-c", f"import {library}", folder=tmp_path)
        assert "ModuleNotFoundError" in done.stderr


@pytest.mark.slow
def test_predict(environment: dict[str, str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.full((64, 96, 3), 90, np.uint8))
    arguments = (
        "predict",
        "image.png",
        "--output",
        "out",
        "--checkpoint",
        "debug",
        "--device",
        "cpu",
    )
    done = run(environment, "-m", "depthformer_core.cli", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_doctor(environment: dict[str, str], tmp_path: Path) -> None:
    """Its parts about machine and network."""
    code = (
        "from depthformer_core.doctor.machine import examine_machine, gather_machine\n"
        "from depthformer_core.doctor.network import examine_network, gather_network\n"
        "import depthformer_ros.doctor.examination\n"
        "examine_machine(gather_machine())\n"
        "print(*examine_network(gather_network('small', device='cpu')))"
    )
    done = run(environment, "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout


def test_the_node_is_imported(environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    done = run(environment, "-c", "import depthformer_ros.node.node", folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "library", "extra"),
    [
        pytest.param(
            ("train", "small", "--data.name", "synthetic"), "tensorboard", "train", id="train"
        ),
        pytest.param(("evaluate", "small", "--data.root", "."), "jinja2", "report", id="evaluate"),
    ],
)
def test_a_missing_library_is_one_line(
    environment: dict[str, str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    library: str,
    extra: str,
) -> None:
    done = run(environment, "-m", "depthformer_core.cli", *arguments, folder=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"needs {library}, which cannot be imported" in line
    assert f"pip install 'depthformer_ros[{extra}]'" in line


def test_the_core_alone_imports_none_of_them(repository: Path) -> None:
    code = f"import sys, depthformer_core; assert not set({BLOCKED}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
