"""CUDA graphs: all kernels of a frame in one launch."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from depthformer_core.kept import graph_constants
from depthformer_core.ops.notice import warn_once

# PyTorch's own advice; the first call also compiles, loads and chooses kernels.
_WARM_UPS = 3
_SHAPES = 2


class CudaGraphs:
    """Call a function of an image by replaying a CUDA graph, one for each shape.

    A network for one image launches hundreds of short kernels, and the CPU takes longer to launch
    them than the GPU to run them. Recorded once, all of them are one launch. Graphs belong to no
    thread: any may call, one at a time.

    Args:
        function: Maps an image on a GPU to a tensor there. It does the same work whatever the
            values are, and does not wait for the GPU.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._graphs: OrderedDict[torch.Size, _Graph | None] = OrderedDict()
        self._pool: Any = None
        self._lock = threading.Lock()

    def __call__(self, image: Tensor) -> Tensor:
        """Call the function.

        The first image of a shape takes longer. The graphs of the newest two shapes are kept. If a
        graph cannot be recorded, one warning says why, and the function is called as it is.

        Args:
            image: On the GPU.

        Returns:
            What the function returns. The next call writes over it.
        """
        with self._lock:
            shape = image.shape
            if shape not in self._graphs:
                while len(self._graphs) >= _SHAPES:
                    self._graphs.popitem(last=False)
                self._graphs[shape] = self._record(image)
            self._graphs.move_to_end(shape)
            graph = self._graphs[shape]
            return self._function(image) if graph is None else graph.replay(image)

    def _record(self, image: Tensor) -> "_Graph | None":
        if self._pool is None:
            # Graphs are replayed one after another, so they may share their memory.
            self._pool = torch.cuda.graph_pool_handle()
        try:
            return _Graph(self._function, image, pool=self._pool)
        except _RecordingError as error:
            reason = str(error.__cause__).partition("\n")[0]
            warn_once(f"the network runs without a CUDA graph, which is slower: {reason}")
            return None


class _RecordingError(Exception):
    """A function that runs cannot be recorded."""


class _Graph:
    """A graph of one shape of image."""

    def __init__(self, function: Callable[[Tensor], Tensor], image: Tensor, *, pool: Any) -> None:
        self._constants: dict[tuple[Any, ...], Any] = {}
        self._image = image.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(image.device), graph_constants(self._constants):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    function(self._image)
            torch.cuda.current_stream().wait_stream(stream)
            try:
                # Other threads may allocate memory meanwhile.
                with torch.cuda.graph(
                    self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"
                ):
                    self._output = function(self._image)
            except RuntimeError as error:
                # A recording that full memory cut off cannot be ended either.
                for cause in (error, error.__context__):
                    if isinstance(cause, torch.cuda.OutOfMemoryError):
                        raise cause from None
                raise _RecordingError from error

    def replay(self, image: Tensor) -> Tensor:
        self._image.copy_(image)
        self._graph.replay()
        return self._output
