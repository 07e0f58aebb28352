"""Small training runs through the command."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

TIMEOUT = 240
ITERATIONS = 6


def write_pairs(root: Path) -> None:
    """Write folders with pairs to train and to evaluate on."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for kind in ("rgb", "depth"):
            (root / part / kind).mkdir(parents=True)
        for index in range(count):
            rows = np.linspace(255, 0, 48, dtype=np.float32)[:, None, None]
            picture = np.clip(rows + rng.normal(0, 20, (48, 64, 3)), 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(root / part / "rgb" / f"{index}.png"), picture)
            depth = (1000 + rows[..., 0] * 30 + np.zeros((1, 64))).astype(np.uint16)
            depth[rng.uniform(size=depth.shape) < 0.5] = 0
            assert cv2.imwrite(str(root / part / "depth" / f"{index}.png"), depth)


def options(pairs: Path, output: Path, *more: object) -> list[str]:
    given: list[object] = [
        "train",
        "debug",
        *("--data.root", pairs / "train", "--data.name", "folder", "--data.depth-scale", 1000),
        *("--data.workers", 1, "--val.root", pairs / "val", "--val.depth-scale", 1000),
        *("--val.every", 3, "--augment.border", "none", "--augment.size", 32, 48),
        *("--model.crop", "none", "--model.dropout", 0.0, "--optim.batch-size", 4),
        *("--optim.iterations", ITERATIONS, "--optim.warm-up", 2, "--optim.ema-decay", 0.9),
        *("--optim.sync-batch-norm", "--val.flip", "--device", "cpu", "--output", output, *more),
    ]
    return [str(value) for value in given]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def start(arguments: Sequence[str], *, processes: int = 1) -> "subprocess.Popen[str]":
    launcher = ["-m", "depthformer_core.cli"]
    if processes > 1:
        launcher = [
            *("-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), *launcher),
        ]
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(arguments: Sequence[str], *, processes: int = 1, code: int = 0) -> str:
    process = start(arguments, processes=processes)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, output
    return output


def lines(folder: Path, kind: str) -> list[Any]:
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [line[kind] for line in map(json.loads, text) if kind in line]
