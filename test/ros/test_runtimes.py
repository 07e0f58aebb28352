import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_files import write_exported

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("onnx", reason="writes an ONNX file")
pytest.importorskip("onnxruntime", reason="runs an ONNX file")

from depthformer_core.data.images import write_png
from depthformer_ros.load.runtimes import NodeRun, depth_difference, format_runs, main


def run(**changes: Any) -> NodeRun:
    values = {
        "start": 8.0,
        "processor": 6.0,
        "memory": 1000 * 2**20,
        "peak": 1200 * 2**20,
        "rate": 2.0,
        "pytorch": True,
        "depths": [np.full((2, 3), 5.0, np.float32)],
    }
    return NodeRun(**{**values, **changes})


def test_the_table_has_medians_and_ratios() -> None:
    slow, fast = run(), run(start=2.0, memory=400 * 2**20, rate=5.0, pytorch=False)
    rows = format_runs(["small", "small.onnx"], [[slow] * 3, [fast, fast, run()]]).splitlines()
    assert rows[0] == "| | small | small.onnx | ratio |"
    assert "| resident memory, MiB | 1000 | 400 | 0.40 |" in rows
    assert "| process start to first depth, s | 8 | 2 | 0.25 |" in rows
    assert "| frames a second | 2 | 5 | 2.50 |" in rows
    assert rows[-1] == "largest difference of depth over 1 frames: 0 m"


def test_pytorch_counts_where_any_node_has_it() -> None:
    other = run(pytorch=False)
    text = format_runs(["a", "b"], [[run(), other], [other, other]])
    assert "| PyTorch in the process | yes | no | |" in text


def test_depth_of_one_alone_is_counted() -> None:
    first, second = np.full((2, 3), 5.0, np.float32), np.full((2, 3), 5.5, np.float32)
    first[0, 0] = np.nan
    second[1] = np.nan
    assert depth_difference(run(depths=[first]), run(depths=[second])) == (0.5, 5.0, 4)
    nothing = np.full((2, 3), np.nan, np.float32)
    assert depth_difference(run(depths=[nothing]), run(depths=[nothing])) == (0.0, 0.0, 0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_two_nodes_are_measured(start_process: Callable[..., Any], tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index in range(2):
        write_png(images / f"{index}.png", np.full((64, 96, 3), 40 * index, np.uint8))
    files = [write_exported(tmp_path / name, (64, 96)) for name in ("a.onnx", "b.onnx")]
    process = start_process(
        "depthformer_ros.load.runtimes",
        *(*map(str, files), "--images", str(images), "--turns", "1", "--seconds", "1"),
        *("--devices", "cpu", "cpu", "input.crop:=none"),
    )
    assert process.wait(200) == 0, process.log
    for name in ("resident memory, MiB", "process start to first depth, s", "frames a second"):
        found = re.search(rf"\| {name} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", process.log)
        assert found, process.log
        assert min(map(float, found.groups())) > 0
    assert "| PyTorch in the process | no | no | |" in process.log
    assert "largest difference of depth over 2 frames: 0 m" in process.log


@pytest.mark.slow
def test_a_node_that_ends_is_reported(start_process: Callable[..., Any]) -> None:
    process = start_process("depthformer_ros.load.runtimes", "debug", "debug", "points.stride:=0")
    assert process.wait() == 1
    assert "runtimes: the node ended with exit code 1" in process.log


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"runtimes: .* has no images \(.jpeg, .jpg, .png\)"):
        main(["small", "small", "--images", str(tmp_path)])


@pytest.mark.parametrize("option", ["--frames", "--turns", "--seconds"])
def test_bad_arguments(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["small", "small", option, "0"])
    assert caught.value.code == 2
    assert f"{option}: must be positive" in capfd.readouterr().err
