"""CUDA graphs: all kernels of a frame in one launch."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from depthformer_core.caching import graph_constants
from depthformer_core.device import cudnn_flags
from depthformer_core.errors import first_line, warn_once

# PyTorch's own advice; the first call also compiles, loads and chooses kernels.
_WARM_UPS = 3
_SHAPES = 2
# Capturing takes as long as about so many calls without a graph.
_WORTH_CAPTURING = 30


class CudaGraphs:
    """Call a function of an image by replaying a CUDA graph, one for each shape.

    A network for one image launches hundreds of short kernels, and the CPU takes longer to launch
    them than the GPU to run them. Captured once, all of them are one launch. Graphs belong to no
    thread: any may call, one at a time.

    The first two shapes are captured at their first image, which takes longer. Another one is
    computed without a graph, and takes the place of the one used longest ago once it has come 30
    times in a row: images of many sizes do not wait for graphs that are never used again.

    Args:
        function: Maps an image on a GPU to a tensor there. It does the same work whatever the
            values are, and does not wait for the GPU.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        # The one used last is at the end; None where capturing failed.
        self._graphs: OrderedDict[torch.Size, _Graph | None] = OrderedDict()
        self._pool: Any = None
        self._newcomer: torch.Size | None = None
        self._in_a_row = 0

    def __call__(self, image: Tensor) -> Tensor:
        """Call the function.

        If a graph cannot be captured, one warning names the reason, and the function is called
        without a graph.

        Args:
            image: On the GPU.

        Returns:
            The result of the function. The next call may overwrite it.
        """
        shape = image.shape
        if shape not in self._graphs:
            if not self._has_place(shape):
                return self._function(image)
            self._graphs[shape] = self._capture(image)
        self._newcomer = None
        self._graphs.move_to_end(shape)
        graph = self._graphs[shape]
        return self._function(image) if graph is None else graph.replay(image)

    def _has_place(self, shape: torch.Size) -> bool:
        if len(self._graphs) < _SHAPES:
            return True
        self._in_a_row = self._in_a_row + 1 if shape == self._newcomer else 1
        self._newcomer = shape
        if self._in_a_row < _WORTH_CAPTURING:
            return False
        self._graphs.popitem(last=False)
        return True

    def _capture(self, image: Tensor) -> "_Graph | None":
        if self._pool is None:
            # Graphs are replayed one after another, so they may share their memory.
            self._pool = torch.cuda.graph_pool_handle()
        try:
            return _Graph(self._function, image, pool=self._pool)
        except _CaptureError as error:
            reason = first_line(error.__cause__)
            warn_once(f"the network runs without a CUDA graph, which is slower: {reason}")
            return None


class _CaptureError(Exception):
    """A function that runs cannot be captured."""


class _Graph:
    """A graph of one shape of image."""

    def __init__(self, function: Callable[[Tensor], Tensor], image: Tensor, *, pool: Any) -> None:
        self._constants: dict[tuple[Any, ...], Any] = {}
        self._image = image.clone()
        self._graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(image.device),
            graph_constants(self._constants),
            cudnn_flags(image.device, benchmark=True),
        ):
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
                # A capture that failed for lack of memory cannot be ended either.
                for cause in (error, error.__context__):
                    if isinstance(cause, torch.cuda.OutOfMemoryError):
                        raise cause from None
                raise _CaptureError from error

    def replay(self, image: Tensor) -> Tensor:
        self._image.copy_(image)
        self._graph.replay()
        return self._output
