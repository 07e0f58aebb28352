"""A robot with an exported network needs no PyTorch: not to predict, evaluate, replay or ask."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from blocked_imports import PYTORCH, blocking_environment
from exported_files import linear_depth, write_exported

pytest.importorskip("onnx", reason="writes an ONNX file")
pytest.importorskip("onnxruntime", reason="runs an ONNX file")

from depthformer_core import PRESETS
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.synthetic import Drive, street_camera, write_bag

CAMERA = street_camera(208, 64, focal=120.8)
CPU = ("--device", "cpu")

Completed: TypeAlias = "subprocess.CompletedProcess[str]"
Run: TypeAlias = Callable[..., Completed]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Run:
    """Runs a Python that finds no PyTorch, in a folder of its own."""
    folder = tmp_path_factory.mktemp("without_torch")
    environment = blocking_environment(folder, repository)

    def run(*arguments: object) -> Completed:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def depthformer(python: Run) -> Run:
    """Runs a command in such a Python."""

    def run(*arguments: object) -> Completed:
        return python("-m", "depthformer_core.cli", *arguments)

    return run


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network that reads what lies in the field of view of `small`."""
    path = tmp_path_factory.mktemp("networks") / "linear.onnx"
    return write_exported(path, (188, 621), config=PRESETS["small"])


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of a generated drive with depth and a LiDAR."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(Drive(13, frames=8, camera=CAMERA, rate=0.5), path)
    return path


def lines(done: Completed) -> str:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_libraries_are_not_found(python: Run) -> None:
    for library in PYTORCH:
        assert "ModuleNotFoundError" in python("-c", f"import {library}").stderr


def test_predict(depthformer: Run, network: Path, tmp_path: Path) -> None:
    rgb = np.full((375, 1242, 3), (90, 60, 30), np.uint8)
    write_png(tmp_path / "image.png", rgb)
    output = tmp_path / "out"
    lines(
        depthformer(
            *("predict", tmp_path / "image.png", "--output", output, "--checkpoint", network, *CPU)
        )
    )
    depth = np.load(output / "image_depth.npy")
    np.testing.assert_allclose(depth, linear_depth(rgb), rtol=1e-5)


@pytest.mark.slow
def test_evaluate(depthformer: Run, network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "test"
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for index in range(2):
        rgb, depth = Drive(index, frames=1).picture(0)
        write_png(folder / "rgb" / f"{index}.png", rgb)
        write_depth_png(
            folder / "depth" / f"{index}.png", np.where(depth < 80, depth, 0), scale=256
        )
    done = depthformer(
        *("evaluate", network, "--data.name", "folder", "--data.root", tmp_path / "data"),
        *("--data.part", "test", "--data.depth-scale", 256, "--output", tmp_path / "out", *CPU),
    )
    assert "abs_rel" in lines(done)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "cpu, float32" in json.dumps(results)


@pytest.mark.slow
def test_replay_and_calibrate(depthformer: Run, network: Path, bag: Path, tmp_path: Path) -> None:
    lines(depthformer("replay", bag, "--checkpoint", network, "--output", tmp_path / "out", *CPU))
    assert (tmp_path / "out" / "results.json").is_file()
    file = tmp_path / "camera.yaml"
    lines(depthformer("calibrate", bag, "--checkpoint", network, "--output", file, *CPU))
    assert "linear" in file.read_text()
    lines(
        depthformer(
            *("replay", bag, "--checkpoint", network, "--calibration", file),
            *("--output", tmp_path / "corrected", *CPU),
        )
    )


def test_doctor(python: Run, network: Path, tmp_path: Path) -> None:
    """Its parts about machine and network, for a network that fits a street and one that does not.

    With PyTorch's own checkpoint, both say what is missing.
    """
    other = write_exported(tmp_path / "other.onnx", (64, 96))
    code = (
        "import sys\n"
        "from depthformer_core.doctor.machine import examine_machine, gather_machine\n"
        "from depthformer_core.doctor.network import examine_network, gather_network\n"
        "import depthformer_ros.doctor.examination\n"
        "for checkpoint in sys.argv[1:]:\n"
        "    print(*examine_machine(gather_machine(checkpoint)), sep='\\n')\n"
        "    print(*examine_network(gather_network(checkpoint, device='cpu')), sep='\\n')\n"
        "    print('END')\n"
    )
    fitting, small, own, _ = lines(python("-c", code, network, other, "small")).split("END")
    for found in (fitting, small):
        assert "[problem]" not in found
        assert "[ok]      runtime: onnxruntime" in found
        assert "[ok]      attention: exported, by ONNX Runtime" in found
        assert "[ok]      self-test: a generated street" in found
    assert "preset small" in fitting
    (machine, network_line) = [line for line in own.splitlines() if "[problem]" in line]
    assert "PyTorch: cannot be imported: safetensors, timm, torch, torchvision" in machine
    assert "checkpoint small needs torch" in network_line


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "small", "--data.name", "synthetic"),
        ("benchmark", "small"),
        ("benchmark-training", "small"),
        ("convert", "a.pth", "b.safetensors"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_pytorch_says_so(depthformer: Run, arguments: tuple[str, ...]) -> None:
    done = depthformer(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"depthformer: {arguments[0]} needs torch, which cannot be imported")
    assert line.endswith("pip install safetensors timm torch torchvision")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "{image}", "--output", "out"),
        ("evaluate", "small", "--data.name", "synthetic"),
        ("replay", "{bag}", "--output", "replayed"),
        ("calibrate", "{bag}", "--checkpoint", "small"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_checkpoint_of_pytorch_names_both_ways_out(
    depthformer: Run, bag: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    image = tmp_path / "image.png"
    write_png(image, np.zeros((64, 96, 3), np.uint8))
    done = depthformer(*(one.format(image=image, bag=bag) for one in arguments))
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("depthformer: checkpoint small needs torch, which cannot be imported")
    assert "pip install safetensors timm torch torchvision" in line
    assert "depthformer export small" in line
    assert "Traceback" not in done.stderr
