"""Faults of the network: its memory, its numbers, its checkpoint."""

import dataclasses
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticStatus

from depthformer_core import PRESETS, create_model
from depthformer_core.checkpoint import save_checkpoint

from .robots import depth_of

# As in node_with_faults.py.
OUT_OF_MEMORY, NOT_FINITE, LOST_DEVICE = 90, 91, 94


@pytest.fixture(scope="module")
def faulty(start_shared_robot: Callable[..., Any]) -> Iterator[Any]:
    robot = start_shared_robot(module="node_with_faults.py", autostart=False, input__crop="none")
    assert robot.change("configure")
    assert robot.change("activate")
    yield robot
    robot.close()


def test_out_of_memory_costs_the_frame_alone(faulty: Any) -> None:
    faulty.prediction(faulty.image())
    freed = faulty.process.log.count("cache freed")
    status = faulty.provoke(faulty.image(OUT_OF_MEMORY), "failed: out of memory")
    assert status.level == DiagnosticStatus.ERROR
    assert "last frame failed: OutOfMemoryError: CUDA out of memory" in status.message
    assert faulty.process.log.count("cache freed") > freed
    assert "frame failed: OutOfMemoryError: CUDA out of memory" in faulty.process.log
    # The next frame is tried anew.
    faulty.prediction(faulty.image())
    status = faulty.diagnosed(lambda status: "failed" not in status.message)
    assert status.level == DiagnosticStatus.WARN
    assert faulty.process.running


@pytest.mark.slow
def test_a_lost_device_ends_the_process(start_robot: Callable[..., Any]) -> None:
    """So that a supervisor starts another, which gets the device back."""
    robot = start_robot(module="node_with_faults.py", input__crop="none")
    robot.prediction(robot.image())
    robot.send(robot.image(LOST_DEVICE))
    assert robot.process.wait() == os.EX_SOFTWARE, robot.process.log
    assert "the device is lost, start the node again: RuntimeError: CUDA error" in robot.process.log
    assert "Traceback" not in robot.process.log


def test_what_is_no_number_is_published_as_nan(faulty: Any) -> None:
    good = depth_of(faulty.prediction(faulty.image()))
    assert np.isfinite(good).all()
    before = faulty.count("answered with values not finite")
    depth = depth_of(faulty.prediction(faulty.image(NOT_FINITE)))
    assert np.isnan(depth).any()
    assert not np.isinf(depth).any()
    status = faulty.diagnosed(lambda status: "not finite" in status.message)
    assert status.level == DiagnosticStatus.ERROR
    assert "returned 48 values that are not finite" in status.message
    assert faulty.count("answered with values not finite") > before
    assert "published as NaN" in faulty.process.log
    assert np.isfinite(depth_of(faulty.prediction(faulty.image()))).all()
    faulty.diagnosed(lambda status: "not finite" not in status.message)


def test_weights_that_are_no_numbers(faulty: Any, tmp_path: Path) -> None:
    model = create_model("debug")
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)
    save_checkpoint(tmp_path / "nan.safetensors", model)
    faulty.reload(checkpoint=str(tmp_path / "nan.safetensors"))
    try:
        assert np.isnan(depth_of(faulty.prediction(faulty.image()))).all()
        faulty.diagnosed(lambda status: "not finite" in status.message)
    finally:
        faulty.reload(checkpoint="debug")
    assert np.isfinite(depth_of(faulty.prediction(faulty.image()))).all()


class Payload:
    """Pickled, it would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def missing(folder: Path) -> Path:
    return folder / "missing.safetensors"


def truncated(folder: Path) -> Path:
    whole = folder / "whole.safetensors"
    save_checkpoint(whole, create_model("debug"))
    path = folder / "truncated.safetensors"
    path.write_bytes(whole.read_bytes()[:-1000])
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.safetensors"
    path.touch()
    return path


def other_architecture(folder: Path) -> Path:
    from safetensors import safe_open
    from safetensors.torch import save_file

    whole = folder / "whole.safetensors"
    save_checkpoint(whole, create_model("debug"))
    with safe_open(whole, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    del tensors["head.bias"]
    path = folder / "other.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


def another_networks(folder: Path) -> Path:
    from safetensors.torch import save_file

    path = folder / "another.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    return path


def pickled(folder: Path) -> Path:
    path = folder / "pickled.safetensors"
    path.write_bytes(pickle.dumps(Payload(folder / "harm")))
    return path


def pickled_pth(folder: Path) -> Path:
    path = folder / "pickled.pth"
    path.write_bytes(pickle.dumps(Payload(folder / "harm")))
    return path


def pickled_zip(folder: Path) -> Path:
    path = folder / "pickled.pth"
    torch.save({"meta": Payload(folder / "harm")}, path)
    return path


def folder_itself(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(missing, "no checkpoint at", id="missing"),
        pytest.param(folder_itself, "no checkpoint at", id="folder"),
        pytest.param(empty, "cannot read checkpoint", id="empty"),
        pytest.param(truncated, "cannot read checkpoint", id="truncated"),
        pytest.param(other_architecture, "missing tensor head.bias", id="other architecture"),
        pytest.param(another_networks, "is no DepthFormer checkpoint", id="another network's"),
        pytest.param(pickled, "would have to be run", id="pickled code"),
        pytest.param(pickled_pth, "would have to be run", id="pickled code in a .pth"),
        pytest.param(pickled_zip, "holds no state_dict", id="pickled code in a file of PyTorch"),
    ],
)
def test_a_bad_checkpoint_is_one_clear_line(
    faulty: Any, make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    assert faulty.change("deactivate")
    assert faulty.change("cleanup")
    before = len(faulty.process.log.splitlines())
    try:
        assert faulty.set(checkpoint=str(make(tmp_path))).successful
        assert not faulty.change("configure")
        assert faulty.state == "unconfigured"
        lines = faulty.process.log.splitlines()[before:]
        assert len([line for line in lines if "configure failed: " in line]) == 1
        assert any(reason in line for line in lines), lines
        assert not any("Traceback" in line for line in lines), lines
        status = faulty.diagnosed(lambda status: "configure failed" in status.message)
        assert status.level == DiagnosticStatus.ERROR
        assert not (tmp_path / "harm").exists()
    finally:
        assert faulty.set(checkpoint="debug").successful
        assert faulty.change("configure")
        assert faulty.change("activate")
    faulty.prediction(faulty.image())


OFFICIAL = """
model = dict(
    backbone=dict(embed_dims=8, depths=[1, 1, 1, 1]),
    neck=dict(embedding_dim=32),
    decode_head=dict(align_corners=True, act_cfg=dict(type='LeakyReLU'), max_depth=20))
"""


def test_a_file_of_the_release_is_loaded(
    faulty: Any, official_state: Callable[[Any], dict[str, Any]], tmp_path: Path
) -> None:
    config = dataclasses.replace(
        PRESETS["debug"], hahi_dim=32, hahi_heads=8, max_depth=20.0, crop="none"
    )
    path = tmp_path / "best_abs_rel_iter_800.pth"
    meta = {"config": OFFICIAL, "hook_msgs": {"best_score": np.float64(0.05)}}
    torch.save({"state_dict": official_state(create_model(config)), "meta": meta}, path)
    assert faulty.change("deactivate")
    assert faulty.change("cleanup")
    before = len(faulty.process.log.splitlines())
    try:
        assert faulty.set(checkpoint=str(path)).successful
        assert faulty.change("configure")
        lines = faulty.process.log.splitlines()[before:]
        assert len([line for line in lines if "depthformer convert" in line]) == 1, lines
        assert faulty.change("activate")
        faulty.prediction(faulty.image())
        assert faulty.change("deactivate")
    finally:
        faulty.change("cleanup")
        assert faulty.set(checkpoint="debug").successful
        assert faulty.change("configure")
        assert faulty.change("activate")
    faulty.prediction(faulty.image())
