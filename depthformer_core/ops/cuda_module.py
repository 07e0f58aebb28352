"""Compiled CUDA kernels on one device, through the driver's API."""

import contextlib
import ctypes
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class DriverError(RuntimeError):
    """The CUDA driver reported an error; the message names the call."""


class CudaModule:
    """Kernels that are loaded into the context that PyTorch uses.

    Args:
        code: What a compiler made for the device.
        names: Kernels to load.
        device: A CUDA device that PyTorch has allocated on.

    Raises:
        DriverError: The driver rejects the code.
        torch.cuda.OutOfMemoryError: It has no memory for it.
    """

    def __init__(self, code: bytes, *, names: Sequence[str], device: torch.device) -> None:
        self._driver = importlib.import_module("cuda.bindings.driver")
        self._device = device
        self._call("cuInit", 0)
        (handle,) = self._call("cuDeviceGet", device.index)
        (self._context,) = self._call("cuDevicePrimaryCtxRetain", handle)
        with self._current(), self._outside_capture():
            (module,) = self._call("cuModuleLoadData", code)
            self._functions = {
                name: self._call("cuModuleGetFunction", module, name.encode())[0] for name in names
            }

    def launch(self, name: str, *, blocks: int, threads: int, parameters: ctypes.Structure) -> None:
        """Start a kernel on PyTorch's current stream.

        Args:
            name: The kernel.
            blocks: Blocks of the grid, which has one dimension.
            threads: Threads of a block.
            parameters: The kernel's only argument; its pointers are to tensors that the stream
                may use.

        Raises:
            DriverError: The driver does not start it.
        """
        stream = torch.cuda.current_stream(self._device).cuda_stream
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(parameters))
        with self._current():
            self._call(
                "cuLaunchKernel",
                self._functions[name],
                *(blocks, 1, 1),
                *(threads, 1, 1),
                0,
                stream,
                ctypes.addressof(arguments),
                0,
            )

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        # A thread that PyTorch started for a backward pass may have no context yet.
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")

    @contextlib.contextmanager
    def _outside_capture(self) -> Iterator[None]:
        """Allow this thread to load code while a stream is captured into a graph."""
        relaxed = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        (before,) = self._call("cuThreadExchangeStreamCaptureMode", relaxed)
        try:
            yield
        finally:
            self._call("cuThreadExchangeStreamCaptureMode", before)

    def _call(self, function: str, *args: Any) -> list[Any]:
        returned: tuple[Any, ...] = getattr(self._driver, function)(*args)
        result, *values = returned
        if int(result) == _OUT_OF_MEMORY:
            raise torch.cuda.OutOfMemoryError(f"{function} failed: {result}")
        if int(result):
            raise DriverError(f"{function} failed: {result}")
        return values
