"""Networks that PyTorch runs."""

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from depthformer_core.checkpoint import CheckpointError, load_checkpoint
from depthformer_core.compiling import compile_network
from depthformer_core.device import Precision, cudnn_flags, resolve_device, resolve_precision
from depthformer_core.inference.cuda_graphs import CudaGraphs
from depthformer_core.inference.network import Network
from depthformer_core.inference.normalize import normalize
from depthformer_core.models import DepthFormer, create_model, freeze
from depthformer_core.ops import attention_path
from depthformer_core.presets import PRESETS
from depthformer_core.types import FloatArray, Rgb
from depthformer_core.weights import SHIPPED

_TYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}


class TorchNetwork(Network):
    """A network that PyTorch runs.

    Args:
        model: The network; it is moved to the device and put in evaluation mode.
        device: As for `DepthPredictor`.
        precision: As for `DepthPredictor`.
        compile: As for `DepthPredictor`.
        cuda_graphs: As for `DepthPredictor`.

    Raises:
        DepthFormerError: The device or an option is unknown or not there.
    """

    device: torch.device
    precision: Precision
    memory_errors = (torch.cuda.OutOfMemoryError,)

    def __init__(
        self,
        model: DepthFormer,
        *,
        device: str = "auto",
        precision: str = "auto",
        compile: bool = False,
        cuda_graphs: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.config = model.config
        self.model = model.to(self.device).eval()
        self._network: Callable[[Tensor], Tensor] = self.model
        if compile:
            self._network = compile_network(self.model, fullgraph=True)
        self._cuda_graphs = cuda_graphs and self.device.type == "cuda"
        self._run: Callable[[Tensor], Tensor] = self._forward
        if self._cuda_graphs:
            self._run = CudaGraphs(self._forward)
        # A graph has one place for its output, and the flags of cuDNN are those of the process: no
        # other thread may use a GPU until the output is copied.
        self._turn = threading.Lock() if self.device.type == "cuda" else contextlib.nullcontext()

    @property
    def attention(self) -> str:
        """Implementation of its deformable attention, in words."""
        return attention_path(self.device, self.config.hahi_dim // self.config.hahi_heads)

    @property
    def parameter_count(self) -> int:
        """Number of its weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    def run(self, pixels: Rgb) -> FloatArray:
        """Predict the depth of an image."""
        with self._turn, torch.inference_mode():
            image = normalize(self._send(torch.from_numpy(pixels)))
            maps: FloatArray = self._receive(self._run(image)).numpy()
        return maps

    def works(self) -> bool:
        """Return whether the device works."""
        if self.device.type != "cuda":
            return True
        try:
            torch.ones(1, device=self.device).sum().item()
        except torch.cuda.OutOfMemoryError:
            return True
        except RuntimeError:
            return False
        return True

    @staticmethod
    def free_memory() -> None:
        """Free memory that a network no longer uses, on the GPU too."""
        gc.collect()
        torch.cuda.empty_cache()

    @contextlib.contextmanager
    def workers(self, most: int) -> Iterator[Executor]:
        """Start threads that predict, on a CPU each with its share of the cores."""
        cores = torch.get_num_threads()
        # A GPU predicts for one thread at a time, while others read and compare.
        count = min(most, cores) if self.device.type == "cpu" else most

        def start() -> None:
            torch.set_num_threads(max(1, cores // count))
            if self.device.index is not None:
                torch.cuda.set_device(self.device)

        executor = ThreadPoolExecutor(count, initializer=start)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)
            torch.set_num_threads(cores)

    def _send(self, pixels: Tensor) -> Tensor:
        """Copy an image to the device."""
        if self.device.type == "cuda":
            # From pinned memory the copy does not block.
            pixels = pixels.pin_memory()
        return pixels.to(self.device, non_blocking=True)

    def _receive(self, maps: Tensor) -> Tensor:
        """Copy float32 maps to main memory, once they are computed."""
        if self.device.type == "cpu":
            return maps
        received = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
        received.copy_(maps, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return received

    def _forward(self, image: Tensor) -> Tensor:
        """Predict depth and, if the network has it, scale (1 or 2, H, W), metres."""
        dtype = _TYPES[self.precision]
        exact = dtype == torch.float32
        with (
            # TensorFloat-32 would round float32.
            cudnn_flags(self.device, allow_tf32=not exact),
            # Autocast's cache would be freed before a graph that reads it is replayed.
            torch.autocast(
                self.device.type,
                dtype=dtype,
                enabled=not exact,
                cache_enabled=not self._cuda_graphs,
            ),
        ):
            maps = self._network(image[None])
        return maps[0]


def load_model(checkpoint: str) -> tuple[DepthFormer, bool]:
    """Load a network, on the CPU, in evaluation mode.

    Args:
        checkpoint: As for `DepthPredictor.from_checkpoint`, but no exported network.

    Returns:
        The network, and whether its weights were trained.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
    """
    if checkpoint in PRESETS and checkpoint not in SHIPPED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return create_model(checkpoint), False
    path = SHIPPED.get(checkpoint, Path(checkpoint))
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}; it is no preset either ({', '.join(PRESETS)})"
        )
    return load_checkpoint(path), True


def load_torch_network(
    checkpoint: str, *, device: str, precision: str, compile: bool
) -> tuple[TorchNetwork, bool]:
    """Load a network for inference alone, see `freeze`; and return whether it was trained.

    Args:
        checkpoint: As for `load_model`.
        device: As for `DepthPredictor`.
        precision: As for `DepthPredictor`.
        compile: As for `DepthPredictor`.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        DepthFormerError: The device or an option is unknown or not there.
    """
    target = resolve_device(device)
    dtype = _TYPES[resolve_precision(precision, target)]
    model, trained = load_model(checkpoint)
    network = TorchNetwork(
        freeze(model, device=target, dtype=dtype),
        device=device,
        precision=precision,
        compile=compile,
        cuda_graphs=True,
    )
    return network, trained
