"""Devices of exported networks, and the runtimes behind them."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depthformer_core.inference import sessions
from depthformer_core.inference.sessions import RuntimeDevice, open_session, parse_device

CPU, CUDA, TENSORRT = (
    "CPUExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
)


class FakeRuntime:
    """ONNX Runtime of a machine with some providers, of which some work."""

    __version__ = "1.32.0"

    def __init__(self, available: list[str], working: list[str]) -> None:
        self.available, self.working = available, working
        self.asked: list[list[str]] = []

    def get_available_providers(self) -> list[str]:
        return self.available

    def SessionOptions(self) -> Any:  # noqa: N802  # its name there
        return SimpleNamespace(add_session_config_entry=lambda *_: None)

    def InferenceSession(self, source: str, options: Any, providers: list[Any]) -> Any:  # noqa: N802
        del source, options
        names = [one if isinstance(one, str) else one[0] for one in providers]
        self.asked.append(names)
        used = [name for name in names if name in self.working]
        image = SimpleNamespace(name="image", shape=[1, 3, 4, 6])
        return SimpleNamespace(
            get_providers=lambda: used,
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map={"a": "b"}),
            get_inputs=lambda: [image],
            get_outputs=lambda: [SimpleNamespace(name="depth")],
            run=lambda _, inputs: [inputs["image"][:, :1]],
        )


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"network")
    return path


def pretend(
    monkeypatch: pytest.MonkeyPatch, available: list[str], working: list[str]
) -> FakeRuntime:
    runtime = FakeRuntime(available, working)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)  # type: ignore[arg-type]
    monkeypatch.setattr(sessions, "_installed", lambda name: name == "onnxruntime")
    return runtime


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", None),
        ("cpu", RuntimeDevice("cpu")),
        ("cuda", RuntimeDevice("cuda")),
        ("cuda:1", RuntimeDevice("cuda", 1)),
        ("tensorrt:0", RuntimeDevice("tensorrt", 0)),
        ("openvino", RuntimeDevice("openvino")),
    ],
)
def test_names_of_devices(text: str, device: RuntimeDevice | None) -> None:
    assert parse_device(text) == device
    if device is not None:
        assert str(device) == text


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "openvino:GPU", "CUDA"])
def test_unknown_devices_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be auto, cpu, .* got '" + text):
        parse_device(text)


@pytest.mark.parametrize(
    ("device", "available", "working", "found", "asked"),
    [
        ("auto", [CPU], [CPU], "cpu", [[CPU]]),
        ("auto", [TENSORRT, CUDA, CPU], [CUDA, CPU], "cuda", [[CUDA, CPU]]),
        # The package for GPUs, on a machine without one.
        ("auto", [TENSORRT, CUDA, CPU], [CPU], "cpu", [[CUDA, CPU], [CPU]]),
        ("cuda:1", [CUDA, CPU], [CUDA, CPU], "cuda:1", [[CUDA, CPU]]),
        (
            "tensorrt",
            [TENSORRT, CUDA, CPU],
            [TENSORRT, CUDA, CPU],
            "tensorrt",
            [[TENSORRT, CUDA, CPU]],
        ),
    ],
)
def test_providers_of_a_device(
    monkeypatch: pytest.MonkeyPatch,
    network: Path,
    device: str,
    available: list[str],
    working: list[str],
    found: str,
    asked: list[list[str]],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(network.parent))
    runtime = pretend(monkeypatch, available, working)
    session = open_session(network, device=device)
    assert str(session.device) == found
    assert runtime.asked == asked
    assert session.size == (4, 6)
    assert session.metadata == {"a": "b"}
    image = np.ones((1, 3, 4, 6), np.float32)
    assert session.run(image)["depth"].shape == (1, 1, 4, 6)


@pytest.mark.parametrize(
    ("device", "available", "working"),
    [
        pytest.param("cuda", [CPU], [CPU], id="not in this package"),
        pytest.param("cuda", [CUDA, CPU], [CPU], id="does not work"),
        pytest.param("tensorrt", [TENSORRT, CUDA, CPU], [CUDA, CPU], id="falls back to CUDA"),
    ],
)
def test_a_device_that_is_not_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
    network: Path,
    device: str,
    available: list[str],
    working: list[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(network.parent))
    pretend(monkeypatch, available, working)
    with pytest.raises(ValueError, match=f"device {device} requested, but this ONNX Runtime"):
        open_session(network, device=device)


def test_engines_are_kept_where_no_other_user_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (_, options), *_ = sessions._providers(RuntimeDevice("tensorrt", 2))
    folder = tmp_path / "depthformer" / "tensorrt"
    assert options["trt_engine_cache_path"] == str(folder)
    assert options["device_id"] == "2"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write to it"):
        (_, options), *_ = sessions._providers(RuntimeDevice("tensorrt"))
    assert "trt_engine_cache_path" not in options


@pytest.mark.parametrize(
    ("text", "threads"), [("", 0), ("3", 3), (" 2 ,1", 2), ("many", 0), ("-1", 0)]
)
def test_threads_are_the_users(monkeypatch: pytest.MonkeyPatch, text: str, threads: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert sessions.threads_by_user() == threads


@pytest.mark.parametrize(("device", "library"), [("cpu", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_runtime_is_named(
    monkeypatch: pytest.MonkeyPatch, network: Path, device: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=f"needs {library}, .*: pip install {library}"):
        open_session(network, device=device)


@pytest.mark.parametrize(
    ("installed", "gpu", "runtime"),
    [
        (("onnxruntime",), False, "ONNX Runtime"),
        (("openvino",), False, "OpenVINO"),
        # The faster one on a CPU; but a GPU is faster still.
        (("onnxruntime", "openvino"), False, "OpenVINO"),
        (("onnxruntime", "openvino"), True, "ONNX Runtime"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    network: Path,
    installed: tuple[str, ...],
    gpu: bool,
    runtime: str,
) -> None:
    monkeypatch.setattr(sessions, "_installed", installed.__contains__)
    monkeypatch.setattr(sessions, "_has_gpu_package", lambda: gpu)
    monkeypatch.setattr(sessions, "OpenVinoSession", lambda *_, **__: "OpenVINO")
    monkeypatch.setattr(sessions, "OnnxRuntimeSession", lambda *_, **__: "ONNX Runtime")
    assert open_session(network) == runtime


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint at .*none\.onnx"):
        open_session(tmp_path / "none.onnx")


def test_the_format_of_openvino_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "network.xml"
    path.write_text("<net/>")
    with pytest.raises(ValueError, match="which needs device openvino, got 'cuda'"):
        open_session(path, device="cuda")


@pytest.mark.parametrize(
    "opened",
    [
        pytest.param("sessions.open_session(sys.argv[1], device='openvino')", id="session"),
        pytest.param("machine.gather_machine('small.onnx')", id="doctor"),
    ],
)
@pytest.mark.usefixtures("openvino")
def test_openvino_sends_no_message_to_its_makers(opened: str, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"no network")
    code = (
        "import contextlib, os, sys\n"
        "os.fork = lambda: sys.exit('forked')\n"
        "from depthformer_core.doctor import machine\n"
        "from depthformer_core.inference import sessions\n"
        f"with contextlib.suppress(ValueError):\n    {opened}\n"
        "assert 'openvino' in sys.modules\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "forked" not in done.stderr
