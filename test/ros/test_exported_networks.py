"""A node that runs exported networks: there is no PyTorch in its process."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocked_imports import blocking_environment
from calibrations import calibration_of_small
from exported_files import DAMAGED, linear_depth, write_exported

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("onnx", reason="writes an ONNX file")
pytest.importorskip("onnxruntime", reason="runs an ONNX file")

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.calibration.calibration_file import NetworkView, write_calibration
from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.rotate import rotate_image
from depthformer_core.presets import PRESETS
from depthformer_ros.messages.conversions import rgb_to_image

from .robots import calibrated, depth_of

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def network(folder: Path) -> Path:
    """Reads images of the robots' camera."""
    return write_exported(folder / "linear.onnx", (64, 96))


@pytest.fixture(scope="module")
def exported(
    start_shared_robot: Callable[..., Any], network: Path, folder: Path, repository: Path
) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        path = blocking_environment(folder, repository)["PYTHONPATH"]
        patch.setenv("PYTHONPATH", path)
        robot = start_shared_robot(checkpoint=str(network), input__crop="none", depth__max=1000.0)
    robot.process.wait_for_log("waiting for images")
    robot.calibrate(calibrated())
    yield robot
    robot.close()


def assert_linear(robot: Any, image: Any) -> None:
    depth = depth_of(robot.prediction(image))
    np.testing.assert_allclose(depth, linear_depth(image_to_rgb(image)), rtol=1e-5)


def test_depth_comes_without_pytorch(exported: Any) -> None:
    assert_linear(exported, exported.image())
    assert exported.partner(exported.image(), exported.clouds).width
    assert not [name for name in exported.process.libraries if "torch" in name]
    assert [name for name in exported.process.libraries if "onnxruntime" in name]


def test_diagnostics_name_what_runs_it(exported: Any, network: Path) -> None:
    exported.prediction(exported.image())
    values = exported.values()
    assert values["checkpoint"] == str(network)
    assert (values["device"], values["precision"], values["trained"]) == ("cpu", "float32", "True")
    assert values["attention"].startswith("exported, by ONNX Runtime ")
    assert exported.diagnosed(bool).hardware_id == "cpu"


@pytest.mark.usefixtures("openvino")
def test_openvino_runs_it_too(exported: Any) -> None:
    exported.reload(device="openvino")
    try:
        exported.calibrate(calibrated())
        assert_linear(exported, exported.image())
        values = exported.values()
        assert values["device"] == "openvino"
        assert values["attention"].startswith("exported, by OpenVINO ")
    finally:
        exported.reload(device="cpu")


def test_a_camera_of_another_size_costs_its_frames_alone(exported: Any) -> None:
    status = exported.provoke(exported.image(80, 60), "failed: DepthFormerError")
    assert status.level == DiagnosticStatus.ERROR
    reason = "linear.onnx reads images of 96x64 pixels alone"
    assert reason in status.message
    assert "--size 60 80" in status.message
    lines = [line for line in exported.process.log.splitlines() if "frame failed: " in line]
    assert reason in lines[-1]
    assert "Traceback" not in exported.process.log
    exported.calibrate(calibrated())
    assert_linear(exported, exported.image())


def test_flip_and_rotate(exported: Any) -> None:
    image = exported.image()
    exported.reload(flip=True, input__rotate=180)
    try:
        exported.calibrate(calibrated())
        assert_linear(exported, image)
        # Of a network that looks at each pixel alone, the mirrored image says the same.
        assert np.abs(depth_of(exported.partner(image, exported.spreads))).max() < 1e-4
        exported.reload(flip=False, input__rotate=90)
        sideways = rgb_to_image(rotate_image(image_to_rgb(image), -90), Header())
        exported.stamp(sideways)
        assert_linear(exported, sideways)
    finally:
        exported.reload(flip=False, input__rotate=0)


def test_a_crop(exported: Any, network: Path, folder: Path) -> None:
    cropped = write_exported(folder / "kitti.onnx", (352, 1216))
    exported.reload(checkpoint=str(cropped), input__crop="kitti")
    try:
        image = exported.image(1242, 375)
        depth = depth_of(exported.prediction(image))
        inside = np.isfinite(depth)
        assert np.count_nonzero(inside) == 352 * 1216
        np.testing.assert_allclose(
            depth[inside], linear_depth(image_to_rgb(image))[inside], rtol=1e-5
        )
    finally:
        exported.reload(checkpoint=str(network), input__crop="none")


def test_a_calibration_is_of_the_weights(exported: Any, folder: Path) -> None:
    view = NetworkView(crop="none", focal="none", flip=False, rotate=0)
    made = calibration_of_small(
        DepthCorrection.factor(0.5), CAMERA, checkpoint="linear", sha256="0" * 64, view=view
    )
    other = dataclasses.replace(made, sha256="1" * 64)
    write_calibration(folder / "own.yaml", made)
    write_calibration(folder / "other.yaml", other)
    exported.reload(depth__calibration=str(folder / "own.yaml"))
    try:
        exported.calibrate(calibrated())
        image = exported.image()
        depth = depth_of(exported.prediction(image))
        np.testing.assert_allclose(depth, 0.5 * linear_depth(image_to_rgb(image)), rtol=1e-4)
        line = refused(exported, depth__calibration=str(folder / "other.yaml"))
        assert "is for the checkpoint linear, the network is" in line
    finally:
        restore(exported, depth__calibration="")


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_leaves_the_node_unconfigured(
    exported: Any, network: Path, tmp_path: Path, kind: str
) -> None:
    make, reason = DAMAGED[kind]
    try:
        assert reason in refused(exported, checkpoint=str(make(tmp_path)))
    finally:
        restore(exported, checkpoint=str(network))
    exported.calibrate(calibrated())
    assert_linear(exported, exported.image())


def test_a_checkpoint_of_pytorch_says_what_to_do(exported: Any, network: Path) -> None:
    try:
        line = refused(exported, checkpoint="small")
        assert "checkpoint small needs torch, which cannot be imported" in line
        assert "pip install" in line
        assert "depthformer export small" in line
    finally:
        restore(exported, checkpoint=str(network))


@pytest.mark.slow
def test_demo_and_replay_through_the_node(tmp_path: Path, repository: Path, folder: Path) -> None:
    network = write_exported(folder / "view.onnx", (188, 621), config=PRESETS["small"])
    environment = blocking_environment(tmp_path, repository)

    def run(*arguments: object) -> None:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from depthformer_ros.demo import run_demo\n"
        "run_demo(output=Path('demo'), checkpoint=sys.argv[1], device='cpu', frames=4)\n"
    )
    run("-c", code, network)
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["answered"]
    assert (report["trained"], report["device"], report["precision"]) == (True, "cpu", "float32")
    assert "torch" not in report["machine"]
    run(
        *("-m", "depthformer_core.cli", "replay", "demo/bag", "--node", "--output", "replayed"),
        *("--checkpoint", network, "--device", "cpu"),
    )
    assert (tmp_path / "replayed" / "results.json").is_file()


def refused(robot: Any, **parameters: str) -> str:
    """Configure a node that cannot be, and return the one line that says why."""
    assert robot.change("deactivate")
    assert robot.change("cleanup")
    before = len(robot.process.log.splitlines())
    assert robot.set(**parameters).successful
    assert not robot.change("configure")
    assert robot.state == "unconfigured"
    status = robot.diagnosed(lambda status: "configure failed" in status.message)
    assert status.level == DiagnosticStatus.ERROR
    lines = robot.process.log.splitlines()[before:]
    assert not any("Traceback" in line for line in lines), lines
    (line,) = [line for line in lines if "configure failed: " in line]
    return str(line)


def restore(robot: Any, **parameters: str) -> None:
    assert robot.set(**parameters).successful
    assert robot.change("configure")
    assert robot.change("activate")
