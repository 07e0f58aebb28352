"""Runtimes of exported networks: ONNX Runtime and OpenVINO."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from depthformer_core.code_cache import cache_folder, private_folder
from depthformer_core.errors import CheckpointError, DepthFormerError, one_line, warn_once
from depthformer_core.types import FloatArray

EXPORTED_SUFFIXES = (".onnx", ".xml")
"""Ends of the names of files that runtimes open: ONNX, and OpenVINO's own format."""

INPUT = "image"
"""Name of the input."""

RuntimeName = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
"""Devices of exported networks; `cuda` and `tensorrt` may be followed by `:N`."""

_MOST_PIXELS = 2**24  # of an image

_TELEMETRY = "openvino_telemetry"

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


@dataclass(frozen=True)
class RuntimeDevice:
    """Where a runtime computes.

    Attributes:
        type: `cpu`, `cuda`, `tensorrt` or `openvino`.
        index: Number of the GPU; None for the first, or where there is none.
    """

    type: str
    index: int | None = None

    def __str__(self) -> str:
        """Return the device as options name it."""
        return self.type if self.index is None else f"{self.type}:{self.index}"


class Session(ABC):
    """A network of a file, opened by a runtime.

    Attributes:
        device: Where it runs.
        metadata: Texts that the file holds about the network.
        size: Height and width of its input, (1, 3, height, width), pixels.
        runtime: Name and version of the runtime.
    """

    runtime: str
    device: RuntimeDevice
    metadata: Mapping[str, str]
    size: tuple[int, int]

    @abstractmethod
    def run(self, image: FloatArray) -> dict[str, FloatArray]:
        """Run the network; one thread at a time may call this.

        Args:
            image: float32 (1, 3, height, width), as the network reads it.

        Returns:
            Every output by its name, float32.

        Raises:
            RuntimeError: The runtime fails.
        """


def parse_device(device: str) -> RuntimeDevice | None:
    """Parse the name of a device; None for `auto`.

    Raises:
        DepthFormerError: The name is unknown.
    """
    kind, colon, index = device.partition(":")
    indexed = kind in ("cuda", "tensorrt") and index.isascii() and index.isdecimal()
    if kind not in get_args(RuntimeName) or (colon and not indexed):
        raise DepthFormerError(
            "device of an exported network must be auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N "
            f"or openvino, got {device!r}"
        )
    return None if kind == "auto" else RuntimeDevice(kind, int(index) if colon else None)


def open_session(
    path: str | os.PathLike[str] | bytes,
    *,
    device: str = "auto",
    extra_outputs: Sequence[str] = (),
) -> Session:
    """Open an exported network.

    Args:
        path: An ONNX file, its content, or a file of OpenVINO's (.xml).
        device: `cpu`, `cuda`, `cuda:N` or `tensorrt` of ONNX Runtime, `openvino` for OpenVINO on
            the CPU, or `auto`: a GPU if onnxruntime-gpu is installed and has one; else the CPU, by
            OpenVINO where that is installed, which is faster, or by ONNX Runtime. A file of
            OpenVINO's needs OpenVINO.
        extra_outputs: Names of values within the network that are outputs too.

    Raises:
        CheckpointError: The file is missing, or is no network that the runtime can open.
        DepthFormerError: The device is unknown or not there, or its runtime is not installed.
    """
    target = parse_device(device)
    if not isinstance(path, bytes):
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"no checkpoint at {path}")
    own = isinstance(path, Path) and path.suffix == ".xml"
    if own and target not in (None, RuntimeDevice("openvino")):
        raise DepthFormerError(
            f"{_named(path)} is in OpenVINO's format, which needs device openvino, got {device!r}: "
            "take the ONNX file that it was made from"
        )
    if own or target == RuntimeDevice("openvino"):
        return OpenVinoSession(path, extra_outputs=extra_outputs)
    if target is None and _installed("openvino") and not _has_gpu_package():
        return OpenVinoSession(path, extra_outputs=extra_outputs)
    return OnnxRuntimeSession(path, device=target, extra_outputs=extra_outputs)


class OnnxRuntimeSession(Session):
    """A network that ONNX Runtime runs.

    Args:
        path: An ONNX file, or its content.
        device: Where it runs; None for a GPU if there is one, else the CPU.
        extra_outputs: Names of values within the network that are outputs too.

    Raises:
        CheckpointError: The file is no network that ONNX Runtime can open.
        DepthFormerError: The device is not there, or ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path | bytes,
        *,
        device: RuntimeDevice | None = None,
        extra_outputs: Sequence[str] = (),
    ) -> None:
        runtime = import_runtime("onnxruntime", device="cpu, cuda or tensorrt")
        available = runtime.get_available_providers()
        source = _with_outputs(path, extra_outputs) if extra_outputs else path
        devices = [device or RuntimeDevice("cuda"), *([] if device else [RuntimeDevice("cpu")])]
        for one in devices:
            if _PROVIDERS[one.type] not in available:
                continue
            session = open_onnx(source, one, name=_named(path))
            # Where a GPU does not work, ONNX Runtime goes on without.
            if session.get_providers()[0] == _PROVIDERS[one.type]:
                break
        else:
            raise DepthFormerError(
                f"device {device} requested, but this ONNX Runtime {runtime.__version__} has only "
                f"{', '.join(available)}, and those of a GPU work only where its libraries fit: "
                "install onnxruntime-gpu instead of onnxruntime"
            )
        self._session = session
        self.runtime = f"ONNX Runtime {runtime.__version__}"
        self.device = one
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        self.size = _size(inputs, path)
        self._names = [one.name for one in self._session.get_outputs()]

    def run(self, image: FloatArray) -> dict[str, FloatArray]:
        """Run the network."""
        try:
            values = self._session.run(None, {INPUT: image})
        except Exception as error:  # its exceptions have no other base
            raise RuntimeError(one_line(error)) from error
        return dict(zip(self._names, values, strict=True))


class OpenVinoSession(Session):
    """A network that OpenVINO runs on the CPU.

    Args:
        path: An ONNX file, its content, or a file of OpenVINO's (.xml).
        extra_outputs: Names of values within the network that are outputs too.

    Raises:
        CheckpointError: The file is no network that OpenVINO can open.
        DepthFormerError: OpenVINO is not installed.
    """

    device = RuntimeDevice("openvino")

    def __init__(self, path: Path | bytes, *, extra_outputs: Sequence[str] = ()) -> None:
        openvino = import_runtime("openvino", device="openvino")
        self.runtime = f"OpenVINO {openvino.__version__.partition('-')[0]}"
        self._core = openvino.Core()
        try:
            source = io.BytesIO(path) if isinstance(path, bytes) else os.fspath(path)
            model = self._core.read_model(source)
            if extra_outputs:
                model.add_outputs(list(extra_outputs))
            inputs = {
                one.any_name: [
                    length.get_length() if length.is_static else None
                    for length in one.partial_shape
                ]
                for one in model.inputs
            }
            # To compile takes the memory of all images within.
            self.size = _size(inputs, path)
            compiled = self._core.compile_model(model, "CPU", openvino_settings())
        except CheckpointError:
            raise
        except Exception as error:  # its exceptions have no other base
            raise CheckpointError(f"{_named(path)} cannot be opened: {one_line(error)}") from error
        about = model.get_rt_info()
        texts = about["framework"] if "framework" in about else {}  # noqa: SIM401  # no dict
        self.metadata = {name: str(value.value) for name, value in texts.items()}
        self._request = compiled.create_infer_request()
        self._names = [(index, one.names) for index, one in enumerate(compiled.outputs)]

    def run(self, image: FloatArray) -> dict[str, FloatArray]:
        """Run the network."""
        self._request.infer({INPUT: image})
        outputs: dict[str, FloatArray] = {}
        for index, names in self._names:
            # The next run overwrites its memory.
            values = self._request.get_output_tensor(index).data.copy()
            outputs |= dict.fromkeys(names, values)
        return outputs


def openvino_settings() -> dict[str, str]:
    """Return OpenVINO's settings: float32, and the user's number of threads."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads := threads_by_user():
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    return settings


def threads_by_user() -> int:
    """Return OMP_NUM_THREADS, which no runtime reads by itself; 0 without it."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdecimal() else 0


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Let OpenVINO be imported without a message to its makers.

    On import it forks a process that reaches over the network, in the middle of this one's threads.
    """
    absent = _TELEMETRY not in sys.modules
    if absent:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # its import fails then
    try:
        yield
    finally:
        if absent:
            del sys.modules[_TELEMETRY]


def import_runtime(name: str, *, device: str) -> Any:
    """Import a runtime."""
    try:
        with without_telemetry():
            return importlib.import_module(name)
    except ImportError as error:
        raise DepthFormerError(
            f"an exported network on device {device} needs {name}, which cannot be imported "
            f"({one_line(error)}): pip install {name}"
        ) from error


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _has_gpu_package() -> bool:
    """Return whether the installed ONNX Runtime is one for GPUs."""
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def open_onnx(source: Path | bytes, device: RuntimeDevice, *, name: str) -> Any:
    """Open a network by ONNX Runtime."""
    runtime = import_runtime("onnxruntime", device="cpu, cuda or tensorrt")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads_by_user()
    # Between images, a robot has other work than to wait for the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(
            source if isinstance(source, bytes) else os.fspath(source),
            options,
            providers=_providers(device),
        )
    except Exception as error:  # its exceptions have no other base
        raise CheckpointError(f"{name} cannot be opened: {one_line(error)}") from error


def _providers(device: RuntimeDevice) -> list[str | tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's providers for a device, in the order in which they take operators."""
    index = {"device_id": str(device.index or 0)}
    # TensorFloat-32 would round float32.
    cuda = (_PROVIDERS["cuda"], {**index, "use_tf32": "0"})
    if device.type == "cpu":
        return [_PROVIDERS["cpu"]]
    if device.type == "cuda":
        return [cuda, _PROVIDERS["cpu"]]
    # TensorRT has no option for that; the libraries of CUDA read it when they are loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    engine = dict(index)
    try:
        # An engine takes minutes to build.
        folder = private_folder(private_folder(cache_folder()) / "tensorrt")
        engine |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    except OSError as error:
        warn_once(
            "TensorRT's engine cannot be kept, every start builds it again "
            f"(set XDG_CACHE_HOME to a writable folder): {error}"
        )
    return [(_PROVIDERS["tensorrt"], engine), cuda, _PROVIDERS["cpu"]]


def _with_outputs(path: Path | bytes, names: Sequence[str]) -> bytes:
    """Return the content of an ONNX file with other values as outputs too."""
    onnx = import_runtime("onnx", device="cpu, cuda or tensorrt")
    model = onnx.load_model_from_string(path) if isinstance(path, bytes) else onnx.load_model(path)
    known = {one.name for one in model.graph.output}
    for name in names:
        if name not in known:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    content: bytes = model.SerializeToString()
    return content


def _size(inputs: Mapping[str, Sequence[int | str | None]], path: Path | bytes) -> tuple[int, int]:
    """Return height and width of the input of a network."""
    if list(inputs) == [INPUT]:
        match list(inputs[INPUT]):
            case [1, 3, int(height), int(width)] if 1 <= height * width <= _MOST_PIXELS:
                return height, width
    raise CheckpointError(
        f"{_named(path)} must have the input {INPUT} of shape (1, 3, H, W) alone, "
        f"with {_MOST_PIXELS} pixels at most, got {dict(inputs)}: write it by `depthformer export`"
    )


def _named(path: Path | bytes) -> str:
    return "the network" if isinstance(path, bytes) else str(path)
