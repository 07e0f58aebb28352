"""Bags evaluated by the workers of a Dask scheduler."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import fail

from depthformer_core.bags import BagWriter
from depthformer_core.bags.messages import camera_info_message, depth_message, image_message
from depthformer_core.cli import main
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(32, 16, 20.0, 20.0, 15.5, 7.5)
START = 1_700_000_000_000_000_000


def write(path: Path, *, factor: float) -> None:
    rng = np.random.default_rng(3)
    with BagWriter(path) as writer:
        for frame in range(9):
            stamp = START + frame * 100_000_000
            truth = rng.uniform(2, 40, (16, 32)).astype(np.float32)
            rgb = rng.integers(0, 255, (16, 32, 3), dtype=np.uint8)
            where = {"stamp": stamp, "frame_id": "eye"}
            writer.write("/eye/camera_info", camera_info_message(CAMERA, **where), stamp=stamp)
            writer.write("/eye/image", image_message(rgb, **where), stamp=stamp)
            writer.write("/eye/depth", depth_message(truth, **where), stamp=stamp)
            depth = depth_message(truth * np.float32(factor), **where)
            writer.write("/answers", depth, stamp=stamp + 20_000_000)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a scheduler with two workers, each a process of its own."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        *2 * [[*dask, "worker", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1",
               "--local-directory", str(folder)]],
    ]  # fmt: skip
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    processes = []
    with (folder / "log").open("wb") as log:
        for command in commands:
            processes.append(
                subprocess.Popen(
                    [*command, "--scheduler-file", str(file)],
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
            )
    try:
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@pytest.mark.slow
def test_workers_find_the_same_as_this_process(scheduler, tmp_path):
    for number in (1, 2, 3):
        write(tmp_path / "bags" / f"drive_{number}", factor=1 + number / 10)
    (tmp_path / "bags" / "drive_4.mcap").write_bytes(b"nothing")
    found = {}
    for name, options in (("here", ["--jobs", "1"]), ("dask", ["--scheduler", scheduler])):
        output = tmp_path / name
        with pytest.raises(SystemExit) as stop:
            main(["replay", str(tmp_path / "bags"), "--prediction-topic", "ours=/answers",
                  "--output", str(output), *options])  # fmt: skip
        assert stop.value.code == 1
        found[name] = json.loads((output / "drives.json").read_text())["drives"]
        for number in (1, 2, 3):
            assert (output / f"drive_{number}" / "report.html").exists()
    assert [drive["name"] for drive in found["dask"]] == [f"drive_{n}" for n in (1, 2, 3, 4)]
    assert [bool(drive["error"]) for drive in found["dask"]] == [False, False, False, True]
    for here, there in zip(found["here"], found["dask"], strict=True):
        assert here["figures"] == there["figures"]


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer(tmp_path):
    pytest.importorskip("distributed")
    for number in (1, 2):
        write(tmp_path / f"drive_{number}", factor=1.1)
    for address in ("tcp://127.0.0.1:9", "nonsense://here"):
        said = fail("replay", tmp_path, "--prediction-topic", "ours=/answers",
                    "--output", tmp_path / "out", "--scheduler", address)  # fmt: skip
        assert f"no Dask scheduler answers at {address}" in said
