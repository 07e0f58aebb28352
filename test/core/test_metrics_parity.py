"""The official evaluation of real frames is reproduced."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from depthformer_core import DepthFormer
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.data.open import open_dataset
from depthformer_core.evaluation import METRICS, Protocol, evaluate
from depthformer_core.evaluation.protocol import Mask, choose_protocol
from depthformer_core.geometry.camera import Camera

TOLERANCE = 1e-5
GROUND = 172.854  # row of the horizon, pixels


def ground_plane(rgb: npt.NDArray[np.uint8], _: Camera | None) -> npt.NDArray[np.float32]:
    rows = np.arange(rgb.shape[0], dtype=np.float64)
    below = rows > GROUND + 0.001
    depth = np.full(rows.shape, 80.0)
    depth[below] = np.clip(1.65 * 721.5377 / (rows[below] - GROUND), 1e-3, 80)
    return np.repeat(depth[:, None], rgb.shape[1], axis=1).astype(np.float32)


def assert_equal(result: dict[str, Any], recorded: dict[str, Any]) -> None:
    assert result["mean"] == pytest.approx(recorded["mean"], rel=TOLERANCE, abs=TOLERANCE)
    assert len(result["per_image"]) == len(recorded["per_image"])
    for row, expected in zip(result["per_image"], recorded["per_image"], strict=True):
        assert row["file"] == expected["file"]
        errors = {name: row[name] for name in METRICS}
        expected = {name: expected[name] for name in METRICS}
        assert errors == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("mask", ["garg", "eigen"])
def test_ground_plane_equals_the_release(mask: Mask, parity: Path, samples: Path) -> None:
    recorded = json.loads((parity / "kitti_metrics.json").read_text())[f"ground_plane_{mask}"]
    dataset = open_dataset("kitti_eigen", samples, part="train")
    protocol = Protocol(crop="kitti", mask=mask, max_depth=80)
    result = evaluate(ground_plane, dataset, protocol=protocol)
    assert_equal({"mean": result.mean, "per_image": result.per_image}, recorded)


def test_benchmark_on_full_frames_is_cropped_first(samples: Path) -> None:
    """The release crops a frame, then masks it: its own evaluation yields 0.2125."""
    dataset = open_dataset("kitti_benchmark", samples, part="train")
    left = [index for index, file in enumerate(dataset.files) if "image_02" in file]
    frames = [dataset[index] for index in left]
    protocol = choose_protocol("kitti_benchmark", mask="garg", max_depth=88.0)
    result = evaluate(ground_plane, frames, protocol=protocol)
    assert result.mean["abs_rel"] == pytest.approx(0.2125, abs=5e-5)
    whole = evaluate(ground_plane, frames, protocol=replace(protocol, crop="none"))
    assert whole.mean["abs_rel"] == pytest.approx(0.2584, abs=5e-5)


@pytest.mark.slow
def test_command_equals_the_release(
    parity: Path, samples: Path, filled: Callable[[str, str], DepthFormer], tmp_path: Path
) -> None:
    recorded = json.loads((parity / "kitti_metrics.json").read_text())["swint_flip_garg"]
    checkpoint = tmp_path / "filled.safetensors"
    save_checkpoint(checkpoint, filled("swint_nyu", "swin_tiny_kitti"))
    split = tmp_path / "two.txt"
    drive = "2011_09_26_drive_0001_sync"
    split.write_text(
        "".join(
            f"2011_09_26/{drive}/image_02/data/{frame:010d}.png "
            f"{drive}/proj_depth/groundtruth/image_02/{frame:010d}.png 721.5377\n"
            for frame in (5, 6)
        )
    )
    places = ("--data.root", samples, "--data.split", split, "--output", tmp_path / "out")
    options = ("--device", "cpu", "--flip")
    command = (sys.executable, "-m", "depthformer_core.cli", "evaluate", checkpoint)
    subprocess.run([*command, *places, *options], check=True)
    assert_equal(json.loads((tmp_path / "out" / "results.json").read_text()), recorded)
