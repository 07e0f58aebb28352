"""Engines of TensorRT, run by its own library."""

import ctypes
import ctypes.util
import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from depthformer_core.errors import CheckpointError, DepthFormerError, one_line
from depthformer_core.inference.sessions import INPUT, RuntimeDevice, Session
from depthformer_core.types import FloatArray

_EVERYWHERE = 1  # cudaMemAttachGlobal


class EngineSession(Session):
    """A network that TensorRT's library runs.

    Args:
        path: An engine, as `trtexec --saveEngine` writes it.
        metadata: Of the ONNX file that it was built from: an engine has none.

    Raises:
        CheckpointError: The file is no engine of a network of `depthformer export` for this GPU and
            version of TensorRT.
        DepthFormerError: There is no TensorRT, or no GPU.
    """

    device = RuntimeDevice("tensorrt")

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        if not path.is_file():
            raise CheckpointError(f"no engine at {path}")
        try:
            self._tensorrt: Any = importlib.import_module("tensorrt")
            library = ctypes.util.find_library("cudart") or "libcudart.so"
            self._cuda = ctypes.CDLL(library)
        except (ImportError, OSError) as error:
            raise DepthFormerError(
                f"an engine needs TensorRT's Python library and CUDA, which cannot be loaded "
                f"({one_line(error)}): check it on the robot that it was built on"
            ) from error
        logger = self._tensorrt.Logger(self._tensorrt.Logger.ERROR)
        engine = self._tensorrt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise CheckpointError(
                f"{path} is no engine for this GPU and TensorRT {self._tensorrt.__version__}: "
                "build it again on this machine"
            )
        self.runtime = f"TensorRT {self._tensorrt.__version__}"
        self.metadata = metadata
        self._engine = engine
        self._context = engine.create_execution_context()
        self._values: dict[str, FloatArray] = {}
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            self._values[name] = self._allocate(name)
        shape = self._values[INPUT].shape if INPUT in self._values else ()
        if len(shape) != 4 or shape[:2] != (1, 3):
            raise CheckpointError(f"{path} must have the input {INPUT} of shape (1, 3, H, W)")
        self.size = shape[2], shape[3]

    def run(self, image: FloatArray) -> dict[str, FloatArray]:
        """Run the network."""
        self._values[INPUT][...] = image
        if not self._context.execute_async_v3(0) or self._cuda.cudaDeviceSynchronize():
            raise RuntimeError("TensorRT could not run the engine")
        return {name: values.copy() for name, values in self._values.items() if name != INPUT}

    def _allocate(self, name: str) -> FloatArray:
        """Return memory for an input or output, which CPU and GPU share."""
        shape = tuple(self._engine.get_tensor_shape(name))
        kind = np.dtype(self._tensorrt.nptype(self._engine.get_tensor_dtype(name)))
        size = max(1, math.prod(shape)) * kind.itemsize
        pointer = ctypes.c_void_p()
        if self._cuda.cudaMallocManaged(
            ctypes.byref(pointer), ctypes.c_size_t(size), ctypes.c_uint(_EVERYWHERE)
        ):
            raise DepthFormerError(f"no GPU, or too little memory on it, for {size} bytes")
        self._context.set_tensor_address(name, pointer.value)
        assert pointer.value is not None
        memory = (ctypes.c_byte * size).from_address(pointer.value)
        # Freed with the process: a check runs one engine.
        return np.frombuffer(memory, kind).reshape(shape)


def metadata_beside(path: Path) -> Mapping[str, str]:
    """Return the metadata of the ONNX file beside an engine, of the same name.

    Raises:
        CheckpointError: There is no such file.
        DepthFormerError: There is no library to read it.
    """
    source = path.with_suffix(".onnx")
    if not source.is_file():
        raise CheckpointError(
            f"{path} holds nothing to compare with: put the ONNX file that it was built from "
            f"beside it, as {source.name}"
        )
    try:
        onnx = importlib.import_module("onnx")
    except ImportError as error:
        raise DepthFormerError(f"{source} is read by onnx: pip install onnx") from error
    try:
        model = onnx.load_model(source)
    except Exception as error:  # its exceptions have no other base
        raise CheckpointError(f"{source} cannot be read: {one_line(error)}") from error
    return {entry.key: entry.value for entry in model.metadata_props}
